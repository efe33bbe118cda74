use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use burn_image_folder::{list_images, shown};
use burn_image_train::{DeviceName, Prediction, text::percent};
use clap::Args;

use super::TrainedModel;
use crate::output::{print, print_json};

/// Says what a trained network sees in images.
///
/// Folders are walked. An image that cannot be read is named and left out; the exit code is 1
/// only if not a single one could be read.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet predict runs/emoji-1 cat.png dog.jpg
  octresnet predict runs/emoji-1 my/pictures --top 1 --json

--json prints [{\"image\",\"predictions\":[{\"class\",\"probability\"}]}], best first.")]
pub(crate) struct PredictArgs {
    /// Folder of a run, for its best weights, or a weights file in one
    model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// How many classes to name
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Where to compute: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceName::Auto)]
    device: DeviceName,
    /// Use weights that are NaN or infinite, too
    #[arg(long)]
    allow_nan: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: PredictArgs) -> anyhow::Result<ExitCode> {
    let device = arguments.device.open()?;
    let model = TrainedModel::load_with(&arguments.model, arguments.allow_nan, &device)?;
    let mut images = Vec::new();
    for path in &arguments.images {
        match list_images(path, model.recipe.data.files) {
            Ok(found) => images.extend(found),
            // A wrong path among many: the others are still worth an answer.
            Err(error) => log::warn!("{error}"),
        }
    }
    let top = arguments.top as usize;
    let predictions = model.predict(&images, top, |error| log::warn!("{error}"))?;
    if predictions.is_empty() {
        bail!("none of the images could be read: check the paths above");
    }
    if arguments.json {
        print_json(&predictions)?;
    } else {
        let lines: Vec<_> = predictions.iter().map(line).collect();
        print(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(prediction: &Prediction) -> String {
    let ranked = prediction.predictions.iter();
    let ranked: Vec<_> = ranked
        .map(|r| format!("{} {}", shown(r.class.as_ref()), percent(r.probability)))
        .collect();
    format!("{}: {}", shown(&prediction.image), ranked.join(", "))
}
