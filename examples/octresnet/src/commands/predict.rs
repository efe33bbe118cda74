use std::process::ExitCode;

use anyhow::bail;
use burn_octresnet::{
    data::list_images,
    train::{Prediction, TrainedModel},
};

use super::{percent, print, print_json};
use crate::cli::PredictArgs;

pub(super) fn run(arguments: PredictArgs) -> anyhow::Result<ExitCode> {
    let device = arguments.device.open()?;
    let model = TrainedModel::load(&arguments.model, &device)?;
    let mut images = Vec::new();
    for path in &arguments.images {
        match list_images(path) {
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
        .map(|r| format!("{} {}", r.class, percent(r.probability)))
        .collect();
    format!("{}: {}", prediction.image.display(), ranked.join(", "))
}
