//! One epoch's batches.

use std::ops::Range;

use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::prelude::*;

use crate::background::Background;
use crate::config::{LoaderConfig, OnUnreadable, Position};
use crate::order::order;
use crate::workers::Workers;
use crate::{DataError, ImageDataset, ImageItem, Normalize, SkipReport};

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

/// What decides an epoch's batches.
pub(super) struct Epoch {
    /// The images as they appear in the epoch.
    pub dataset: ImageDataset,
    pub normalize: Normalize,
    pub config: LoaderConfig,
    pub device: Device,
    /// The part of the epoch's order that is served.
    pub part: Range<usize>,
    /// Where in that part to start.
    pub start: Position,
    pub report: SkipReport,
}

/// The batches of an epoch, made ahead of demand if there are workers.
pub(super) fn batches(epoch: Epoch) -> Box<dyn DataLoaderIterator<ImageBatch>> {
    let total = epoch.part.len();
    let batch_size = match epoch.config.drop_last {
        true => epoch.config.batch_size,
        false => 1,
    };
    let (workers, reached) = (epoch.config.workers, epoch.start.image);
    let items = epoch.items();
    let batches = Batches {
        items,
        epoch,
        batches: 0,
        unreadable: 0,
    };
    let source: Box<dyn Iterator<Item = _> + Send> = match workers {
        0 => Box::new(batches),
        _ => Box::new(Background::new(batches)),
    };
    Box::new(Served {
        source: Some(source),
        total,
        reached,
        least: batch_size,
    })
}

impl Epoch {
    /// The images from the start on, decoded by the workers.
    fn items(&self) -> Workers<(usize, Result<ImageItem, DataError>)> {
        let dataset = self.dataset.clone();
        let order = (self.config.shuffle).map(|seed| {
            let sampling = self.config.sampling;
            order(dataset.images(), sampling, seed, dataset.epoch())
        });
        let first = self.part.start + self.start.image;
        let load = move |number: usize| {
            let place = first + number;
            let (index, repeat) = match &order {
                Some(order) => (order[place].image as usize, order[place].repeat),
                None => (place, 0),
            };
            (index, dataset.load_again(index, repeat))
        };
        let ahead = self.config.prefetch.saturating_mul(self.config.batch_size);
        let left = self.part.len() - self.start.image;
        Workers::new(left, self.config.workers, ahead, load)
    }
}

/// What a batch is made of.
#[derive(Default)]
struct Items {
    pixels: Vec<u8>,
    targets: Vec<i32>,
    indexes: Vec<usize>,
}

/// Makes batches of items. Ends after an error.
struct Batches {
    epoch: Epoch,
    items: Workers<(usize, Result<ImageItem, DataError>)>,
    batches: usize,
    unreadable: usize,
}

impl Batches {
    /// The next batch of readable items, shorter than `batch_size` only at the end.
    fn next_items(&mut self) -> Result<Items, DataError> {
        let config = &self.epoch.config;
        let mut items = Items::default();
        while items.targets.len() < config.batch_size {
            let (index, item) = match self.items.next() {
                Some(Ok(item)) => item,
                Some(Err(message)) => return Err(DataError::WorkerPanicked { message }),
                None => break,
            };
            match item {
                Ok(item) => {
                    if items.pixels.is_empty() {
                        (items.pixels).reserve_exact(config.batch_size * item.pixels.len());
                    }
                    items.pixels.extend_from_slice(&item.pixels);
                    items.targets.push(item.target as i32);
                    items.indexes.push(index);
                }
                Err(DataError::Unreadable { path, reason })
                    if config.on_unreadable == OnUnreadable::Skip =>
                {
                    self.unreadable += 1;
                    self.epoch.report.record(path, &reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    fn next_batch(&mut self) -> Result<Option<ImageBatch>, DataError> {
        let items = self.next_items()?;
        let Epoch {
            config,
            normalize,
            dataset,
            device,
            part,
            start,
            ..
        } = &self.epoch;
        let short = items.targets.len() < config.batch_size;
        if items.targets.is_empty() || (short && config.drop_last) {
            // An epoch without a batch would make a run that does nothing look like a good one.
            if self.batches == 0 && start.image == 0 && !part.is_empty() {
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
            next: Position {
                image: start.image + self.items.taken(),
                ..*start
            },
        }))
    }
}

impl Iterator for Batches {
    type Item = Result<ImageBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

/// Batches as they are taken.
struct Served {
    /// None after the end or an error.
    source: Option<Box<dyn Iterator<Item = Result<ImageBatch, DataError>> + Send>>,
    total: usize,
    /// Images that are done with.
    reached: usize,
    /// The smallest batch that is served.
    least: usize,
}

impl Iterator for Served {
    type Item = Result<ImageBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.source.as_mut()?.next();
        match &batch {
            Some(Ok(batch)) => self.reached = batch.next.image,
            _ => self.source = None,
        }
        Some(batch?.map_err(DatasetError::new))
    }
}

impl DataLoaderIterator<ImageBatch> for Served {
    fn progress(&self) -> Progress {
        // What cannot fill another batch is done with.
        let rest_is_dropped = self.total - self.reached < self.least;
        let processed = match rest_is_dropped {
            true => self.total,
            false => self.reached,
        };
        Progress::new(processed, self.total, Some("items".to_string()))
    }
}
