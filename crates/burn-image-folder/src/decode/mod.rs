//! From a file to pixels: as libjpeg-turbo, libpng, libtiff and Pillow decode it, or not at all.

mod exif;
mod jpeg;
mod others;
mod palette;
mod png;
mod webp;

use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};

use crate::error::{DataError, DecodeError, MAX_FILE_BYTES, panic_message};

/// Largest image that is decoded unless a setting says otherwise, in millions of pixels.
pub const MAX_MEGAPIXELS: u64 = 89;

/// Decodes an image file to 8-bit RGB.
///
/// The content decides the format; the file's extension is ignored. Grey, palette, CMYK,
/// 16-bit and floating-point images are converted, transparency is composited on white, the
/// orientation that EXIF or XMP gives is applied, and of an animation the first frame is taken.
/// `docs/data.md` in the repository lists what is read and what is not.
///
/// # Errors
///
/// [`DataError::Unreadable`] with the path and the reason. Never panics: a panic in a decoder is
/// turned into such an error.
pub fn decode_rgb(path: impl AsRef<Path>) -> Result<RgbImage, DataError> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    read(path, &mut bytes)
        .and_then(|()| decode_rgb_bytes(&bytes))
        .map_err(|reason| DataError::Unreadable {
            path: path.to_path_buf(),
            reason,
        })
}

/// Decodes an image file's content to 8-bit RGB, like [`decode_rgb`].
///
/// # Errors
///
/// Any [`DecodeError`] but those of reading a file.
pub fn decode_rgb_bytes(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    Ok(decode(bytes, MAX_MEGAPIXELS, Region::whole)?.pixels)
}

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
    fn widened(&self, margin: usize, [width, height]: [usize; 2]) -> Self {
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
    fn part(
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

    fn whole(size: [u32; 2], pixels: Vec<u8>) -> Result<Self, DecodeError> {
        Self::part(size, [0, 0], size, pixels)
    }

    /// Turns a whole picture, and tells `look` its final width and height.
    fn turned(
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

/// Decodes a file's content of at most `limit` million pixels: at least the region that `look`
/// asks for, once it is told the width and height of the upright picture.
///
/// Decoders are fed with whatever the internet left on a disk: a panic of one among a million
/// images must not end a run, and is an error.
pub(crate) fn decode(
    bytes: &[u8],
    limit: u64,
    look: impl FnOnce([u32; 2]) -> Region,
) -> Result<Picture, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = format(bytes).ok_or(DecodeError::UnknownFormat)?;
    let decode = || match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limit, look),
        format => {
            let (picture, orientation) = others::decode(bytes, format, limit)?;
            picture.turned(orientation, look)
        }
    };
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|panic| Err(DecodeError::Panicked(panic_message(&*panic))))
}

/// The format that a file's first bytes name.
fn format(start: &[u8]) -> Option<ImageFormat> {
    match others::is_big_tiff(start) {
        true => Some(ImageFormat::Tiff),
        false => image::guess_format(start).ok(),
    }
}

/// Whether a file begins as an image does; not if it cannot be read.
pub(crate) fn begins_as_image(path: &Path) -> bool {
    let mut start = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    opened.is_ok() && format(&start).is_some()
}

/// Reads a regular file into `bytes`, whose memory is used again. Nothing else is opened: a pipe
/// would wait for ever.
pub(crate) fn read(path: &Path, bytes: &mut Vec<u8>) -> Result<(), DecodeError> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(DecodeError::NotAFile);
    }
    let length = metadata.len();
    if length > MAX_FILE_BYTES {
        return Err(DecodeError::FileTooLarge(length));
    }
    bytes.clear();
    bytes.reserve(length as usize + 1);
    // Not `read_to_end` alone: the file may grow while it is read.
    File::open(path)?.take(MAX_FILE_BYTES).read_to_end(bytes)?;
    Ok(())
}

/// Refuses an image of more than `limit` million pixels.
fn check_pixels([width, height]: [u32; 2], limit: u64) -> Result<(), DecodeError> {
    if u64::from(width) * u64::from(height) <= limit.saturating_mul(1_000_000) {
        return Ok(());
    }
    Err(DecodeError::TooManyPixels {
        width,
        height,
        limit,
    })
}
