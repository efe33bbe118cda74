//! Everything that decides what a run computes, as one JSON file.

mod data;
mod difference;
mod format;
mod load;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use burn::config::Config;
use burn_image_folder::{OnUnreadable, shown};
use serde::{Deserialize, Serialize};

use crate::{
    classifier::{Classifier, Cost},
    device::{Devices, Strategy},
    error::TrainError,
    optimizer::OptimizerConfig,
    precision::Precision,
    schedule::{Schedule, ScheduleConfig},
};
pub use data::DataRecipe;

/// A run: network, images, optimizer, schedule.
///
/// In a file, whatever is left out has the value of the default run, `Recipe::default()`, but for the
/// texts for the reader, which then are empty; unknown names are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound = "C: Classifier")]
pub struct Recipe<C> {
    /// What the run is, for the reader.
    pub about: String,
    /// What comes out, for the reader.
    pub expected: String,
    /// The network.
    pub model: C,
    /// Checkpoint whose weights the run starts from instead of random ones. What may be one is for
    /// the network to say.
    pub init: Option<PathBuf>,
    /// Which weights to take of a checkpoint that has several networks.
    pub init_key: Option<String>,
    /// Whether the checkpoint's weights may be NaN or infinite.
    pub init_allow_nan: bool,
    /// The images and what is done to them.
    pub data: DataRecipe,
    /// How gradients become steps.
    pub optimizer: OptimizerConfig,
    /// How the learning rate goes.
    pub schedule: ScheduleConfig,
    /// Share of a label that is spread over all classes (Szegedy et al.,
    /// <https://arxiv.org/abs/1512.00567>, section 7).
    pub label_smoothing: f64,
    /// Strength of Mixup: the parameter of its Beta distribution; 0 for none.
    pub mixup: f64,
    /// Strength of CutMix: the parameter of its Beta distribution; 0 for none.
    pub cutmix: f64,
    /// Share of the features before the classifier that is set to zero in training (Srivastava et
    /// al., <https://jmlr.org/papers/v15/srivastava14a.html>).
    pub dropout: f64,
    /// Batches per change of the weights, whose gradients are averaged.
    pub accumulate: usize,
    /// The longest that the gradients together may be; longer ones are shortened to it.
    pub clip_norm: Option<f64>,
    /// Share of the averaged weights that stays with each change; none averages none. The
    /// averaged weights are those that are validated, and kept as best and last.
    pub ema: Option<f64>,
    /// Whether weight decay also affects norms and biases.
    pub decay_norms: bool,
    /// Parts of the network that stay as they are, such as `conv1` or `layer1.0`.
    pub freeze: Vec<String>,
    /// Factors on the learning rate of parts of the network; the longest name counts.
    pub layer_lr: BTreeMap<String, f64>,
    /// The floats of the forward and the backward pass.
    pub precision: Precision,
    /// What to do about a loss that is NaN or infinite.
    pub on_nan: OnNan,
    /// Changes of the weights between two checkpoints; none makes one at each epoch's end only.
    pub checkpoint_every: Option<usize>,
    /// How often every image is seen.
    pub epochs: usize,
    /// Decides the first weights, the order of the images, their augmentation and the split.
    pub seed: u64,
    /// Where it is computed: a device, or several that share each batch.
    pub device: Devices,
    /// How several devices train together.
    pub strategy: Strategy,
    /// The folder that the run is written to; none makes a new one under `runs`.
    pub output: Option<PathBuf>,
}

impl<C: Classifier> Config for Recipe<C> {}

/// What to do about a loss that is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// End the run with an error.
    #[default]
    Stop,
    /// Log the batch and go on as if it had not been there.
    Skip,
}

impl<C: Classifier> Recipe<C> {
    /// The recipe as JSON, complete and in lines.
    pub fn to_json(&self) -> String {
        // A recipe holds nothing that JSON lacks: validation refuses NaN and infinity.
        format::to_json(self).unwrap_or_default()
    }

    /// Checks every value; only what the images and the device are is left for later.
    ///
    /// # Errors
    ///
    /// An error that names the first illegal value.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.model.validate()?;
        self.data.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        TrainError::check(
            (0.0..1.0).contains(&self.label_smoothing),
            "label_smoothing",
            self.label_smoothing,
            "at least 0 and below 1",
        )?;
        self.validate_paths()?;
        self.validate_steps()?;
        self.device.check(self.strategy)?;
        TrainError::check(self.epochs > 0, "epochs", self.epochs, "at least 1")
    }

    /// Checks that the paths can be written down, since a recipe is a text.
    fn validate_paths(&self) -> Result<(), TrainError> {
        let paths = [
            ("data.path", Some(&self.data.path)),
            ("data.index", self.data.index.as_ref()),
            ("init", self.init.as_ref()),
        ];
        for (field, path) in paths {
            if let Some(path) = path {
                TrainError::check(
                    path.to_str().is_some(),
                    field,
                    format!("`{}`", shown(path)),
                    "UTF-8, to be written into the run's recipe: rename it, or link to it",
                )?;
            }
        }
        Ok(())
    }

    /// Checks what a step does beside the optimizer.
    fn validate_steps(&self) -> Result<(), TrainError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        for (field, strength) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            let good = strength == 0.0 || positive(strength);
            TrainError::check(good, field, strength, "0 or a positive number, such as 0.2")?;
        }
        let good = (0.0..1.0).contains(&self.dropout);
        TrainError::check(good, "dropout", self.dropout, "at least 0 and below 1")?;
        let expected = "at least 1";
        TrainError::check(self.accumulate > 0, "accumulate", self.accumulate, expected)?;
        if let Some(norm) = self.clip_norm {
            let expected = "a positive number, such as 1, or null";
            TrainError::check(positive(norm), "clip_norm", norm, expected)?;
        }
        if let Some(share) = self.ema {
            let good = (0.0..1.0).contains(&share);
            let expected = "at least 0 and below 1, such as 0.9999, or null";
            TrainError::check(good, "ema", share, expected)?;
        }
        if let Some(every) = self.checkpoint_every {
            TrainError::check(every > 0, "checkpoint_every", every, "at least 1, or null")?;
        }
        self.validate_parts()
    }

    /// Checks that parts named by the recipe are parts of the network.
    fn validate_parts(&self) -> Result<(), TrainError> {
        if self.freeze.is_empty() && self.layer_lr.is_empty() {
            return Ok(());
        }
        let names = self.model.parts()?;
        let part = |field: &str, name: &String| {
            let good = names.binary_search(name).is_ok();
            let expected =
                "parts of the network, such as \"conv1\", \"layer1\" or \"layer1.0.conv2\"";
            TrainError::check(good, field, format!("{name:?}"), expected)
        };
        for name in &self.freeze {
            part("freeze", name)?;
        }
        for (name, factor) in &self.layer_lr {
            part("layer_lr", name)?;
            let good = factor.is_finite() && *factor >= 0.0;
            let field = format!("layer_lr.{name}");
            TrainError::check(good, &field, factor, "0 or a positive number, such as 0.1")?;
        }
        Ok(())
    }

    /// The learning rate of every step, for epochs of `batches` batches.
    pub(crate) fn rates(&self, batches: usize) -> Schedule {
        let steps = batches.div_ceil(self.accumulate);
        self.schedule.over(self.optimizer.lr(), steps, self.epochs)
    }

    /// Bytes that training takes on the first device, which has the most of several: weights,
    /// gradients, the optimizer's and the averaged weights, and what every layer gives, kept for the
    /// backward pass together with its gradient.
    pub(crate) fn memory(&self, cost: &Cost) -> u64 {
        let images = self.data.batch_size.div_ceil(self.device.names().len());
        self.fixed_memory(cost) + images as u64 * image_memory(cost)
    }

    /// The largest batch, of those not larger than the recipe's, for which [`memory`](Self::memory)
    /// is at most `bytes`.
    pub(crate) fn batch_size_within(&self, cost: &Cost, bytes: u64) -> usize {
        let images = bytes.saturating_sub(self.fixed_memory(cost)) / image_memory(cost).max(1);
        let devices = self.device.names().len();
        usize::try_from(images).map_or(self.data.batch_size, |images| {
            images.saturating_mul(devices).min(self.data.batch_size)
        })
    }

    /// The part of the memory that does not depend on the batch: the program, and copies of the
    /// weights, among them two that are there while they are saved.
    fn fixed_memory(&self, cost: &Cost) -> u64 {
        const PROGRAM: u64 = 45_000_000;
        let gathered = u64::from(self.accumulate > 1);
        let copies = 4 + gathered + self.optimizer.states() + u64::from(self.ema.is_some());
        PROGRAM + 4 * copies * cost.params
    }

    /// Empties [`about`](Self::about) and [`expected`](Self::expected) if they were written of
    /// `other` and that is another run.
    pub fn forget_texts_of(&mut self, other: &Self) {
        let same_images = self.data.path == other.data.path;
        if self.difference(other).is_some() || !same_images || self.epochs != other.epochs {
            self.about.clear();
            self.expected.clear();
        }
    }

    /// The first setting in which `self` would make another run than `other`, with both values.
    ///
    /// How long, where and with how many threads a run goes on is free.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let comparable = |recipe: &Self| Self {
            about: String::new(),
            expected: String::new(),
            epochs: 1,
            checkpoint_every: None,
            on_nan: OnNan::Stop,
            // Where a run has begun, its checkpoint is read no more.
            init_allow_nan: false,
            device: Devices::default(),
            strategy: Strategy::default(),
            output: None,
            data: DataRecipe {
                path: PathBuf::new(),
                index: None,
                workers: 0,
                on_unreadable: OnUnreadable::Skip,
                ..recipe.data.clone()
            },
            ..recipe.clone()
        };
        difference::difference(&comparable(self), &comparable(other))
    }
}

/// Bytes that training takes for each image of a batch.
fn image_memory(cost: &Cost) -> u64 {
    8 * cost.activations
}

impl<C: Classifier> Default for Recipe<C> {
    fn default() -> Self {
        Self {
            about: String::new(),
            expected: String::new(),
            model: C::default(),
            init: None,
            init_key: None,
            init_allow_nan: false,
            data: DataRecipe::default(),
            optimizer: OptimizerConfig::Sgd {
                lr: 0.02,
                momentum: 0.9,
                nesterov: true,
                weight_decay: 5e-4,
            },
            schedule: ScheduleConfig::Cosine {
                warmup_epochs: 2.4,
                final_lr: 0.0,
            },
            label_smoothing: 0.1,
            mixup: 0.0,
            cutmix: 0.0,
            dropout: 0.0,
            accumulate: 1,
            clip_norm: None,
            ema: None,
            decay_norms: false,
            freeze: Vec::new(),
            layer_lr: BTreeMap::new(),
            precision: Precision::F32,
            on_nan: OnNan::Stop,
            checkpoint_every: None,
            epochs: 12,
            seed: 0,
            device: Devices::default(),
            strategy: Strategy::default(),
            output: None,
        }
    }
}
