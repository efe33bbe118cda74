//! From a file to pixels: as libjpeg-turbo, libpng, libtiff and Pillow decode it, or not at all.

mod bmp;
mod exif;
mod gif;
mod jpeg;
mod others;
mod palette;
mod picture;
mod png;
mod tiff;
mod webp;

use std::fs::{self, File};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{ImageFormat, RgbImage};

pub(crate) use picture::{Picture, Region};

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
    match tiff::is_big(start) {
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
