use std::sync::Arc;

use burn::data::dataset::{Dataset, DatasetError};
use rand::seq::SliceRandom;

use super::{DataError, ImageList, Purpose, Transform, decode_rgb, random_stream};

/// One prepared image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageItem {
    /// Red, green and blue planes: `[3, size, size]`, values 0 to 255.
    pub pixels: Vec<u8>,
    /// Class of the image.
    pub target: usize,
}

/// The images of a list, decoded and transformed when they are asked for.
///
/// A random transform is a function of the seed, the epoch and the image's index alone. Cloning
/// shares the list.
#[derive(Clone, Debug)]
pub struct ImageDataset {
    images: Arc<ImageList>,
    transform: Transform,
    seed: u64,
    epoch: u64,
}

impl ImageDataset {
    /// The images of `images`, transformed by `transform`; `seed` is that of random transforms.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] if the transform is not valid.
    pub fn new(
        images: impl Into<Arc<ImageList>>,
        transform: Transform,
        seed: u64,
    ) -> Result<Self, DataError> {
        transform.validate()?;
        Ok(Self {
            images: images.into(),
            transform,
            seed,
            epoch: 1,
        })
    }

    /// The same images as they appear in another epoch; a new dataset is in epoch 1.
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// The list of images.
    pub fn images(&self) -> &ImageList {
        &self.images
    }

    /// Height and width of the items' images in pixels.
    pub fn size(&self) -> usize {
        self.transform.size()
    }

    /// Decodes and transforms image `index`.
    ///
    /// # Errors
    ///
    /// [`DataError::Unreadable`] if the file cannot be decoded.
    ///
    /// # Panics
    ///
    /// Panics if `index >= len()`.
    pub fn load(&self, index: usize) -> Result<ImageItem, DataError> {
        let image = decode_rgb(self.images.path(index))?;
        let mut rng = random_stream(self.seed, Purpose::Augment, self.epoch, index as u64);
        Ok(ImageItem {
            pixels: self.transform.apply(&image, &mut rng)?,
            target: self.images.class(index),
        })
    }

    /// The order of the images in this epoch when shuffled by `seed`.
    pub(super) fn shuffled(&self, seed: u64) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.images.len()).collect();
        order.shuffle(&mut random_stream(seed, Purpose::Shuffle, self.epoch, 0));
        order
    }
}

impl Dataset<ImageItem> for ImageDataset {
    fn get(&self, index: usize) -> Result<ImageItem, DatasetError> {
        self.load(index).map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.images.len()
    }
}
