//! Which way up a picture is, as Pillow's `ImageOps.exif_transpose` sees it.

use image::metadata::Orientation;
use memchr::memmem;

const ORIENTATION: u16 = 0x0112;

/// What TIFF files begin with, those of two byte orders and two sizes, and two that Pillow takes for them.
const HEADERS: [&[u8; 4]; 6] = [
    b"II\x2a\0",
    b"MM\0\x2a",
    b"II\0\x2a",
    b"MM\x2a\0",
    b"II\x2b\0",
    b"MM\0\x2b",
];

/// How a picture with that EXIF block and that XMP packet is to be turned, if at all.
///
/// What EXIF says counts, also if it makes no sense; XMP is asked where EXIF is silent, but not where it
/// is something else.
pub(super) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Option<Orientation> {
    let exif = exif.map(without_prefix).filter(|exif| !exif.is_empty());
    if exif.is_some_and(|exif| !HEADERS.iter().any(|header| exif.starts_with(&header[..]))) {
        return None;
    }
    let directory = exif.and_then(Directory::open);
    let value = match directory.filter(|directory| directory.find(ORIENTATION).is_some()) {
        Some(directory) => directory.number(ORIENTATION)?,
        None => in_xmp(xmp?)?.into(),
    };
    (1..=8)
        .find(|&number| f64::from(number) == value)
        .and_then(Orientation::from_exif)
        .filter(|&orientation| orientation != Orientation::NoTransforms)
}

/// A block without what programs write before it, once or twice.
fn without_prefix(mut exif: &[u8]) -> &[u8] {
    for _ in 0..2 {
        exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    }
    exif
}

/// The digit after `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(packet: &[u8]) -> Option<u8> {
    let name = b"tiff:Orientation";
    let mut after = memmem::find_iter(packet, name).map(|at| &packet[at + name.len()..]);
    after.find_map(|rest| {
        let value = rest
            .strip_prefix(b"=\"")
            .or_else(|| rest.strip_prefix(b">"))?;
        value
            .first()
            .filter(|digit| digit.is_ascii_digit())
            .map(|digit| digit - b'0')
    })
}

/// The first directory of a TIFF file or an EXIF block.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// Where the entries start.
    start: usize,
    entries: usize,
}

/// What a directory says about a tag.
pub(super) struct Entry<'a> {
    kind: u16,
    count: usize,
    /// Where the entry is.
    pub at: usize,
    pub data: &'a [u8],
}

impl<'a> Directory<'a> {
    /// None if there is none, or one of a BigTIFF file.
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match bytes.first_chunk::<4>()? {
            b"II\x2a\0" | b"II\0\x2a" => false,
            b"MM\0\x2a" | b"MM\x2a\0" => true,
            _ => return None,
        };
        let mut directory = Self {
            bytes,
            big_endian,
            start: 0,
            entries: 0,
        };
        let at = directory.u32(bytes.get(4..)?)? as usize;
        directory.entries = directory.u16(bytes.get(at..)?)?.into();
        directory.start = at + 2;
        Some(directory)
    }

    /// The first entry of a tag whose data is there.
    ///
    /// What lies behind an entry whose data is not there is lost, as it is to Pillow, unless the
    /// data were larger than the file.
    pub fn find(&self, tag: u16) -> Option<Entry<'a>> {
        let mut total = 0;
        for number in 0..self.entries {
            let at = self.start + 12 * number;
            let entry = self.bytes.get(at..at + 12)?;
            let kind = self.u16(&entry[2..])?;
            let Some(unit) = unit(kind) else { continue };
            let count = self.u32(&entry[4..])? as usize;
            let size = count.saturating_mul(unit);
            let data = match size {
                0..=4 => &entry[8..8 + size],
                _ => {
                    total += size;
                    if total > self.bytes.len() {
                        continue;
                    }
                    let offset = self.u32(&entry[8..])? as usize;
                    self.bytes.get(offset..offset + size)?
                }
            };
            if self.u16(entry)? == tag && !data.is_empty() {
                return Some(Entry {
                    kind,
                    count,
                    at,
                    data,
                });
            }
        }
        None
    }

    /// The first number of a tag, of whatever type of numbers.
    pub fn number(&self, tag: u16) -> Option<f64> {
        let Entry { kind, data, .. } = self.find(tag)?;
        let rational = |at: fn(&Self, &[u8]) -> Option<f64>| {
            let [over, under] = [at(self, data)?, at(self, data.get(4..)?)?];
            Some(over / under)
        };
        let long = |directory: &Self, data: &[u8]| Some(f64::from(directory.u32(data)?));
        let signed = |directory: &Self, data: &[u8]| Some(f64::from(directory.u32(data)? as i32));
        let double = || {
            let bytes = *data.first_chunk()?;
            Some(match self.big_endian {
                true => u64::from_be_bytes(bytes),
                false => u64::from_le_bytes(bytes),
            })
        };
        match kind {
            3 => Some(self.u16(data)?.into()),
            4 | 13 => long(self, data),
            5 => rational(long),
            6 => Some(f64::from(data[0] as i8)),
            8 => Some((self.u16(data)? as i16).into()),
            9 => signed(self, data),
            10 => rational(signed),
            11 => Some(f32::from_bits(self.u32(data)?).into()),
            12 => double().map(f64::from_bits),
            16 => double().map(|value| value as f64),
            // Pillow takes neither bytes nor text for a number.
            _ => None,
        }
    }

    /// The 16-bit numbers of a tag.
    pub fn shorts(&self, tag: u16) -> Option<Vec<u16>> {
        let entry = self.find(tag).filter(|entry| entry.kind == 3)?;
        let numbers = entry.data.chunks_exact(2).map(|bytes| self.u16(bytes));
        numbers.take(entry.count).collect()
    }

    fn u16(&self, bytes: &[u8]) -> Option<u16> {
        let bytes = *bytes.first_chunk()?;
        Some(match self.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        })
    }

    fn u32(&self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk()?;
        Some(match self.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }
}

/// Bytes of a value of a type; none if the type is unknown.
pub(super) fn unit(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 => Some(8),
        _ => None,
    }
}
