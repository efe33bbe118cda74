//! What is done to a decoded image: crop, resize, flip, augment.

mod augment;
mod pixels;

pub use augment::{Augment, ColorJitter, Policy, RandomErasing};

use fast_image_resize::{FilterType, ResizeAlg};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::decode::Region;
use crate::error::{DataError, check};

/// How pixels between pixels are computed. All but `nearest` average over the source pixels that
/// fall together when an image shrinks (torchvision's `antialias`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The pixel at the centre.
    Nearest,
    /// Triangle filter.
    #[default]
    Bilinear,
    /// Cubic filter with a = −0.5 (Catmull–Rom).
    Bicubic,
    /// Lanczos filter of three lobes.
    Lanczos,
}

impl Interpolation {
    pub(super) fn algorithm(self) -> ResizeAlg {
        match self {
            Self::Nearest => ResizeAlg::Nearest,
            Self::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Self::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
            Self::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        }
    }

    /// How far from its place a pixel is looked at, in pixels of the larger grid.
    fn reach(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }
}

/// Training transform: torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`, then
/// [`Augment`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainTransform {
    /// Height and width of the result in pixels.
    pub size: usize,
    /// Least and greatest share of the image's area that a crop covers.
    pub scale: [f32; 2],
    /// Least and greatest width : height of a crop.
    pub ratio: [f32; 2],
    /// Probability of a horizontal flip.
    pub hflip: f32,
    /// Filter of the resampling.
    pub interpolation: Interpolation,
    /// What else happens at random, after the crop.
    pub augment: Augment,
}

impl Default for TrainTransform {
    fn default() -> Self {
        Self {
            size: 224,
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            hflip: 0.5,
            interpolation: Interpolation::Bilinear,
            augment: Augment::default(),
        }
    }
}

impl TrainTransform {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        let [least, most] = self.scale;
        let [narrow, wide] = self.ratio;
        check_size(self.size)?;
        check(
            0.0 < least && least <= most && most <= 1.0,
            ("scale", &self.scale),
            "[least, most] with 0 < least <= most <= 1",
        )?;
        check(
            0.0 < narrow && narrow <= wide && wide.is_finite(),
            ("ratio", &self.ratio),
            "[least, most] with 0 < least <= most",
        )?;
        check(
            (0.0..=1.0).contains(&self.hflip),
            ("hflip", &self.hflip),
            "a probability, 0 to 1",
        )?;
        self.augment.validate()
    }

    /// Left, top, width and height of a random crop of a `width`×`height` image.
    fn crop<R: Rng>(&self, width: u32, height: u32, rng: &mut R) -> [f64; 4] {
        let [w, h] = [f64::from(width), f64::from(height)];
        let scale = self.scale.map(f64::from);
        let ratio = self.ratio.map(f64::from);
        let between = |[low, high]: [f64; 2], share: f64| low + (high - low) * share;
        for _ in 0..10 {
            let area = w * h * between(scale, rng.random());
            let aspect = between(ratio.map(f64::ln), rng.random()).exp();
            let cw = (area * aspect).sqrt().round();
            let ch = (area / aspect).sqrt().round();
            if (1.0..=w).contains(&cw) && (1.0..=h).contains(&ch) {
                let left = rng.random_range(0..=width - cw as u32);
                let top = rng.random_range(0..=height - ch as u32);
                return [left.into(), top.into(), cw, ch];
            }
        }
        // The largest centred crop whose ratio is allowed.
        let [narrow, wide] = ratio;
        let cw = w.min((h * wide).round().max(1.0));
        let ch = h.min((w / narrow).round().max(1.0));
        [((w - cw) / 2.0).floor(), ((h - ch) / 2.0).floor(), cw, ch]
    }
}

/// Evaluation transform: resizes the shorter side to `size / crop_ratio`, then takes the centre.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalTransform {
    /// Height and width of the result in pixels.
    pub size: usize,
    /// Share of the resized image's shorter side that the crop keeps, above 0 and up to 1.
    pub crop_ratio: f32,
    /// Filter of the resampling.
    pub interpolation: Interpolation,
}

impl Default for EvalTransform {
    /// 224 pixels out of 256.
    fn default() -> Self {
        Self {
            size: 224,
            crop_ratio: 0.875,
            interpolation: Interpolation::Bilinear,
        }
    }
}

impl EvalTransform {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        check_size(self.size)?;
        check(
            self.crop_ratio > 0.0 && self.crop_ratio <= 1.0,
            ("crop_ratio", &self.crop_ratio),
            "above 0 and at most 1",
        )
    }

    /// Left, top, width and height, in source pixels, of what is seen after resizing to whole
    /// pixels and cropping at whole pixels. Nothing outside of it is ever resized.
    fn crop(&self, width: u32, height: u32) -> [f64; 4] {
        let size = self.size as f64;
        let shorter = (size / f64::from(self.crop_ratio)).round().max(size);
        let least = f64::from(width.min(height));
        let axis = |length: u32| {
            let length = f64::from(length);
            let resized = (shorter * length / least).floor();
            let start = ((resized - size) / 2.0).round_ties_even();
            [start, size].map(|pixels| pixels * length / resized)
        };
        let ([left, width], [top, height]) = (axis(width), axis(height));
        [left, top, width, height]
    }
}

/// What is done to a decoded image.
#[derive(Clone, Debug, PartialEq)]
pub enum Transform {
    /// At random, to train.
    Train(TrainTransform),
    /// Always the same, to validate, evaluate and predict.
    Eval(EvalTransform),
}

impl Transform {
    /// Height and width of the result in pixels.
    pub fn size(&self) -> usize {
        match self {
            Self::Train(transform) => transform.size,
            Self::Eval(transform) => transform.size,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), DataError> {
        match self {
            Self::Train(transform) => transform.validate(),
            Self::Eval(transform) => transform.validate(),
        }
    }

    /// Draws what is looked at of an image of `[width, height]` pixels.
    pub(super) fn view<R: Rng>(&self, [width, height]: [u32; 2], rng: &mut R) -> View {
        match self {
            Self::Train(transform) => View {
                crop: transform.crop(width, height, rng),
                flip: rng.random::<f32>() < transform.hflip,
            },
            Self::Eval(transform) => View {
                crop: transform.crop(width, height),
                flip: false,
            },
        }
    }

    /// What has to be known of an image of `[width, height]` pixels to resize a view.
    pub(super) fn region(&self, view: &View, [width, height]: [u32; 2]) -> Region {
        let [left, top, crop_width, crop_height] = view.crop;
        let axis = |start: f64, length: f64, end: u32| {
            let scale = (length / self.size() as f64).max(1.0);
            let reach = self.interpolation().reach() * scale;
            let first = (start - reach).floor().max(1.0) as usize - 1;
            let last = (start + length + reach).ceil() as usize + 1;
            let end = end as usize;
            first.min(end - 1)..last.min(end)
        };
        Region {
            x: axis(left, crop_width, width),
            y: axis(top, crop_height, height),
        }
    }

    /// Filter of the resampling.
    pub(super) fn interpolation(&self) -> Interpolation {
        match self {
            Self::Train(transform) => transform.interpolation,
            Self::Eval(transform) => transform.interpolation,
        }
    }
}

/// What is looked at of an image.
pub(super) struct View {
    /// Left, top, width and height in pixels.
    crop: [f64; 4],
    /// Whether it is mirrored.
    pub flip: bool,
}

impl View {
    /// The crop in an image of that size; rounding may have left it a hair's breadth outside.
    pub fn within(&self, size: [u32; 2]) -> [f64; 4] {
        let [w, h] = size.map(f64::from);
        let [left, top, width, height] = self.crop;
        let [left, top] = [left.clamp(0.0, w), top.clamp(0.0, h)];
        [left, top, width.min(w - left), height.min(h - top)]
    }
}

fn check_size(size: usize) -> Result<(), DataError> {
    check(
        (1..=4096).contains(&size),
        ("size", &size),
        "1 to 4096 pixels",
    )
}
