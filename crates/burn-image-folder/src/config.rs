use serde::{Deserialize, Serialize};

use crate::{DataError, Sampling};

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

/// Settings of an [`ImageLoader`](crate::ImageLoader).
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
