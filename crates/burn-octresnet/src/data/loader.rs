use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::ordered::Ordered;
use super::{DataError, ImageDataset, ImageItem, Normalize, SkipReport};

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
    /// Whether the last batch is left out if it is short.
    pub drop_last: bool,
    /// Threads that decode; 0 decodes in the calling thread.
    pub workers: usize,
    /// How many batches the workers may be ahead: the bound on memory.
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
        let dataset = self.dataset.clone().with_epoch(position.epoch);
        let order = self.config.shuffle.map(|seed| dataset.shuffled(seed));
        let start = Position {
            image: position.image.min(self.part.len()),
            ..position
        };
        let first = self.part.start + start.image;
        let load = move |number: usize| {
            let place = first + number;
            let index = order.as_ref().map_or(place, |order| order[place]);
            (index, dataset.load(index))
        };
        let ahead = self.config.prefetch.saturating_mul(self.config.batch_size);
        let left = self.part.len() - start.image;
        Box::new(Batches {
            loader: self,
            items: Ordered::new(left, self.config.workers, ahead, load),
            start,
            batches: 0,
            unreadable: 0,
            ended: false,
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

/// What a batch is made of.
#[derive(Default)]
struct Items {
    pixels: Vec<u8>,
    targets: Vec<i32>,
    indexes: Vec<usize>,
}

/// One epoch's batches.
struct Batches<'a> {
    loader: &'a ImageLoader,
    items: Ordered<(usize, Result<ImageItem, DataError>)>,
    /// Where these batches started in the epoch.
    start: Position,
    batches: usize,
    unreadable: usize,
    ended: bool,
}

impl Batches<'_> {
    /// Where the next item to come is in the epoch.
    fn reached(&self) -> Position {
        Position {
            image: self.start.image + self.items.taken(),
            ..self.start
        }
    }

    /// The next batch of readable items, shorter than `batch_size` only at the end.
    fn next_items(&mut self) -> Result<Items, DataError> {
        let batch_size = self.loader.config.batch_size;
        let mut items = Items::default();
        while items.targets.len() < batch_size {
            let (index, item) = match self.items.next() {
                Some(Ok(item)) => item,
                Some(Err(message)) => return Err(DataError::WorkerPanicked { message }),
                None => break,
            };
            match item {
                Ok(item) => {
                    if items.pixels.is_empty() {
                        items.pixels.reserve_exact(batch_size * item.pixels.len());
                    }
                    items.pixels.extend_from_slice(&item.pixels);
                    items.targets.push(item.target as i32);
                    items.indexes.push(index);
                }
                Err(DataError::Unreadable { path, reason })
                    if self.loader.config.on_unreadable == OnUnreadable::Skip =>
                {
                    self.unreadable += 1;
                    self.loader.report.record(path, &reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn next_batch(&mut self) -> Result<Option<ImageBatch>, DataError> {
        let ImageLoader {
            config,
            normalize,
            dataset,
            device,
            part,
            ..
        } = self.loader;
        let items = self.next_items()?;
        let short = items.targets.len() < config.batch_size;
        if items.targets.is_empty() || (short && config.drop_last) {
            // An epoch without a batch would make a run that does nothing look like a good one.
            if self.batches == 0 && self.start.image == 0 && !part.is_empty() {
                return Err(DataError::NoBatch {
                    images: part.len(),
                    unreadable: self.unreadable,
                    batch_size: config.batch_size,
                });
            }
            return Ok(None);
        }
        self.batches += 1;
        Ok(Some(ImageBatch {
            images: normalize.batch(items.pixels, dataset.size(), device),
            targets: Tensor::from_data(items.targets.as_slice(), device),
            indexes: items.indexes,
            next: self.reached(),
        }))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<ImageBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let batch = self.next_batch().map_err(DatasetError::new).transpose();
        self.ended = !matches!(batch, Some(Ok(_)));
        batch
    }
}

impl DataLoaderIterator<ImageBatch> for Batches<'_> {
    fn progress(&self) -> Progress {
        let total = self.loader.part.len();
        let taken = self.reached().image;
        // What cannot fill another batch is done with.
        let rest_is_dropped =
            self.loader.config.drop_last && total - taken < self.loader.config.batch_size;
        let processed = if rest_is_dropped { total } else { taken };
        Progress::new(processed, total, Some("items".to_string()))
    }
}
