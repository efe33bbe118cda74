use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::data::dataset::Dataset;
use burn::prelude::*;

use crate::batches::{Epoch, ImageBatch, batches};
use crate::{DataError, ImageDataset, LoaderConfig, Normalize, Position, SkipReport};

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
