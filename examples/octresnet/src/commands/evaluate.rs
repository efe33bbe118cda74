use std::{path::PathBuf, process::ExitCode};

use burn_image_folder::{ImageList, shown};
use burn_image_train::{Evaluation, text::percent};
use clap::Args;
use serde::Serialize;

use super::{
    TrainedModel,
    robustness::{RobustnessArgs, Shown},
};
use crate::{
    cli::MachineArgs,
    output::{print, print_json, progress},
    table::Table,
};

/// Measures a trained network on a folder of images.
///
/// Loss, top-1 and top-5 accuracy, and the accuracy of each class. Images that cannot be read
/// are named, counted and left out. --corrupt and --attack measure how much of the accuracy is left when
/// the images are corrupted, or changed to mislead the network.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet evaluate runs/emoji-1
  octresnet evaluate runs/emoji-1/last.bpk --data my/pictures --json
  octresnet evaluate runs/emoji-1 --corrupt blur:2 --corrupt jpeg:10 --corrupt noise:0.1
  octresnet evaluate runs/emoji-1 --attack pgd --epsilon 1/255,2/255 --steps 10

--json prints {\"images\",\"skipped\",\"loss\",\"top1\",\"top5\",\"per_class\":[{\"class\",\"images\",\"top1\"}]} with
accuracies from 0 to 1; top1 of a class without images is null. With --corrupt or --attack it prints a list
of such, each with what was done to the images in front: {\"input\":\"blur:2\",...}, \"clean\" first.")]
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
    robustness: RobustnessArgs,
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
    // Before anything that takes time.
    let ways = arguments.robustness.ways()?;
    let device = arguments.machine.device.clone().unwrap_or_default();
    let device = device.open()?;
    let mut model = TrainedModel::load_with(&arguments.model, arguments.allow_nan, &device)?;
    let settings = &mut model.recipe.data;
    settings.batch_size = arguments.batch_size.unwrap_or(settings.batch_size);
    settings.workers = arguments.machine.workers.unwrap_or(settings.workers);
    let images = match &arguments.data {
        Some(folder) => model.images_in(folder)?,
        None => model.validation_images()?,
    };
    if ways.len() > 1 {
        return compare(&ways, arguments.json, &model, &images);
    }
    let result = model.evaluate(images, progress())?;
    match arguments.json {
        true => print_json(&result)?,
        false => print(&table(&result))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An evaluation, and what was done to the images.
#[derive(Serialize)]
struct Row {
    input: String,
    #[serde(flatten)]
    result: Evaluation,
}

/// Shows the network the images in every way that was asked for.
fn compare(
    ways: &[Shown],
    json: bool,
    model: &TrainedModel,
    images: &ImageList,
) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for way in ways {
        let input = way.to_string();
        eprintln!("{input}: {} images", images.len());
        let result = way.measure(model, images)?;
        rows.push(Row { input, result });
    }
    if json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["images", "top-1", "top-5", "loss"]);
    for Row { input, result } in &rows {
        let (top1, top5) = (percent(result.top1), percent(result.top5));
        table.row([input.clone(), top1, top5, format!("{:.4}", result.loss)]);
    }
    print(table.to_string().trim_end())?;
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
    let mut classes = Table::new(&["class", "images", "top-1"]);
    for class in &result.per_class {
        let top1 = class.top1.map_or("–".into(), percent);
        classes.row([shown(class.class.as_ref()), class.images.to_string(), top1]);
    }
    let text = format!(
        "{images} images{skipped}: loss {loss:.4}, top-1 {top1}, top-5 {top5}\n\n{classes}"
    );
    text.trim_end().into()
}
