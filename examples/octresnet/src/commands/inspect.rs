use std::{path::PathBuf, process::ExitCode};

use burn_image_train::{DeviceName, plot::Maps};
use clap::Args;
use serde::Serialize;

use super::TrainedModel;
use crate::{inspect::Inspection, output::print_json};

/// Draws what a network's two frequencies see of an image.
///
/// The image beside its low- and its high-frequency part, as figure 1 of the paper, and the feature
/// maps after the stem and the first blocks: high-frequency maps at full, low-frequency maps at
/// half resolution.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet inspect runs/emoji-1 cat.png
  octresnet inspect runs/emoji-1 photo.jpg --size 448 --blocks 4 --output photo-maps

Prints {\"image\",\"files\",\"low_variance\",\"layers\":[{\"name\",\"high\",\"low\"}]}: the pictures, the share of
the image's variance that is in its low-frequency part, and [channels, height, width] of the maps.")]
pub(crate) struct InspectArgs {
    /// Folder of a run, for its best weights, or a weights file in one
    model: PathBuf,
    /// Image file
    image: PathBuf,
    /// Folder for the pictures [default: inspect- and the name of the image]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// How many of the first blocks to draw
    #[arg(long, value_name = "N", default_value_t = 2)]
    blocks: usize,
    /// Height and width in pixels that the image is brought to [default: as in training]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Where to compute: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceName::Auto)]
    device: DeviceName,
    /// Use weights that are NaN or infinite, too
    #[arg(long)]
    allow_nan: bool,
}

#[derive(Serialize)]
struct Seen<'a> {
    image: String,
    files: Vec<String>,
    low_variance: f64,
    layers: Vec<Shapes<'a>>,
}

#[derive(Serialize)]
struct Shapes<'a> {
    name: &'a str,
    high: Option<[usize; 3]>,
    low: Option<[usize; 3]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lower: Vec<[usize; 3]>,
}

pub(super) fn run(arguments: InspectArgs) -> anyhow::Result<ExitCode> {
    let device = arguments.device.open()?;
    let model = TrainedModel::load_with(&arguments.model, arguments.allow_nan, &device)?;
    let seen = Inspection::of(&model, &arguments.image, arguments.size, arguments.blocks)?;
    let folder: PathBuf = arguments.output.unwrap_or_else(|| {
        let name = arguments.image.file_stem().unwrap_or_default();
        format!("inspect-{}", name.to_string_lossy()).into()
    });
    let shape = |maps: &Option<Maps>| maps.as_ref().map(|(shape, _)| *shape);
    let layers = seen.layers.iter().map(|layer| Shapes {
        name: &layer.name,
        high: shape(&layer.high),
        low: shape(&layer.low),
        lower: layer.lower.iter().map(|(shape, _)| *shape).collect(),
    });
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    print_json(&Seen {
        files: seen.save(&folder)?.iter().map(text).collect(),
        image: text(&arguments.image),
        low_variance: seen.low_variance,
        layers: layers.collect(),
    })?;
    Ok(ExitCode::SUCCESS)
}
