use std::cell::RefCell;
use std::sync::Arc;

use burn::data::dataset::{Dataset, DatasetError};

use super::workbench::Workbench;
use super::{Corruption, DataError, ImageList, MAX_MEGAPIXELS, Purpose, Transform, random_stream};

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
    max_megapixels: u64,
    corruption: Option<Corruption>,
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
            max_megapixels: MAX_MEGAPIXELS,
            corruption: None,
        })
    }

    /// Sets the largest image that is decoded, in millions of pixels, in place of
    /// [`MAX_MEGAPIXELS`]. A larger one is unreadable, and found to be so before memory is taken.
    pub fn with_max_megapixels(mut self, limit: u64) -> Self {
        self.max_megapixels = limit;
        self
    }

    /// Corrupts the images after they are brought to their size. What is random about it follows from the
    /// seed and the image's index, in each epoch alike.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] if its strength is out of its range.
    pub fn with_corruption(mut self, corruption: Corruption) -> Result<Self, DataError> {
        corruption.validate()?;
        self.corruption = Some(corruption);
        Ok(self)
    }

    /// The same images as they appear in another epoch; a new dataset is in epoch 1.
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Number of the epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
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
        self.load_again(index, 0)
    }

    /// Image `index` as it appears when the epoch has had it `repeat` times before.
    pub(super) fn load_again(&self, index: usize, repeat: u32) -> Result<ImageItem, DataError> {
        thread_local! {
            // Keeps its memory from image to image.
            static WORKBENCH: RefCell<Workbench> = RefCell::new(Workbench::new());
        }
        let path = self.images.path(index);
        let draw = index as u64 | u64::from(repeat) << 32;
        let mut rng = random_stream(self.seed, Purpose::Augment, self.epoch, draw);
        let mut pixels = WORKBENCH.with_borrow_mut(|bench| {
            bench.prepare(&path, &self.transform, self.max_megapixels, &mut rng)
        })?;
        if let Some(corruption) = &self.corruption {
            corruption.apply(&mut pixels, self.size(), self.seed, index as u64);
        }
        Ok(ImageItem {
            pixels,
            target: self.images.class(index),
        })
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
