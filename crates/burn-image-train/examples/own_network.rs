//! Trains a network of Burn's own layers on the repository's pictures, with Mixup and averaged
//! weights: for two epochs, then, as if it had been stopped, for one more. Ends with a report.
//!
//!     cargo run --release -p burn-image-train --features flex,plot --example own_network

use std::{error::Error, path::Path};

use burn::{
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
    train::Interrupter,
};
use burn_image_folder::shown;
use burn_image_train::{Classifier, NetworkError, PlainProgress, Recipe, Report, RunDir, Training};
use serde::{Deserialize, Serialize};

/// Convolutions that halve the resolution, each with a norm, and a classifier over the mean.
#[derive(Module, Debug)]
pub struct SmallCnn {
    convs: Vec<(Conv2d, BatchNorm)>,
    fc: Linear,
}

/// The `model` of its recipes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmallCnnConfig {
    /// Channels after each convolution.
    pub channels: Vec<usize>,
}

impl Default for SmallCnnConfig {
    fn default() -> Self {
        Self {
            channels: vec![16, 32, 64],
        }
    }
}

impl Classifier for SmallCnnConfig {
    type Network = SmallCnn;

    fn init(&self, classes: usize, device: &Device) -> Result<SmallCnn, NetworkError> {
        let last = *self.channels.last().ok_or("`channels` is empty")?;
        let inputs = [3].into_iter().chain(self.channels.iter().copied());
        let convs = inputs.zip(&self.channels).map(|(from, &to)| {
            let conv = Conv2dConfig::new([from, to], [3, 3]).with_stride([2, 2]);
            let conv = conv.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            (conv.init(device), BatchNormConfig::new(to).init(device))
        });
        Ok(SmallCnn {
            convs: convs.collect(),
            fc: LinearConfig::new(last, classes).init(device),
        })
    }

    fn features(network: &SmallCnn, images: Tensor<4>) -> Tensor<2> {
        let convs = network.convs.iter();
        let maps = convs.fold(images, |x, (conv, norm)| {
            relu(norm.forward(conv.forward(x)))
        });
        maps.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    fn classify(network: &SmallCnn, features: Tensor<2>) -> Tensor<2> {
        network.fc.forward(features)
    }
}

/// Trains up to the recipe's last epoch, in a new run or in one that was begun.
pub fn train(recipe: Recipe<SmallCnnConfig>, resume: bool) -> Result<RunDir, Box<dyn Error>> {
    let run = recipe.output.clone().ok_or("the recipe names no folder")?;
    let training = match resume {
        true => Training::resume(recipe, RunDir::at(run))?,
        false => Training::start(recipe, "own")?,
    };
    let lines = PlainProgress::stderr(training.plan()?.steps, training.wait());
    Ok(training.run(Box::new(lines), Interrupter::new())?.run)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut recipe = Recipe::<SmallCnnConfig>::default();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/emoji");
    recipe.data.path = pictures;
    recipe.output = Some(std::env::temp_dir().join(format!("own-{}", std::process::id())));
    (recipe.mixup, recipe.ema, recipe.epochs) = (0.2, Some(0.99), 2);
    train(recipe.clone(), false)?;
    recipe.epochs = 3;
    let run = train(recipe, true)?;
    let report = Report::<SmallCnnConfig>::measure(run, None, &Device::flex(), |_, _| ())?;
    println!("{}", shown(&report.write()?));
    Ok(())
}
