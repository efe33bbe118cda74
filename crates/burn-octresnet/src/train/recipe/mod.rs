//! Everything that decides what a run computes, as one JSON file.

mod format;
mod load;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::config::Config;
use burn_octconv::Cost;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Devices, OptimizerConfig, Precision, Schedule, ScheduleConfig, Strategy, TrainError,
    session::layer_names,
};
use crate::model::{Alpha, Arch, OctResNetConfig, Stem};
use burn_image_folder::{
    EvalTransform, ImageFolder, MAX_MEGAPIXELS, Normalize, OnUnreadable, Sampling, SplitConfig,
    TrainTransform,
};

/// A run: network, images, optimizer, schedule.
///
/// In a file, whatever is left out has the value of the default run, which trains on the bundled
/// images; unknown names are errors. `Recipe::default()` is the default run itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// What the run is, for the reader.
    pub about: String,
    /// What comes out, for the reader.
    pub expected: String,
    /// The network.
    pub model: ModelRecipe,
    /// Checkpoint whose weights the run starts from instead of random ones: PyTorch, safetensors,
    /// burnpack, or the folder of a run. It may have another α or other classes.
    pub init: Option<PathBuf>,
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
    /// What to do about a loss that is no number.
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

impl Config for Recipe {}

/// What to do about a loss that is no number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// End the run with an error.
    #[default]
    Stop,
    /// Log the batch and go on as if it had not been there.
    Skip,
}

/// The network of a recipe. The number of classes comes from the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelRecipe {
    /// Which network of the family.
    pub arch: Arch,
    /// Share of low-frequency channels: a number, or three for the first three stages.
    #[serde(deserialize_with = "alpha")]
    pub alpha: Alpha,
    /// The layers before the first stage.
    pub stem: Stem,
    /// Factor on all channel counts.
    pub width: f64,
    /// Whether every block starts as the identity.
    pub zero_init_residual: bool,
}

impl ModelRecipe {
    /// The network for a number of classes.
    pub fn config(&self, num_classes: usize) -> OctResNetConfig {
        OctResNetConfig {
            alpha: self.alpha,
            stem: self.stem,
            width: self.width,
            zero_init_residual: self.zero_init_residual,
            ..OctResNetConfig::new(self.arch, num_classes)
        }
    }
}

/// The images of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// The folder: `train/<class>/…` and `val/<class>/…`, or `<class>/…`, which is split. A
    /// relative path is seen from the current directory.
    pub path: PathBuf,
    /// A file to remember in what the folders hold, so that next time only those that have changed
    /// are listed; none lists all. For slow disks and millions of images.
    pub index: Option<PathBuf>,
    /// Share of each class that is validated on, where the folder has to be split.
    pub val_fraction: f64,
    /// What is done to images to train on.
    pub train: TrainTransform,
    /// What is done to images to validate, evaluate and predict.
    pub val: EvalTransform,
    /// What is done to pixels.
    pub normalize: Normalize,
    /// Images per step.
    pub batch_size: usize,
    /// Threads that read and prepare images; 0 prepares them between the steps.
    pub workers: usize,
    /// What to do about an image that cannot be read.
    pub on_unreadable: OnUnreadable,
    /// Largest image that is read, in millions of pixels; a larger one counts as unreadable.
    pub max_megapixels: u64,
    /// How often an image to train on comes in an epoch.
    pub sampling: Sampling,
}

impl DataRecipe {
    /// Indexes the images.
    ///
    /// # Errors
    ///
    /// A missing folder, one without images, and whatever else [`ImageFolder::open`] refuses.
    pub fn open(&self, seed: u64) -> Result<ImageFolder, TrainError> {
        self.check_exists()?;
        let split = SplitConfig {
            val_fraction: self.val_fraction,
            seed,
        };
        Ok(match &self.index {
            Some(index) => ImageFolder::open_cached(&self.path, &split, index)?,
            None => ImageFolder::open(&self.path, &split)?,
        })
    }

    fn check_exists(&self) -> Result<(), TrainError> {
        if self.path.exists() {
            return Ok(());
        }
        Err(TrainError::NoData {
            path: self.path.clone(),
        })
    }

    /// Sets height and width of the images in pixels.
    pub fn set_size(&mut self, size: usize) {
        self.train.size = size;
        self.val.size = size;
    }
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    ///
    /// [`TrainError::Recipe`] with the file, the place and the reason, and
    /// [`TrainError::Setting`] for a value out of its range.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        load::load(path.as_ref())
    }

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
        self.model.config(1).validate()?;
        let data = &self.data;
        TrainError::check(
            data.val_fraction > 0.0 && data.val_fraction < 1.0,
            "data.val_fraction",
            data.val_fraction,
            "between 0 and 1, both excluded",
        )?;
        let section = |name| move |error| TrainError::in_section(name, error);
        (data.train.validate()).map_err(section("data.train"))?;
        data.val.validate().map_err(section("data.val"))?;
        (data.normalize.validate()).map_err(section("data.normalize"))?;
        self.loader().validate().map_err(section("data"))?;
        TrainError::check(
            data.max_megapixels > 0,
            "data.max_megapixels",
            data.max_megapixels,
            "at least 1",
        )?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        TrainError::check(
            (0.0..1.0).contains(&self.label_smoothing),
            "label_smoothing",
            self.label_smoothing,
            "at least 0 and below 1",
        )?;
        self.validate_steps()?;
        self.device.check(self.strategy)?;
        TrainError::check(self.epochs > 0, "epochs", self.epochs, "at least 1")
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
        let names = layer_names(&self.model.config(1))?;
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

    /// What the training and the validation loader have in common.
    pub(super) fn loader(&self) -> burn_image_folder::LoaderConfig {
        burn_image_folder::LoaderConfig {
            batch_size: self.data.batch_size,
            workers: self.data.workers,
            on_unreadable: self.data.on_unreadable,
            ..Default::default()
        }
    }

    /// The learning rate of every step, for epochs of `batches` batches.
    pub(super) fn rates(&self, batches: usize) -> Schedule {
        let steps = batches.div_ceil(self.accumulate);
        self.schedule.over(self.optimizer.lr(), steps, self.epochs)
    }

    /// Bytes that training takes on the first device, which has the most of several: weights,
    /// gradients, the optimizer's and the averaged weights, and what every layer gives, kept for the
    /// backward pass together with its gradient.
    pub(super) fn memory(&self, cost: &Cost) -> u64 {
        let images = self.data.batch_size.div_ceil(self.device.names().len());
        self.fixed_memory(cost) + images as u64 * image_memory(cost)
    }

    /// The largest batch, of those not larger than the recipe's, for which [`memory`](Self::memory)
    /// is at most `bytes`.
    pub(super) fn batch_size_within(&self, cost: &Cost, bytes: u64) -> usize {
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

    /// The first setting in which `self` would make another run than `other`, with both values.
    ///
    /// How long, where and with how many threads a run goes on is free.
    pub(super) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let comparable = |recipe: &Self| Self {
            about: String::new(),
            expected: String::new(),
            epochs: 1,
            checkpoint_every: None,
            on_nan: OnNan::Stop,
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
        load::difference(&comparable(self), &comparable(other))
    }
}

/// Bytes that training takes for each image of a batch.
fn image_memory(cost: &Cost) -> u64 {
    8 * cost.activations
}

/// Reads [`Alpha`] with an error that says what it can be.
fn alpha<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Alpha, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected a number or a list of three, such as 0.5 or [0.5, 0.25, 0.25]"
    )]
    enum Shares {
        One(f64),
        Three([f64; 3]),
    }
    Ok(match Shares::deserialize(deserializer)? {
        Shares::One(alpha) => Alpha::Uniform(alpha),
        Shares::Three(alphas) => Alpha::PerStage(alphas),
    })
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self {
            arch: Arch::OctResNet26,
            alpha: Alpha::Uniform(0.5),
            stem: Stem::Imagenet,
            width: 0.5,
            zero_init_residual: true,
        }
    }
}

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            path: "examples/data/emoji".into(),
            index: None,
            val_fraction: 0.2,
            train: TrainTransform {
                size: 64,
                scale: [0.8, 1.0],
                ratio: [0.75, 1.333],
                ..Default::default()
            },
            val: EvalTransform {
                size: 64,
                crop_ratio: 1.0,
                ..Default::default()
            },
            normalize: Normalize::default(),
            batch_size: 16,
            workers: 2,
            on_unreadable: OnUnreadable::Skip,
            max_megapixels: MAX_MEGAPIXELS,
            sampling: Sampling::Uniform,
        }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            about: "The default run: Oct-ResNet-26 of half width, alpha 0.5, on the bundled emoji of 12 classes".into(),
            expected: "at least 70 % validation top-1".into(),
            model: ModelRecipe::default(),
            init: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_json() {
        let recipe = Recipe {
            output: Some("somewhere".into()),
            model: ModelRecipe {
                alpha: Alpha::PerStage([0.5, 0.25, 0.125]),
                ..Default::default()
            },
            ..Default::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, recipe.to_json()).unwrap();
        assert_eq!(Recipe::load(&path).unwrap(), recipe);
    }

    #[test]
    fn impossible_values_are_named() {
        type Change = fn(&mut Recipe);
        let cases: [(Change, &str); 18] = [
            (|r| r.mixup = -0.1, "`mixup` is -0.1"),
            (|r| r.cutmix = f64::INFINITY, "`cutmix` is inf"),
            (|r| r.dropout = 1.0, "`dropout` is 1"),
            (|r| r.accumulate = 0, "`accumulate` is 0"),
            (|r| r.clip_norm = Some(0.0), "`clip_norm` is 0"),
            (|r| r.ema = Some(1.0), "`ema` is 1"),
            (|r| r.checkpoint_every = Some(0), "`checkpoint_every` is 0"),
            (
                |r| r.freeze = vec!["layer9".into()],
                "`freeze` is \"layer9\"",
            ),
            (
                |r| r.layer_lr = [("fc".into(), -1.0)].into(),
                "`layer_lr.fc` is -1",
            ),
            (|r| r.epochs = 0, "`epochs` is 0"),
            (|r| r.label_smoothing = 1.0, "`label_smoothing` is 1"),
            (|r| r.data.batch_size = 0, "`data.batch_size` is 0"),
            (|r| r.data.train.size = 0, "`data.train.size` is 0"),
            (|r| r.data.val.crop_ratio = 0.0, "`data.val.crop_ratio`"),
            (|r| r.data.val_fraction = 1.0, "`data.val_fraction` is 1"),
            (|r| r.optimizer.set_lr(f64::NAN), "`optimizer.lr` is NaN"),
            (|r| r.model.alpha = Alpha::Uniform(1.5), "1.5"),
            (|r| r.model.width = 0.0, "width is 0"),
        ];
        for (change, expected) in cases {
            let mut recipe = Recipe::default();
            change(&mut recipe);
            let error = recipe.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_batch_that_fits_is_the_largest_that_does() {
        let mut recipe = Recipe::default();
        let cost = recipe.model.config(12).cost([64, 64]).unwrap();
        for devices in ["flex", "flex,flex"] {
            recipe.device = devices.parse().unwrap();
            recipe.data.batch_size = 256;
            let whole = recipe.memory(&cost);
            assert_eq!(recipe.batch_size_within(&cost, whole), 256);
            assert_eq!(recipe.batch_size_within(&cost, u64::MAX), 256);
            let fits = recipe.batch_size_within(&cost, whole / 2);
            recipe.data.batch_size = fits;
            assert!(fits > 0 && recipe.memory(&cost) <= whole / 2, "{fits}");
            recipe.data.batch_size += 2;
            assert!(recipe.memory(&cost) > whole / 2, "{fits}");
            assert_eq!(recipe.batch_size_within(&cost, 1000), 0);
        }
    }

    #[test]
    fn a_difference_is_one_that_changes_what_is_computed() {
        let recipe = Recipe::default();
        let mut other = recipe.clone();
        other.epochs += 1;
        other.data.workers = 7;
        other.data.path = "elsewhere".into();
        assert_eq!(recipe.difference(&other), None);
        other.data.batch_size = 64;
        let (field, mine, its) = recipe.difference(&other).unwrap();
        assert_eq!(
            (field.as_str(), mine.as_str(), its.as_str()),
            ("data.batch_size", "16", "64")
        );
    }
}
