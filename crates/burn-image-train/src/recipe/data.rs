use std::path::PathBuf;

use burn_image_folder::{
    EvalTransform, FilesBy, ImageFolder, ListConfig, LoaderConfig, MAX_MEGAPIXELS, Normalize,
    OnUnreadable, Sampling, SplitConfig, TrainTransform,
};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

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
    /// Which files count as images.
    pub files: FilesBy,
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
    /// Checks every value.
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        TrainError::check(
            self.val_fraction > 0.0 && self.val_fraction < 1.0,
            "data.val_fraction",
            self.val_fraction,
            "between 0 and 1, both excluded",
        )?;
        let section = |name| move |error| TrainError::in_section(name, error);
        (self.train.validate()).map_err(section("data.train"))?;
        self.val.validate().map_err(section("data.val"))?;
        (self.normalize.validate()).map_err(section("data.normalize"))?;
        self.loader().validate().map_err(section("data"))?;
        TrainError::check(
            self.max_megapixels > 0,
            "data.max_megapixels",
            self.max_megapixels,
            "at least 1",
        )
    }

    /// What the training and the validation loader have in common.
    pub(crate) fn loader(&self) -> LoaderConfig {
        LoaderConfig {
            batch_size: self.batch_size,
            workers: self.workers,
            on_unreadable: self.on_unreadable,
            ..Default::default()
        }
    }

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
        let list = ListConfig {
            files: self.files,
            index: self.index.clone(),
        };
        Ok(ImageFolder::open_with(&self.path, &split, &list)?)
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

impl Default for DataRecipe {
    fn default() -> Self {
        Self {
            path: "examples/data/emoji".into(),
            index: None,
            files: FilesBy::Extension,
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
