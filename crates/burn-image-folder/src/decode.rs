use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::error::{DataError, DecodeError, panic_message};
use super::jpeg::Header;

/// Largest image that is decoded unless a setting says otherwise, in millions of pixels.
pub const MAX_MEGAPIXELS: u64 = 89;

/// Largest file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 512 << 20;

/// Most memory that a decoder may ask for, in bytes per pixel allowed: four floats, or an 8-bit
/// image and as much again to work with.
const MAX_BYTES_PER_PIXEL: u64 = 16;

/// Decodes an image file to 8-bit RGB.
///
/// The format is told by the content; the file's extension is ignored. Grey, palette, CMYK,
/// 16-bit and floating-point images are converted, transparency is composited on white, the EXIF
/// orientation is applied, and of an animation the first frame is taken.
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
/// Any [`DecodeError`] but [`DecodeError::Io`] and [`DecodeError::FileTooLarge`].
pub fn decode_rgb_bytes(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    contained(|| decode(bytes, MAX_MEGAPIXELS))
}

/// Runs a decoder and makes an error of its panic.
///
/// Decoders are fed with whatever the internet left on a disk: one panic among a million images
/// must not end a run.
pub(super) fn contained<T>(
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|panic| Err(DecodeError::Panicked(panic_message(&*panic))))
}

/// Reads a file into `bytes`, whose memory is used again.
pub(super) fn read(path: &Path, bytes: &mut Vec<u8>) -> Result<(), DecodeError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_FILE_BYTES {
        return Err(DecodeError::FileTooLarge(length));
    }
    bytes.clear();
    bytes.reserve(length as usize + 1);
    // Not `read_to_end` alone: the file may grow while it is read.
    file.take(MAX_FILE_BYTES).read_to_end(bytes)?;
    Ok(())
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

/// Decodes any file that is supported, of at most `limit` million pixels.
pub(super) fn decode(bytes: &[u8], limit: u64) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    if format == ImageFormat::Jpeg && !Header::read(bytes).is_complete(bytes) {
        return Err(DecodeError::Truncated);
    }

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // Also with a limit of none: decoders need some memory to read a header.
    let megapixels = limit.max(1);
    limits.max_alloc = Some(megapixels.saturating_mul(1_000_000 * MAX_BYTES_PER_PIXEL));
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;

    // Before anything is allocated: a few bytes of header can announce gigabytes.
    let (width, height) = decoder.dimensions();
    check_pixels([width, height], limit)?;
    limits.reserve(decoder.total_bytes())?;

    // Damaged metadata is no reason to lose the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder)?;
    if image.width() == 0 || image.height() == 0 {
        return Err(DecodeError::Empty);
    }
    let rgb = if image.color().has_alpha() {
        on_white(image)
    } else {
        image.into_rgb8()
    };
    if orientation == Orientation::NoTransforms {
        return Ok(rgb);
    }
    let mut upright = DynamicImage::ImageRgb8(rgb);
    upright.apply_orientation(orientation);
    Ok(upright.into_rgb8())
}

/// Composites a transparent image on white.
fn on_white(image: DynamicImage) -> RgbImage {
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, a] = from.0.map(u16::from);
        to.0 = [r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8);
    }
    rgb
}
