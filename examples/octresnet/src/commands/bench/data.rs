//! `bench data`: how fast files become batches.

use std::{path::PathBuf, time::Instant};

use burn::data::dataloader::DataLoader;
use burn_image_folder::{
    ImageDataset, ImageList, ImageLoader, LoaderConfig, Normalize, TrainTransform, Transform,
};
use burn_image_train::DeviceName;
use clap::Args;
use serde::Serialize;

use crate::output::{print, print_json};

/// Measures how fast images become batches to train on: decoded, cropped at random, resized,
/// flipped, normalised, on the device.
///
/// Each number of workers is one epoch over the folder, from its start to the last batch. Files
/// that the system has not cached yet are read from the disk, so the first is best repeated.
#[derive(Debug, Args)]
#[command(after_help = "\
  octresnet bench data --data photos
  octresnet bench data --data photos --workers 2,4,8 --json

--json prints {\"images\",\"seconds\",\"images_per_second\",\"workers\"}, a line for each number of
workers. scripts/bench_data.py makes a folder to measure with and times torchvision beside it.")]
pub(super) struct DataArgs {
    /// Folder that holds a folder of images for each class, or has such folders in `train`
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Threads that decode; each number is a measurement of its own
    #[arg(
        long,
        value_name = "N[,M..]",
        value_delimiter = ',',
        default_value = "0,1,2"
    )]
    workers: Vec<usize>,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// Height and width of the crops in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    size: usize,
    /// Where the batches go: auto or a device of this build, such as flex or cuda:1
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Rate {
    images: usize,
    seconds: f64,
    images_per_second: f64,
    workers: usize,
}

pub(super) fn run(arguments: &DataArgs) -> anyhow::Result<()> {
    let transform = TrainTransform {
        size: arguments.size,
        ..TrainTransform::default()
    };
    let images = ImageList::open(&arguments.data)?;
    let dataset = ImageDataset::new(images, Transform::Train(transform), 0)?;
    let device = arguments.device.resolved()?.open()?;
    for &workers in &arguments.workers {
        let config = LoaderConfig {
            batch_size: arguments.batch_size,
            shuffle: Some(0),
            workers,
            ..LoaderConfig::default()
        };
        let loader = ImageLoader::new(dataset.clone(), Normalize::default(), config, &device)?;
        let start = Instant::now();
        let mut images = 0;
        for batch in loader.iter() {
            images += batch?.indexes.len();
        }
        device.sync()?;
        let seconds = start.elapsed().as_secs_f64();
        let rate = Rate {
            images,
            seconds,
            images_per_second: images as f64 / seconds,
            workers,
        };
        match arguments.json {
            true => print_json(&rate)?,
            false => print(&format!(
                "{workers} workers: {:.0} images/s ({images} images in {seconds:.2} s)",
                rate.images_per_second
            ))?,
        }
    }
    Ok(())
}
