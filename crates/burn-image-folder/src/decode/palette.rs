//! TIFF files with a palette, which the `tiff` crate does not read: it is shown a grey picture,
//! whose values are places in the palette.

use std::io::Cursor;

use ::tiff::ColorType;
use ::tiff::decoder::{Decoder, DecodingResult};

use super::exif::Directory;
use super::picture::{Picture, check_pixels};
use crate::error::{DecodeError, one_line};

const PHOTOMETRIC: u16 = 262;
const COLOR_MAP: u16 = 320;

/// Decodes a file of at most `limit` million pixels; none if it has no palette.
pub(super) fn decode(bytes: &[u8], limit: u64) -> Result<Option<Picture>, DecodeError> {
    let Some(directory) = Directory::open(bytes) else {
        return Ok(None);
    };
    let Some(photometric) = directory.find(PHOTOMETRIC) else {
        return Ok(None);
    };
    if directory.number(PHOTOMETRIC) != Some(3.0) {
        return Ok(None);
    }
    let colors = directory.shorts(COLOR_MAP).unwrap_or_default();
    let mut grey = bytes.to_vec();
    for byte in &mut grey[photometric.at + 8..photometric.at + 12] {
        // The type is short or long, of either order: the only byte that is not zero is the value.
        *byte = (*byte).min(1);
    }
    let mut decoder = Decoder::new(Cursor::new(grey))?;
    let (width, height) = decoder.dimensions()?;
    check_pixels([width, height], limit)?;
    let bits = match decoder.colortype()? {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => bits,
        _ => {
            return Err(DecodeError::Unsupported(
                "a TIFF palette of more than 256 colours",
            ));
        }
    };
    let count = 1 << bits;
    if colors.len() != 3 * count {
        return Err(DecodeError::Malformed(
            "the palette has another size".into(),
        ));
    }
    let DecodingResult::U8(packed) = decoder.read_image()? else {
        return Err(DecodeError::Malformed(
            "the palette's places are no bytes".into(),
        ));
    };
    let row = (width as usize * usize::from(bits)).div_ceil(8);
    if row == 0 || packed.len() < row * height as usize {
        return Err(DecodeError::Truncated);
    }
    let per_byte = 8 / usize::from(bits);
    let mut pixels = Vec::with_capacity(3 * width as usize * height as usize);
    for row in packed.chunks_exact(row) {
        for x in 0..width as usize {
            let shift = 8 - usize::from(bits) * (x % per_byte + 1);
            let place = usize::from(row[x / per_byte]) >> shift & (count - 1);
            pixels.extend([0, 1, 2].map(|channel| (colors[channel * count + place] >> 8) as u8));
        }
    }
    Picture::whole([width, height], pixels).map(Some)
}

impl From<tiff::TiffError> for DecodeError {
    fn from(error: tiff::TiffError) -> Self {
        match error {
            tiff::TiffError::IoError(error)
                if error.kind() == std::io::ErrorKind::UnexpectedEof =>
            {
                Self::Truncated
            }
            error => Self::Malformed(one_line(&error.to_string())),
        }
    }
}
