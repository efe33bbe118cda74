use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::data::dataset::Dataset;
use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::batches::{Epoch, batches};
use super::{DataError, ImageDataset, Normalize, Sampling, SkipReport};

/// A batch of images on a device.
#[derive(Clone, Debug)]
pub struct ImageBatch {
    /// Normalised images, `[batch, 3, height, width]`.
    pub images: Tensor<4>,
    /// Classes, `[batch]`.
    pub targets: Tensor<1, Int>,
    /// Places of the images in the dataset's list, which knows their files.
    pub indexes: Vec<usize>,
    /// Where the next batch starts: a loader set to it goes on after this batch.
    pub next: Position,
}

/// A place in the sequence of images that a loader serves.
///
/// It is counted in images because those that cannot be read are left out: as long as all can
/// be, batch `b` of an epoch, from 0, starts at image `b * batch_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Number of the epoch.
    pub epoch: u64,
    /// Images of that epoch, in its order, that come before, readable or not.
    pub image: usize,
}

impl Position {
    /// The first image of an epoch.
    pub fn start_of(epoch: u64) -> Self {
        Self { epoch, image: 0 }
    }
}

/// What to do about an image that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnreadable {
    /// Log it, count it and go on without.
    #[default]
    Skip,
    /// End the epoch with an error.
    Fail,
}

/// Settings of an [`ImageLoader`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Images per batch.
    pub batch_size: usize,
    /// Seed of the order of the images, another in each epoch; none leaves them in order.
    pub shuffle: Option<u64>,
    /// How often an image comes in an epoch; other than once needs `shuffle`.
    pub sampling: Sampling,
    /// Whether the last batch is left out if it is short.
    pub drop_last: bool,
    /// Threads that decode, beside one that puts batches on the device a step ahead; 0 does all in
    /// the calling thread.
    pub workers: usize,
    /// How many batches the workers may be ahead: the bound on memory, one byte a value. Two
    /// more are on the device.
    pub prefetch: usize,
    /// What the first `iter()` starts with.
    pub start: Position,
    /// What to do about an image that cannot be read.
    pub on_unreadable: OnUnreadable,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch_size: 32,
            shuffle: None,
            sampling: Sampling::Uniform,
            drop_last: false,
            workers: 2,
            prefetch: 2,
            start: Position::start_of(1),
            on_unreadable: OnUnreadable::Skip,
        }
    }
}

impl LoaderConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        let setting = |field, value: usize, expected| {
            Err(DataError::Setting {
                field,
                value: value.to_string(),
                expected,
            })
        };
        match self {
            Self { batch_size: 0, .. } => setting("batch_size", 0, "at least 1"),
            Self { workers, .. } if *workers > 256 => setting("workers", *workers, "0 to 256"),
            Self {
                sampling: Sampling::Balanced,
                shuffle: None,
                ..
            } => Err(DataError::Setting {
                field: "sampling",
                value: "balanced".into(),
                expected: "uniform where images are not shuffled",
            }),
            _ => Ok(()),
        }
    }
}

/// Batches of an [`ImageDataset`], for Burn's training loop or one's own.
///
/// Each call of `iter()` is the next epoch. Order and augmentation of an epoch follow from the
/// seeds and the epoch's number, whatever the number of workers, so a run that is resumed after
/// any batch (from its [`next`](ImageBatch::next), by [`LoaderConfig::start`] or
/// [`set_position`](Self::set_position)) sees what it would have seen.
///
/// Batches are filled from the readable images in order: only the last one can be short.
#[derive(Debug)]
pub struct ImageLoader {
    dataset: ImageDataset,
    normalize: Normalize,
    config: LoaderConfig,
    device: Device,
    /// The part of each epoch's order that this loader serves.
    part: Range<usize>,
    /// Where the next `iter()` starts.
    position: Mutex<Position>,
    report: SkipReport,
}

impl ImageLoader {
    /// Batches of `dataset`, normalised by `normalize`, on `device`.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] if a setting is out of its range.
    pub fn new(
        dataset: ImageDataset,
        normalize: Normalize,
        config: LoaderConfig,
        device: &Device,
    ) -> Result<Self, DataError> {
        normalize.validate()?;
        config.validate()?;
        Ok(Self {
            part: 0..dataset.len(),
            position: Mutex::new(config.start),
            report: SkipReport::default(),
            device: device.clone(),
            dataset,
            normalize,
            config,
        })
    }

    /// Where the next `iter()` starts.
    pub fn position(&self) -> Position {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets where the next `iter()` starts; those after it serve whole epochs again.
    ///
    /// From a position at or beyond the epoch's end, that epoch has no batches.
    pub fn set_position(&self, position: Position) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    /// Batches per epoch if every image can be read.
    pub fn num_batches(&self) -> usize {
        match self.config.drop_last {
            true => self.part.len() / self.config.batch_size,
            false => self.part.len().div_ceil(self.config.batch_size),
        }
    }

    /// The images left out so far, by this loader and all made from it.
    pub fn report(&self) -> SkipReport {
        self.report.clone()
    }
}

impl Clone for ImageLoader {
    /// The clone counts its own epochs, from the next one of this loader, and shares its report.
    fn clone(&self) -> Self {
        Self {
            dataset: self.dataset.clone(),
            normalize: self.normalize.clone(),
            config: self.config.clone(),
            device: self.device.clone(),
            part: self.part.clone(),
            position: Mutex::new(self.position()),
            report: self.report.clone(),
        }
    }
}

impl DataLoader<ImageBatch> for ImageLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ImageBatch> + 'a> {
        let position = self.position();
        self.set_position(Position::start_of(position.epoch + 1));
        let start = Position {
            image: position.image.min(self.part.len()),
            ..position
        };
        batches(Epoch {
            dataset: self.dataset.clone().with_epoch(position.epoch),
            normalize: self.normalize.clone(),
            config: self.config.clone(),
            device: self.device.clone(),
            part: self.part.clone(),
            report: self.report.clone(),
            start,
        })
    }

    fn num_items(&self) -> usize {
        self.part.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<ImageBatch>> {
        let mut loader = self.clone();
        loader.device = device.clone();
        Arc::new(loader)
    }

    /// The items `start` to `end` of every epoch.
    ///
    /// It is the epoch's order that is cut, not the sorted list: devices that share an epoch see
    /// all classes, other images in each epoch, and together every image once.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<ImageBatch>> {
        let mut loader = self.clone();
        let end = self.part.end.min(self.part.start + end);
        loader.part = end.min(self.part.start + start)..end;
        Arc::new(loader)
    }
}
