use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use burn_image_folder::{DataError, decode_rgb, list_images, shown};
use burn_image_train::{
    DeviceName, Prediction,
    plot::{Save, SheetPicture, Tile},
    text::{percent, thousands},
};
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
  octresnet predict runs/emoji-1 my/pictures --sheet sheet.png

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
    /// Also draw the images with their classes on a sheet; of many, some spread evenly over them
    #[arg(long, value_name = "FILE.png", value_parser = png)]
    sheet: Option<PathBuf>,
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
    let (mut images, mut faults) = (Vec::new(), Vec::new());
    let mut warn = |error: DataError| {
        log::warn!("{error}");
        faults.push(error.to_string());
    };
    for path in &arguments.images {
        match list_images(path, model.recipe.data.files) {
            Ok(found) => images.extend(found),
            // A wrong path among many: the others are still worth an answer.
            Err(error) => warn(error),
        }
    }
    let top = arguments.top as usize;
    let predictions = model.predict(&images, top, &mut warn)?;
    if predictions.is_empty() {
        bail!("none of the images could be read: check the paths above");
    }
    if arguments.json {
        print_json(&predictions)?;
    } else {
        let lines: Vec<_> = predictions.iter().map(line).collect();
        print(&lines.join("\n"))?;
    }
    if let Some(path) = &arguments.sheet {
        sheet(&arguments.model, &predictions, faults).save(path)?;
        eprintln!("sheet: {}", shown(path));
    }
    Ok(ExitCode::SUCCESS)
}

/// A sheet of images with their classes, and of what is wrong with others.
fn sheet(model: &Path, predictions: &[Prediction], mut faults: Vec<String>) -> SheetPicture {
    let mut tiles = Vec::new();
    for place in SheetPicture::places(predictions.len(), SheetPicture::MOST) {
        let Prediction { image, predictions } = &predictions[place];
        let name = image.file_name().unwrap_or_default().to_string_lossy();
        match decode_rgb(image) {
            Ok(picture) => {
                let best = &predictions[0];
                tiles.push(Tile::new(picture, &best.class, best.probability, &name));
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    let [drawn, all] = [tiles.len(), predictions.len()];
    let count = match drawn == all {
        true => format!("{all} images"),
        false => format!("{drawn} of {} images, evenly apart", thousands(all as u64)),
    };
    let model = shown(model);
    let title = format!("{count}, with the most probable class by {model}");
    SheetPicture::new(title, tiles, faults)
}

fn png(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    match path.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("png") => Ok(path),
        _ => Err("let it end in .png".into()),
    }
}

fn line(prediction: &Prediction) -> String {
    let ranked = prediction.predictions.iter();
    let ranked: Vec<_> = ranked
        .map(|r| format!("{} {}", shown(r.class.as_ref()), percent(r.probability)))
        .collect();
    format!("{}: {}", shown(&prediction.image), ranked.join(", "))
}
