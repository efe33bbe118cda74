use std::ops::Range;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::error::DecodeError;

/// A part of an image: its columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub x: Range<usize>,
    pub y: Range<usize>,
}

impl Region {
    /// All of an image of that width and height.
    pub fn whole([width, height]: [u32; 2]) -> Self {
        Self {
            x: 0..width as usize,
            y: 0..height as usize,
        }
    }

    /// With `margin` more pixels on each side, as far as the image goes.
    pub(super) fn widened(&self, margin: usize, [width, height]: [usize; 2]) -> Self {
        let widened = |range: &Range<usize>, end: usize| {
            range.start.saturating_sub(margin)..end.min(range.end + margin)
        };
        Self {
            x: widened(&self.x, width),
            y: widened(&self.y, height),
        }
    }
}

/// A decoded picture, or the part of one that was asked for.
pub(crate) struct Picture {
    /// Width and height of the whole.
    pub size: [u32; 2],
    /// Column and row of the first pixel that is there.
    pub origin: [u32; 2],
    pub pixels: RgbImage,
}

impl Picture {
    pub(super) fn part(
        size: [u32; 2],
        origin: [u32; 2],
        [width, height]: [u32; 2],
        pixels: Vec<u8>,
    ) -> Result<Self, DecodeError> {
        let pixels = RgbImage::from_raw(width, height, pixels)
            .ok_or_else(|| DecodeError::Malformed("the decoder lost pixels".into()))?;
        Ok(Self {
            size,
            origin,
            pixels,
        })
    }

    pub(super) fn whole(size: [u32; 2], pixels: Vec<u8>) -> Result<Self, DecodeError> {
        Self::part(size, [0, 0], size, pixels)
    }

    /// Turns a whole picture, and tells `look` its final width and height.
    pub(super) fn turned(
        self,
        orientation: Option<Orientation>,
        look: impl FnOnce([u32; 2]) -> Region,
    ) -> Result<Self, DecodeError> {
        let pixels = match orientation {
            None => self.pixels,
            Some(orientation) => {
                let mut upright = DynamicImage::ImageRgb8(self.pixels);
                upright.apply_orientation(orientation);
                upright.into_rgb8()
            }
        };
        let size = [pixels.width(), pixels.height()];
        // A picture that is there already is not worth cutting.
        look(size);
        Ok(Self {
            size,
            origin: [0, 0],
            pixels,
        })
    }
}

/// Refuses an image of more than `limit` million pixels.
pub(super) fn check_pixels([width, height]: [u32; 2], limit: u64) -> Result<(), DecodeError> {
    if u64::from(width) * u64::from(height) <= limit.saturating_mul(1_000_000) {
        return Ok(());
    }
    Err(DecodeError::TooManyPixels {
        width,
        height,
        limit,
    })
}
