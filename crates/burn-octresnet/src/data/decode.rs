use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::error::{DataError, DecodeError, panic_message};

/// Largest image that is decoded, in millions of pixels.
pub const MAX_MEGAPIXELS: u64 = 178;

/// Largest file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 512 << 20;

/// Most memory that a decoder may ask for, in bytes: the largest image in 8-bit RGB takes half.
const MAX_DECODER_BYTES: u64 = 1 << 30;

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
    read(path)
        .and_then(|bytes| decode_rgb_bytes(&bytes))
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
    // Decoders are fed with whatever the internet left on a disk: one panic among a million
    // images must not end a run.
    catch_unwind(AssertUnwindSafe(|| decode(bytes)))
        .unwrap_or_else(|panic| Err(DecodeError::Panicked(panic_message(&*panic))))
}

fn read(path: &Path) -> Result<Vec<u8>, DecodeError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_FILE_BYTES {
        return Err(DecodeError::FileTooLarge(length));
    }
    let mut bytes = Vec::with_capacity(length as usize + 1);
    // Not `read_to_end` alone: the file may grow while it is read.
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(DecodeError::Truncated);
    }

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;

    // Before anything is allocated: a few bytes of header can announce gigabytes.
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_MEGAPIXELS * 1_000_000 {
        return Err(DecodeError::TooManyPixels { width, height });
    }
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

/// Whether a JPEG file has an end-of-image marker after the start of its first scan.
///
/// The decoder fills the missing part of a cut file with grey and reports success; a training
/// run should not learn from that. In coded data the byte 0xFF is always followed by a zero or a
/// restart marker, so the marker cannot occur there by chance. The search starts at the scan
/// because an embedded thumbnail ends with the same marker.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[mark, kind]) = bytes.get(at..at + 2) {
        match (mark, kind) {
            (0xFF, 0xDA) => {
                return bytes[at..]
                    .windows(2)
                    .rev()
                    .any(|pair| pair == [0xFF, 0xD9]);
            }
            // Fill bytes, and markers that stand alone.
            (0xFF, 0xFF) => at += 1,
            (0xFF, 0x01 | 0xD0..=0xD8) => at += 2,
            (0xFF, _) => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => at += 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
            // Stray bytes between segments: let the decoder judge them.
            _ => at += 1,
        }
    }
    false
}
