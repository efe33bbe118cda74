//! Files of every format but JPEG, through the `image` crate, with bounds of our own.

use std::borrow::Cow;
use std::io::Cursor;

use ::tiff::decoder::Decoder;
use ::tiff::tags::Tag;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::exif::{self, Directory};
use super::picture::{Picture, check_pixels};
use super::{bmp, gif, palette, png, tiff, webp};
use crate::error::DecodeError;

/// What a decoder may ask for before the size of the picture is known, in bytes.
const HEADER_MEMORY: u64 = 16 << 20;

/// What a decoder may ask for, in bytes per pixel: four floats, or an 8-bit image and as much
/// again to work with.
const BYTES_PER_PIXEL: u64 = 16;

/// The most bytes that deflate makes of one, of at most eight pixels each. Run lengths and GIF's codes
/// make less.
const DEFLATE: u64 = 1032;

/// The most that TIFF's LZW makes of one: a code of 12 bits stands for 4096 at most.
const LZW: u64 = 2731;

const WHITE: [u8; 3] = [255; 3];

/// TIFF's tag of an XMP packet.
const XMP: u16 = 700;

/// Decodes a file of at most `limit` million pixels, and says how to turn it.
pub(super) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    limit: u64,
) -> Result<(Picture, Option<Orientation>), DecodeError> {
    let mut orientation = None;
    // How many pixels a byte can stand for; WebP's blank pictures are of any size.
    let mut per_byte = match format {
        ImageFormat::WebP => u64::MAX,
        _ => 8 * DEFLATE,
    };
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
        ImageFormat::Bmp => {
            if let Some(missing @ 1..) = bmp::missing_padding(&bytes) {
                let length = bytes.len() + missing;
                bytes.to_mut().resize(length, 0);
            }
        }
        ImageFormat::Tiff => {
            if tiff::claims_too_much(&bytes) {
                return Err(DecodeError::Truncated);
            }
            let compression = Decoder::new(Cursor::new(&*bytes))?.find_tag(Tag::Compression)?;
            let compression = compression.and_then(|value| value.into_u16().ok());
            per_byte = match compression {
                // A bit for a blank row, of any width.
                Some(2..=4) => u64::MAX,
                Some(5) => 8 * LZW,
                _ => 8 * DEFLATE,
            };
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
    // A few bytes can announce gigabytes.
    if pixels / per_byte > bytes.len() as u64 {
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
    if tiff::is_big(&bytes) {
        let known = decoder.orientation().ok();
        orientation = known.filter(|&known| known != Orientation::NoTransforms);
    }
    let image = DynamicImage::from_decoder(decoder)?;
    let rgb = match image.color().has_alpha() {
        true => match format {
            ImageFormat::Gif => over(gif::background(&bytes).unwrap_or(WHITE), image),
            ImageFormat::Tiff if tiff::is_premultiplied(&bytes) => premultiplied_on_white(image),
            _ => over(WHITE, image),
        },
        false => image.into_rgb8(),
    };
    Ok((Picture::whole(size, rgb.into_raw())?, orientation))
}

/// Composites a transparent image on a colour.
fn over(color: [u8; 3], image: DynamicImage) -> RgbImage {
    let color = color.map(u16::from);
    composited(image, |channel, value, alpha| {
        ((value * alpha + color[channel] * (255 - alpha) + 127) / 255) as u8
    })
}

/// Composites an image on white whose colours are multiplied by the transparency already.
fn premultiplied_on_white(image: DynamicImage) -> RgbImage {
    composited(image, |_, value, alpha| {
        (value.min(alpha) + 255 - alpha) as u8
    })
}

/// What `mix` makes of each channel's number, its value and the pixel's transparency.
fn composited(image: DynamicImage, mix: impl Fn(usize, u16, u16) -> u8) -> RgbImage {
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, alpha] = from.0.map(u16::from);
        to.0 = [(0, r), (1, g), (2, b)].map(|(channel, value)| mix(channel, value, alpha));
    }
    rgb
}
