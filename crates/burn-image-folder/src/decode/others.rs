//! Files of every format but JPEG, through the `image` crate, with bounds of our own.

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use super::exif::{self, Directory};
use super::picture::{Picture, check_pixels};
use super::{palette, png, webp};
use crate::error::DecodeError;

/// What a decoder may ask for before the size of the picture is known, in bytes.
const HEADER_MEMORY: u64 = 16 << 20;

/// What a decoder may ask for, in bytes per pixel: four floats, or an 8-bit image and as much
/// again to work with.
const BYTES_PER_PIXEL: u64 = 16;

/// Pixels that a byte of a file can stand for: deflate makes at most 1032 bytes of one, of eight
/// pixels each. Run lengths and GIF's codes make less.
const PIXELS_PER_BYTE: u64 = 8 * 1032;

/// TIFF's tag of an XMP packet.
const XMP: u16 = 700;

/// Decodes a file of at most `limit` million pixels, and says how to turn it.
pub(super) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    limit: u64,
) -> Result<(Picture, Option<Orientation>), DecodeError> {
    let mut orientation = None;
    let mut bytes = Cow::Borrowed(bytes);
    match format {
        ImageFormat::Png => {
            let outline = png::Outline::read(&bytes)?;
            orientation = outline.orientation;
            if !outline.has_end {
                // A lost end mark costs no pixel.
                bytes = [&bytes, png::END].concat().into();
            }
        }
        ImageFormat::Tiff => {
            let compression = Decoder::new(Cursor::new(&*bytes))?.find_tag(Tag::Compression)?;
            let compression = compression.and_then(|value| value.into_u16().ok());
            if let Some(6 | 7) = compression {
                return Err(DecodeError::Unsupported("a TIFF with JPEG data inside"));
            }
            if let Some(directory) = Directory::open(&bytes) {
                let xmp = directory.find(XMP).map(|entry| entry.data);
                orientation = exif::orientation(Some(&bytes), xmp);
            }
            if let Some(picture) = palette::decode(&bytes, limit)? {
                return Ok((picture, orientation));
            }
        }
        _ => {}
    }
    let mut reader = ImageReader::with_format(Cursor::new(&*bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(HEADER_MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;

    let size = <[u32; 2]>::from(decoder.dimensions());
    check_pixels(size, limit)?;
    let pixels = u64::from(size[0]) * u64::from(size[1]);
    if pixels == 0 {
        return Err(DecodeError::Empty);
    }
    // A few bytes can announce gigabytes. Blank pages of a facsimile and WebP's blank pictures
    // may be of any size, and are whole.
    let dense = matches!(format, ImageFormat::Tiff | ImageFormat::WebP);
    if !dense && pixels / PIXELS_PER_BYTE > bytes.len() as u64 {
        return Err(DecodeError::Truncated);
    }
    limits.max_alloc = Some(HEADER_MEMORY + pixels * BYTES_PER_PIXEL);
    decoder.set_limits(limits)?;
    // Damaged metadata is no reason to lose the picture.
    match format {
        ImageFormat::WebP => {
            let [exif, xmp] = [b"EXIF", b"XMP "].map(|kind| webp::chunk(&bytes, kind));
            orientation = exif::orientation(exif, xmp);
        }
        ImageFormat::Gif => {
            let xmp = decoder.xmp_metadata().ok().flatten();
            orientation = exif::orientation(None, xmp.as_deref());
        }
        _ => {}
    }
    if is_big_tiff(&bytes) {
        let known = decoder.orientation().ok();
        orientation = known.filter(|&known| known != Orientation::NoTransforms);
    }
    let image = DynamicImage::from_decoder(decoder)?;
    let rgb = match image.color().has_alpha() {
        true => on_white(image),
        false => image.into_rgb8(),
    };
    Ok((Picture::whole(size, rgb.into_raw())?, orientation))
}

/// Whether a file is a TIFF file with places of 64 bits.
pub(super) fn is_big_tiff(bytes: &[u8]) -> bool {
    bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b")
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
