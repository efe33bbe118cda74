//! The usual photograph, decoded no further down than it is needed.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::error::{DecodeError, one_line};

/// What the segments before a JPEG file's first scan say.
#[derive(Debug, Default)]
pub(super) struct Header {
    frame: Option<Frame>,
    exif_orientation: Option<Orientation>,
    /// Where the first scan's segment starts.
    scan: Option<usize>,
    /// How many components that scan has.
    scan_components: u8,
}

/// A frame header: size and coding.
#[derive(Debug)]
struct Frame {
    width: u32,
    height: u32,
    /// Where the file says the height, in two bytes.
    height_at: usize,
    bits: u8,
    components: u8,
    /// Largest vertical sampling factor.
    v_max: u32,
    /// Whether every block is coded at once, rather than refined from scan to scan.
    sequential: bool,
}

impl Header {
    /// Reads the segments up to the first scan.
    pub fn read(bytes: &[u8]) -> Self {
        let mut header = Self::default();
        let mut at = 2;
        while let Some(&[mark, kind]) = bytes.get(at..at + 2) {
            match (mark, kind) {
                // Fill bytes, and markers that stand alone.
                (0xFF, 0xFF) => at += 1,
                (0xFF, 0x01 | 0xD0..=0xD8) => at += 2,
                (0xFF, _) => {
                    let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                        break;
                    };
                    let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
                    let segment = bytes.get(at + 4..end).unwrap_or_default();
                    match kind {
                        0xC0..=0xC2 => header.frame = Frame::read(segment, kind, at + 4),
                        0xE1 => header.read_exif(segment),
                        0xDA => {
                            header.scan = Some(at);
                            header.scan_components = segment.first().copied().unwrap_or(0);
                            break;
                        }
                        _ => {}
                    }
                    at = end;
                }
                // Stray bytes between segments: let the decoder judge them.
                _ => at += 1,
            }
        }
        header
    }

    /// Whether an end-of-image marker follows the start of the first scan.
    ///
    /// The decoder fills the missing part of a cut file with grey and reports success; a training
    /// run should not learn from that. In coded data the byte 0xFF is always followed by a zero
    /// or a restart marker, so the marker cannot occur there by chance. The search starts at the
    /// scan because an embedded thumbnail ends with the same marker.
    pub fn is_complete(&self, bytes: &[u8]) -> bool {
        let scan = self.scan.and_then(|scan| bytes.get(scan..));
        scan.is_some_and(|scan| scan.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]))
    }

    fn read_exif(&mut self, segment: &[u8]) {
        if let Some(chunk) = segment.strip_prefix(b"Exif\0\0") {
            self.exif_orientation = Orientation::from_exif_chunk(chunk);
        }
    }
}

impl Frame {
    fn read(segment: &[u8], kind: u8, at: usize) -> Option<Self> {
        let &[bits, h1, h0, w1, w0, components, ref sampling @ ..] = segment else {
            return None;
        };
        let factors = sampling.chunks_exact(3).map(|c| u32::from(c[1] & 15));
        Some(Self {
            width: u16::from_be_bytes([w1, w0]).into(),
            height: u16::from_be_bytes([h1, h0]).into(),
            height_at: at + 1,
            bits,
            components,
            v_max: factors.max()?,
            sequential: kind != 0xC2,
        })
    }
}

/// An upright JPEG in colour, of eight bits: what nearly every photograph is.
pub(super) struct Photo<'a> {
    bytes: &'a mut [u8],
    frame: Frame,
    /// Whether the first rows can be decoded without the others.
    row_by_row: bool,
}

impl<'a> Photo<'a> {
    /// Nothing if the file is anything else, or not whole.
    pub fn open(bytes: &'a mut [u8]) -> Option<Self> {
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            return None;
        }
        let header = Header::read(bytes);
        let upright = matches!(
            header.exif_orientation,
            None | Some(Orientation::NoTransforms)
        );
        if !upright || !header.is_complete(bytes) {
            return None;
        }
        let frame = header.frame?;
        let usual = frame.bits == 8 && frame.components == 3 && frame.width * frame.height > 0;
        usual.then_some(Self {
            row_by_row: frame.sequential && header.scan_components == frame.components,
            bytes,
            frame,
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        [self.frame.width, self.frame.height]
    }

    /// Decodes at least the first `rows` rows to 8-bit RGB; returns how many there are in `pixels`,
    /// of which those beyond `rows` may differ from the image's.
    ///
    /// The rows of blocks follow one another, so decoding ends early in a file whose header says
    /// that it is less high.
    pub fn decode(self, rows: u32, pixels: &mut Vec<u8>) -> Result<u32, DecodeError> {
        let Frame {
            width,
            mut height,
            v_max,
            height_at,
            ..
        } = self.frame;
        if self.row_by_row {
            // Where colour has fewer rows, those of the next blocks are needed to fill in.
            let block = 8 * v_max;
            let margin = if v_max > 1 { block } else { 0 };
            height = height.min(rows.next_multiple_of(block) + margin);
            self.bytes[height_at..][..2].copy_from_slice(&(height as u16).to_be_bytes());
        }
        let options = DecoderOptions::default()
            .jpeg_set_out_colorspace(ColorSpace::RGB)
            .set_strict_mode(false)
            .set_max_width(usize::MAX)
            .set_max_height(usize::MAX);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&*self.bytes), options);
        // What the decoder does not fill is what an image without content would be.
        pixels.clear();
        pixels.resize(3 * width as usize * height as usize, 0);
        let decoded = decoder.decode_into(pixels);
        decoded.map_err(|error| DecodeError::Malformed(one_line(&error.to_string())))?;
        Ok(height)
    }
}
