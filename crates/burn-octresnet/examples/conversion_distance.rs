//! How far a vanilla network is from itself at another α, before any training.
//!
//! ```sh
//! octresnet train --alpha 0 --output runs/vanilla
//! cargo run --release -p burn-octresnet --features flex --example conversion_distance -- runs/vanilla
//! ```
//!
//! Prints, over the validation images of the run: the accuracy, how often both networks give the
//! same class, and the distance ‖octave − vanilla‖ / ‖vanilla‖ of the logits and of the maps that
//! the stages end with. The second block is after norms have seen two epochs of the training images
//! in training mode, which changes running statistics and not a single weight.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use burn::{
    data::dataloader::DataLoader,
    module::Module,
    tensor::{Device, Tensor},
};
use burn_image_folder::{
    EvalTransform, ImageDataset, ImageFolder, ImageList, ImageLoader, LoaderConfig, Normalize,
    SplitConfig, Transform,
};
use burn_octresnet::{
    model::{Alpha, OctNet},
    weights::Checkpoint,
};
use serde::Deserialize;

/// What of a run's `config.json` says how its images are shown to the network.
#[derive(Deserialize)]
struct Settings {
    data: Data,
    seed: u64,
}

#[derive(Deserialize)]
struct Data {
    path: PathBuf,
    val_fraction: f64,
    val: EvalTransform,
    normalize: Normalize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let run = env::args()
        .nth(1)
        .ok_or("give the folder of a vanilla run")?;
    let device = Device::default();
    let settings = fs::read_to_string(Path::new(&run).join("config.json"))?;
    let settings: Settings = serde_json::from_str(&settings)?;
    let checkpoint = Checkpoint::open(&run)?;
    let config = checkpoint.detect()?;
    let trained = checkpoint.load(&config, &device)?;
    let split = SplitConfig {
        val_fraction: settings.data.val_fraction,
        seed: settings.seed,
    };
    let folder = ImageFolder::open(&settings.data.path, &split)?;
    let (train, val) = (folder.train, folder.val);
    println!("| alpha | norms | top-1 | same class | logits | stage 1 | 2 | 3 | 4 |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for statistics in [false, true] {
        for alpha in [0.0, 0.125, 0.25, 0.5] {
            let alpha = Alpha::Uniform(alpha);
            let mut model = trained.with_alpha(&config, alpha, &device)?;
            if statistics {
                model = with_new_statistics(model, &settings, &train, &device)?;
            }
            let row = compare(&trained, &model, &settings, &val, &device)?;
            let norms = if statistics {
                "new statistics"
            } else {
                "as they were"
            };
            println!("| {alpha} | {norms} | {row}");
        }
    }
    Ok(())
}

fn loader(
    images: &ImageList,
    settings: &Settings,
    shuffle: Option<u64>,
    device: &Device,
) -> Result<ImageLoader, Box<dyn Error>> {
    let transform = Transform::Eval(settings.data.val.clone());
    let dataset = ImageDataset::new(images.clone(), transform, settings.seed)?;
    let config = LoaderConfig {
        batch_size: 16,
        shuffle,
        ..Default::default()
    };
    Ok(ImageLoader::new(
        dataset,
        settings.data.normalize.clone(),
        config,
        device,
    )?)
}

/// Shows the images to the network in training mode, without a step.
fn with_new_statistics(
    model: OctNet,
    settings: &Settings,
    images: &ImageList,
    device: &Device,
) -> Result<OctNet, Box<dyn Error>> {
    let autodiff = device.clone().autodiff();
    let model = model.to_device(&autodiff).train();
    for _ in 0..2 {
        for batch in loader(images, settings, Some(settings.seed), device)?.iter() {
            drop(model.forward(batch?.images.to_device(&autodiff)));
        }
    }
    Ok(model.valid())
}

fn norm<const D: usize>(x: Tensor<D>) -> f64 {
    f64::from(x.powi_scalar(2).sum().into_scalar::<f32>())
}

fn compare(
    vanilla: &OctNet,
    octave: &OctNet,
    settings: &Settings,
    images: &ImageList,
    device: &Device,
) -> Result<String, Box<dyn Error>> {
    let mut sums = [[0.0; 2]; 5];
    let (mut right, mut same, mut count) = (0, 0, 0);
    for batch in loader(images, settings, None, device)?.iter() {
        let batch = batch?;
        let maps = [vanilla, octave].map(|model| model.forward_features(batch.images.clone()));
        let [expected, found] = maps;
        for (stage, (expected, found)) in expected.into_iter().zip(found).enumerate() {
            // High channels first, then the low ones: the order of the vanilla map.
            let (expected, found) = (expected.merge(), found.merge());
            sums[stage + 1][0] += norm(found - expected.clone());
            sums[stage + 1][1] += norm(expected);
        }
        let [expected, found] = [vanilla, octave].map(|model| model.forward(batch.images.clone()));
        sums[0][0] += norm(found.clone() - expected.clone());
        sums[0][1] += norm(expected.clone());
        let classes = [expected, found].map(|logits| {
            let classes = logits.argmax(1).into_data();
            classes.iter::<i64>().collect::<Vec<_>>()
        });
        let targets: Vec<i64> = batch.targets.into_data().iter().collect();
        count += targets.len();
        same += classes[0]
            .iter()
            .zip(&classes[1])
            .filter(|(a, b)| a == b)
            .count();
        right += targets
            .iter()
            .zip(&classes[1])
            .filter(|(a, b)| a == b)
            .count();
    }
    let percent = |part: usize| format!("{:.1} %", 100.0 * part as f64 / count as f64);
    let distances = sums.map(|[off, whole]| format!("{:.3} |", (off / whole).sqrt()));
    Ok(format!(
        "{} | {} | {}",
        percent(right),
        percent(same),
        distances.join(" ")
    ))
}
