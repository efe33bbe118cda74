use std::{path::PathBuf, process::ExitCode};

use burn_image_train::Evaluation;
use clap::Args;

use super::{percent, print, print_json, progress};
use crate::{cli::MachineArgs, network::TrainedModel};

/// Measures a trained network on a folder of images.
///
/// Loss, top-1 and top-5 accuracy, and the accuracy of each class. Images that cannot be read
/// are named, counted and left out.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet evaluate runs/emoji-1
  octresnet evaluate runs/emoji-1/last.bpk --data my/pictures --json

--json prints {\"images\",\"skipped\",\"loss\",\"top1\",\"top5\",\"per_class\":[{\"class\",\"images\",\"top1\"}]} with
accuracies from 0 to 1; top1 of a class without images is null.")]
pub(crate) struct EvaluateArgs {
    /// Folder of a run, for its best weights, or a weights file in one
    model: PathBuf,
    /// Folder of images: DIR/val/CLASS/... or DIR/CLASS/... [default: what the run validated on]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Images at a time [default: as in training]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Use weights that are NaN or infinite, too
    #[arg(long)]
    allow_nan: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: EvaluateArgs) -> anyhow::Result<ExitCode> {
    let device = arguments.machine.device.unwrap_or_default().open()?;
    let mut model = TrainedModel::load_with(&arguments.model, arguments.allow_nan, &device)?;
    let settings = &mut model.recipe.data;
    settings.batch_size = arguments.batch_size.unwrap_or(settings.batch_size);
    settings.workers = arguments.machine.workers.unwrap_or(settings.workers);
    let images = match &arguments.data {
        Some(folder) => model.images_in(folder)?,
        None => model.validation_images()?,
    };
    let result = model.evaluate(images, progress())?;
    match arguments.json {
        true => print_json(&result)?,
        false => print(&table(&result))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(result: &Evaluation) -> String {
    let Evaluation {
        images,
        skipped,
        loss,
        ..
    } = result;
    let (top1, top5) = (percent(result.top1), percent(result.top5));
    let skipped = match skipped {
        0 => String::new(),
        skipped => format!(" ({skipped} more could not be read)"),
    };
    let names = result
        .per_class
        .iter()
        .map(|class| class.class.chars().count());
    let width = names.max().unwrap_or(0).max("class".len());
    let mut text = format!(
        "{images} images{skipped}: loss {loss:.4}, top-1 {top1}, top-5 {top5}\n\n{:width$}  {:>7}  {:>7}",
        "class", "images", "top-1"
    );
    for class in &result.per_class {
        let top1 = class.top1.map_or("–".into(), percent);
        text += &format!("\n{:width$}  {:>7}  {top1:>7}", class.class, class.images);
    }
    text
}
