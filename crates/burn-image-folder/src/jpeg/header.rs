//! What a JPEG file says before its first scan.

use image::metadata::Orientation;

/// The segments before the first scan. Tables are as they lie in the file.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    pub frame: Option<Frame<'a>>,
    pub exif_orientation: Option<Orientation>,
    /// The colour transform that Adobe's segment names.
    pub adobe_transform: Option<u8>,
    /// Steps of quantization in zigzag order; only tables of 8 bits.
    pub steps: [Option<&'a [u8; 64]>; 4],
    /// Huffman codes of DC and of AC coefficients: how many of each length, then their values.
    pub codes: [[Option<&'a [u8]>; 4]; 2],
    /// Units of blocks between two restart markers; 0 if there are none.
    pub restart_interval: usize,
    pub scan: Option<Scan<'a>>,
}

/// A frame header: size and coding.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub width: u32,
    pub height: u32,
    pub bits: u8,
    /// Identifier, sampling factors and quantization table of each component.
    pub components: &'a [[u8; 3]],
    /// Whether every block is coded at once, rather than refined from scan to scan.
    pub sequential: bool,
}

/// A scan header.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// Identifier and Huffman tables of each component.
    pub components: &'a [[u8; 2]],
    /// Where the coded data starts.
    pub data: usize,
}

impl<'a> Header<'a> {
    /// Reads the segments up to the first scan.
    pub fn read(bytes: &'a [u8]) -> Self {
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
                    header.read_segment(kind, segment);
                    at = end;
                    if kind == 0xDA {
                        header.scan = Scan::read(segment, end);
                        break;
                    }
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
        let data = (self.scan.as_ref()).and_then(|scan| bytes.get(scan.data..));
        data.is_some_and(|data| data.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]))
    }

    fn read_segment(&mut self, kind: u8, segment: &'a [u8]) {
        match kind {
            0xC0..=0xC2 => self.frame = Frame::read(segment, kind),
            0xC4 => self.read_codes(segment),
            0xDB => self.read_steps(segment),
            0xDD => {
                if let Some(interval) = segment.first_chunk() {
                    self.restart_interval = u16::from_be_bytes(*interval).into();
                }
            }
            0xE1 => {
                if let Some(chunk) = segment.strip_prefix(b"Exif\0\0") {
                    self.exif_orientation = Orientation::from_exif_chunk(chunk);
                }
            }
            0xEE if segment.starts_with(b"Adobe") => {
                self.adobe_transform = segment.get(11).copied();
            }
            _ => {}
        }
    }

    fn read_codes(&mut self, mut segment: &'a [u8]) {
        while let Some((&id, rest)) = segment.split_first()
            && let Some(lengths) = rest.get(..16)
        {
            let values: usize = lengths.iter().map(|&count| usize::from(count)).sum();
            let Some((code, rest)) = rest.split_at_checked(16 + values) else {
                break;
            };
            if let Some(table) = (self.codes.get_mut(usize::from(id >> 4)))
                .and_then(|tables| tables.get_mut(usize::from(id & 15)))
            {
                *table = Some(code);
            }
            segment = rest;
        }
    }

    fn read_steps(&mut self, mut segment: &'a [u8]) {
        while let Some((&id, rest)) = segment.split_first() {
            let length = if id >> 4 == 0 { 64 } else { 128 };
            let Some((steps, rest)) = rest.split_at_checked(length) else {
                break;
            };
            if let Some(table) = self.steps.get_mut(usize::from(id & 15)) {
                *table = steps.try_into().ok();
            }
            segment = rest;
        }
    }
}

impl<'a> Frame<'a> {
    fn read(segment: &'a [u8], kind: u8) -> Option<Self> {
        let (&[bits, h1, h0, w1, w0, components], rest) = segment.split_first_chunk()?;
        Some(Self {
            width: u16::from_be_bytes([w1, w0]).into(),
            height: u16::from_be_bytes([h1, h0]).into(),
            bits,
            components: rest.as_chunks().0.get(..components.into())?,
            sequential: kind != 0xC2,
        })
    }
}

impl<'a> Scan<'a> {
    fn read(segment: &'a [u8], data: usize) -> Option<Self> {
        let (&components, rest) = segment.split_first()?;
        Some(Self {
            components: rest.as_chunks().0.get(..components.into())?,
            data,
        })
    }
}
