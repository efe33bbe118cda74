//! JPEG files. All of them go through libjpeg-turbo-rs, whose pixels are those of libjpeg-turbo
//! bit for bit; what it would answer otherwise is refused here.

use std::borrow::Cow;

use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, Decoder, JpegError, PixelFormat};
use memchr::memchr;

use super::exif;
use super::picture::{Picture, Region, check_pixels};
use crate::error::{DecodeError, one_line};

/// Most scans of a file: usual encoders make ten, and each is a walk over the whole picture.
const MAX_SCANS: usize = 100;

/// Pixels around a region that decide about the colours in it.
const MARGIN: usize = 16;

/// Decodes a JPEG file of at most `limit` million pixels, of an upright one only the region that
/// `look` asks for when it is told width and height.
pub(super) fn decode(
    bytes: &[u8],
    limit: u64,
    look: impl FnOnce([u32; 2]) -> Region,
) -> Result<Picture, DecodeError> {
    let outline = Outline::read(bytes);
    let bytes = match outline.has_end {
        true => Cow::Borrowed(bytes),
        // A lost end mark costs no pixel, but the decoder wants one.
        false => [bytes, &[0xFF, 0xD9]].concat().into(),
    };
    let limits = DecodeLimits {
        max_scans: MAX_SCANS,
        ..DecodeLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(&bytes, limits)?;
    let size = [decoder.header().width, decoder.header().height].map(u32::from);
    check_pixels(size, limit)?;
    check_kind(&decoder)?;
    if least_bits(&decoder) > 8 * bytes.len() || !outline.is_complete(&decoder) {
        return Err(DecodeError::Truncated);
    }
    let inks = decoder.header().components.len() == 4;
    decoder.set_output_format(match inks {
        true => PixelFormat::Cmyk,
        false => PixelFormat::Rgb,
    });
    if outline.orientation.is_some() {
        let upright = rgb(decoder.decode_image()?.data, inks);
        return Picture::whole(size, upright)?.turned(outline.orientation, look);
    }
    let [width, height] = size.map(|length| length as usize);
    let region = look(size).widened(MARGIN, [width, height]);
    let (x, y) = (region.x, region.y);
    if x.len() < width || y.len() < height {
        decoder.set_crop_region(x.start, y.start, x.len(), y.len());
    }
    let part = decoder.decode_image()?;
    // The decoder begins at a whole block, left of what was asked for, and ends where asked.
    let origin = [x.end - part.width, y.end - part.height].map(|start| start as u32);
    Picture::part(
        size,
        origin,
        [part.width as u32, part.height as u32],
        rgb(part.data, inks),
    )
}

/// Refuses what nobody can check, or what would come out otherwise than from libjpeg-turbo.
fn check_kind(decoder: &Decoder) -> Result<(), DecodeError> {
    let frame = decoder.header();
    let ids = || frame.components.iter().map(|component| component.id);
    let repeated = ids()
        .enumerate()
        .any(|(n, id)| ids().skip(n + 1).any(|other| other == id));
    let widest = |of: fn(&libjpeg_turbo_rs::ComponentInfo) -> u8| {
        let luma = frame.components.first().map_or(0, of);
        frame
            .components
            .iter()
            .any(|component| of(component) > luma)
    };
    let refusal = match frame.components.len() {
        _ if frame.width == 0 || frame.height == 0 => "a JPEG without a size in its header",
        _ if frame.precision != 8 => "a JPEG of other than 8 bits a sample",
        _ if frame.is_lossless => "a lossless JPEG",
        // Its data goes on for ever as zeros, so a cut would pass for a picture.
        _ if decoder.is_arithmetic() => "an arithmetic-coded JPEG, of which a cut cannot be seen",
        1 => return Ok(()),
        3 | 4 if repeated => "a JPEG whose components have the same name",
        3 | 4 if widest(|c| c.horizontal_sampling) || widest(|c| c.vertical_sampling) => {
            "a JPEG whose colours are sampled finer than its brightness"
        }
        3 | 4 if decoder.jpeg_color_space() != ColorSpace::Unknown => return Ok(()),
        _ => "a JPEG of unknown colours",
    };
    Err(DecodeError::Unsupported(refusal))
}

/// The least length of coded data in bits: each block has a code for its mean and, unless that is
/// left to later scans, one for the rest. A header that announces more is not worth its memory.
fn least_bits(decoder: &Decoder) -> usize {
    let frame = decoder.header();
    let most = |of: fn(&libjpeg_turbo_rs::ComponentInfo) -> u8| {
        frame.components.iter().map(of).max().map_or(1, usize::from)
    };
    let [most_x, most_y] = [
        most(|c| c.horizontal_sampling),
        most(|c| c.vertical_sampling),
    ];
    let blocks = |length: u16, sampling: u8, most: usize| {
        (usize::from(length) * usize::from(sampling)).div_ceil(8 * most.max(1))
    };
    let blocks = frame.components.iter().map(|component| {
        blocks(frame.width, component.horizontal_sampling, most_x)
            * blocks(frame.height, component.vertical_sampling, most_y)
    });
    blocks.sum::<usize>() * if frame.is_progressive { 1 } else { 2 }
}

/// Three bytes a pixel. Inks are inverted, as Adobe writes them and Pillow expects them.
fn rgb(data: Vec<u8>, inks: bool) -> Vec<u8> {
    if !inks {
        return data;
    }
    let scaled = |a: u16, b: u16| {
        let product = a * b + 128;
        ((product >> 8) + product) >> 8
    };
    let pixels = data.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| {
        let light = u16::from(k);
        [c, m, y].map(|ink| (light - scaled(255 - u16::from(ink), light)) as u8)
    });
    pixels.collect()
}

/// What the markers say beside the pixels.
struct Outline {
    orientation: Option<image::metadata::Orientation>,
    has_end: bool,
    /// Of each component, by its name, and each of its coefficients: how many of the low bits no
    /// scan has brought; all bits of one that is in no scan.
    missing: Vec<(u8, [u8; 64])>,
}

impl Outline {
    fn read(bytes: &[u8]) -> Self {
        let (mut exif, mut xmp): (Option<Vec<u8>>, Option<&[u8]>) = (None, None);
        let mut missing: Vec<(u8, [u8; 64])> = Vec::new();
        let (mut progressive, mut in_header) = (false, true);
        let mut segments = Segments {
            bytes,
            at: 2,
            ended: false,
        };
        for (kind, segment) in &mut segments {
            match kind {
                0xC0..=0xC2 => {
                    progressive = kind == 0xC2;
                    let components = segment.get(6..).unwrap_or_default().as_chunks::<3>().0;
                    missing = components
                        .iter()
                        .map(|&[id, ..]| (id, [u8::MAX; 64]))
                        .collect();
                }
                0xDA => {
                    in_header = false;
                    note_scan(&mut missing, segment, progressive);
                }
                // One that is too long for a segment goes on in the next.
                0xE1 if in_header && segment.starts_with(b"Exif\0\0") => match &mut exif {
                    Some(exif) => exif.extend_from_slice(&segment[6..]),
                    None => exif = Some(segment.to_vec()),
                },
                0xE1 if in_header => {
                    xmp = segment
                        .strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
                        .or(xmp);
                }
                _ => {}
            }
        }
        Self {
            orientation: exif::orientation(exif.as_deref(), xmp),
            has_end: segments.ended,
            missing,
        }
    }

    /// Whether the scans bring every bit of every coefficient. A picture that ends between two
    /// scans is a whole one to the decoder, if a blurred or a grey one.
    fn is_complete(&self, decoder: &Decoder) -> bool {
        self.missing.len() == decoder.header().components.len()
            && self
                .missing
                .iter()
                .all(|(_, bits)| bits.iter().all(|&bits| bits == 0))
    }
}

/// Takes from what is missing what a scan brings.
fn note_scan(missing: &mut [(u8, [u8; 64])], segment: &[u8], progressive: bool) {
    let Some((&count, rest)) = segment.split_first() else {
        return;
    };
    let (components, rest) = rest.split_at(rest.len().min(2 * usize::from(count)));
    let (first, last, low) = match rest {
        &[first, last, bits, ..] if progressive => (first, last, bits & 15),
        _ => (0, 63, 0),
    };
    let band = usize::from(first.min(63))..=usize::from(last.min(63));
    for &[id, _] in components.as_chunks::<2>().0 {
        for (_, bits) in missing.iter_mut().filter(|(other, _)| *other == id) {
            // A band that ends before it begins brings nothing.
            bits.get_mut(band.clone()).unwrap_or_default().fill(low);
        }
    }
}

/// The segments of a file up to its end mark: kind and content.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether the end mark was met.
    ended: bool,
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.at += memchr(0xFF, self.bytes.get(self.at..)?)? + 1;
            match *self.bytes.get(self.at)? {
                // A byte of coded data, fill bytes, and marks that stand alone.
                0xFF => {}
                0x00 | 0x01 | 0xD0..=0xD8 => self.at += 1,
                0xD9 => {
                    self.ended = true;
                    return None;
                }
                kind => {
                    let length = self.bytes.get(self.at + 1..)?.first_chunk()?;
                    let length = usize::from(u16::from_be_bytes(*length)).max(2);
                    let start = self.at + 3;
                    self.at = (start + length - 2).min(self.bytes.len());
                    return Some((kind, &self.bytes[start..self.at]));
                }
            }
        }
    }
}

impl From<JpegError> for DecodeError {
    fn from(error: JpegError) -> Self {
        match error {
            JpegError::UnexpectedEof => Self::Truncated,
            error => Self::Malformed(one_line(&error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_brings_its_band_and_one_that_ends_before_it_begins_nothing() {
        let mut missing = [(1, [u8::MAX; 64]), (2, [u8::MAX; 64])];
        note_scan(&mut missing, &[1, 1, 0, 63, 1, 0], true);
        assert!(missing.iter().all(|(_, bits)| *bits == [u8::MAX; 64]));
        note_scan(&mut missing, &[1, 1, 0, 1, 5, 2], true);
        assert_eq!(missing[0].1[..7], [u8::MAX, 2, 2, 2, 2, 2, u8::MAX]);
        assert_eq!(missing[1].1, [u8::MAX; 64]);
    }
}
