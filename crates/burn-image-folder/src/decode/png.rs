//! What the chunks of a PNG file say beside the pixels.

use fdeflate::{BoundedDecompressionError, decompress_to_vec_bounded};
use image::metadata::Orientation;

use super::exif;
use crate::error::DecodeError;

/// The last chunk.
pub(super) const END: &[u8] = b"\0\0\0\0IEND\xAE\x42\x60\x82";

/// Most bytes that a profile or a text may inflate to. Pillow refuses larger ones too.
const MAX_INFLATED: usize = 1 << 20;

pub(super) struct Outline {
    pub orientation: Option<Orientation>,
    pub has_end: bool,
}

impl Outline {
    /// Walks the chunks.
    ///
    /// # Errors
    ///
    /// A chunk that inflates to more than Pillow allows.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut exif, mut raw_exif, mut xmp) = (None, None, None);
        let mut has_end = false;
        let mut rest = bytes.get(8..).unwrap_or_default();
        while let Some((length, tail)) = rest.split_first_chunk::<4>()
            && let Some((kind, tail)) = tail.split_first_chunk::<4>()
        {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((data, tail)) = tail.split_at_checked(length) else {
                break;
            };
            rest = tail.get(4..).unwrap_or_default();
            match kind {
                b"IEND" => {
                    has_end = true;
                    break;
                }
                b"eXIf" => exif = Some(data.to_vec()),
                b"iCCP" => {
                    inflate(after_name(data).1.get(1..))?;
                }
                b"tEXt" | b"zTXt" => {
                    let (name, text) = after_name(data);
                    let text = match kind {
                        b"zTXt" => inflate(text.get(1..))?,
                        _ => Some(text.to_vec()),
                    };
                    if name == b"Raw profile type exif" {
                        raw_exif = text.as_deref().and_then(from_hex).or(raw_exif);
                    }
                }
                b"iTXt" => {
                    let (name, rest) = after_name(data);
                    let text = international(rest)?;
                    if name == b"XML:com.adobe.xmp" {
                        xmp = text.or(xmp);
                    }
                }
                _ => {}
            }
        }
        let exif = exif.or(raw_exif);
        Ok(Self {
            orientation: exif::orientation(exif.as_deref(), xmp.as_deref()),
            has_end,
        })
    }
}

/// A name and what follows the zero behind it.
fn after_name(data: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(0, data).unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// The text of an `iTXt` chunk behind its name: two flags, language, translated name, text.
fn international(data: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some((&[compressed, _], rest)) = data.split_first_chunk() else {
        return Ok(None);
    };
    let text = after_name(after_name(rest).1).1;
    match compressed {
        0 => Ok(Some(text.to_vec())),
        _ => inflate(Some(text)),
    }
}

/// None for what is damaged.
fn inflate(data: Option<&[u8]>) -> Result<Option<Vec<u8>>, DecodeError> {
    match decompress_to_vec_bounded(data.unwrap_or_default(), MAX_INFLATED) {
        Ok(inflated) => Ok(Some(inflated)),
        Err(BoundedDecompressionError::OutputTooLarge { .. }) => Err(DecodeError::Unsupported(
            "a PNG with a profile or text of more than a megabyte",
        )),
        Err(BoundedDecompressionError::DecompressionError { .. }) => Ok(None),
    }
}

/// The bytes of a profile as ImageMagick writes it: three lines, then hexadecimal digits.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digits: Vec<u8> = (digits.iter().filter(|byte| !byte.is_ascii_whitespace()))
        .map(|&digit| Some(char::from(digit).to_digit(16)? as u8))
        .collect::<Option<_>>()?;
    Some(
        digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[high, low]| high << 4 | low)
            .collect(),
    )
}
