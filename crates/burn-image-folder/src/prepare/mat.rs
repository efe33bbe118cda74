//! The table of synsets in ImageNet's development kit, a MATLAB file of level 5.
//!
//! The format is MathWorks', *MAT-File Format*, chapter 1: after a header of 128 bytes come elements,
//! each with its type, its length and its bytes. An array is an element of elements: flags, sizes,
//! name, and then, of an array of structures, the names of the fields and the values field by field.

use std::collections::HashMap;
use std::io::Read;

use flate2::bufread::ZlibDecoder;

const HEADER: usize = 128;
/// What a packed element may unpack to, in bytes.
const UNPACKED: u64 = 64 << 20;

/// Types of elements.
const MATRIX: u32 = 14;
const PACKED: u32 = 15;

/// Classes of arrays.
const STRUCTURES: u8 = 2;

/// The synsets by their numbers, `ILSVRC2012_ID`.
pub(super) fn synsets(file: &[u8]) -> Result<HashMap<u32, String>, &'static str> {
    if file.get(126..HEADER) != Some(b"IM") {
        return Err("it is no MATLAB file of level 5, little-endian");
    }
    let mut rest = &file[HEADER..];
    while let Some(element) = Element::next(&mut rest) {
        let unpacked;
        let element = match element.kind {
            PACKED => {
                unpacked = unpack(element.data)?;
                match Element::next(&mut &unpacked[..]) {
                    Some(element) => element,
                    None => continue,
                }
            }
            _ => element,
        };
        let array = Array::read(element);
        if let Some(found) = array.filter(|array| array.name == b"synsets") {
            return found.synsets().ok_or("its table of synsets is damaged");
        }
    }
    Err("it has no table of synsets")
}

fn unpack(data: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut unpacked = Vec::new();
    let read = ZlibDecoder::new(data)
        .take(UNPACKED)
        .read_to_end(&mut unpacked);
    match read {
        Ok(_) if unpacked.len() as u64 == UNPACKED => Err("it unpacks to too much"),
        Ok(_) => Ok(unpacked),
        Err(_) => Err("it is damaged"),
    }
}

/// A type with bytes.
#[derive(Clone, Copy)]
struct Element<'a> {
    kind: u32,
    data: &'a [u8],
}

impl<'a> Element<'a> {
    /// Takes the first element off `bytes`.
    fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let first = word(head.first_chunk()?);
        // A short one has length and type in one word, and its bytes in the other.
        if first >> 16 != 0 {
            *bytes = rest;
            return Some(Self {
                kind: first & 0xffff,
                data: head.get(4..)?.get(..(first >> 16) as usize)?,
            });
        }
        let length = word(head.last_chunk()?) as usize;
        let data = rest.get(..length)?;
        let padded = match first {
            PACKED => length,
            _ => length.checked_next_multiple_of(8)?,
        };
        *bytes = rest.get(padded..).unwrap_or_default();
        Some(Self { kind: first, data })
    }

    /// Its values as whole numbers, which MATLAB stores in the least type that holds them.
    fn numbers(self) -> Option<Vec<f64>> {
        fn all<const N: usize>(data: &[u8], of: fn([u8; N]) -> f64) -> Vec<f64> {
            let (values, _) = data.as_chunks::<N>();
            values.iter().copied().map(of).collect()
        }
        Some(match self.kind {
            1 => all::<1>(self.data, |b| i8::from_le_bytes(b).into()),
            2 | 16 => all::<1>(self.data, |b| u8::from_le_bytes(b).into()),
            3 => all::<2>(self.data, |b| i16::from_le_bytes(b).into()),
            4 | 17 => all::<2>(self.data, |b| u16::from_le_bytes(b).into()),
            5 => all::<4>(self.data, |b| i32::from_le_bytes(b).into()),
            6 => all::<4>(self.data, |b| u32::from_le_bytes(b).into()),
            7 => all::<4>(self.data, |b| f32::from_le_bytes(b).into()),
            9 => all::<8>(self.data, f64::from_le_bytes),
            _ => return None,
        })
    }
}

/// An array: its class, its number of values, its name, and the elements that follow.
struct Array<'a> {
    class: u8,
    count: usize,
    name: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Array<'a> {
    fn read(element: Element<'a>) -> Option<Self> {
        if element.kind != MATRIX {
            return None;
        }
        let mut rest = element.data;
        let flags = Element::next(&mut rest)?;
        let sizes = Element::next(&mut rest)?.numbers()?;
        let name = Element::next(&mut rest)?.data;
        let count = sizes.iter().try_fold(1_usize, |count, &size| {
            (size >= 0.0).then_some(())?;
            count.checked_mul(size as usize)
        })?;
        Some(Self {
            class: *flags.data.first()?,
            count,
            name,
            rest,
        })
    }

    /// The columns `ILSVRC2012_ID` and `WNID` of an array of structures.
    fn synsets(mut self) -> Option<HashMap<u32, String>> {
        if self.class != STRUCTURES {
            return None;
        }
        let length = *Element::next(&mut self.rest)?.numbers()?.first()? as usize;
        let names = Element::next(&mut self.rest)?.data;
        if length == 0 {
            return None;
        }
        let names: Vec<_> = names.chunks(length).map(until_zero).collect();
        let mut synsets = HashMap::new();
        // Every value takes bytes: what the sizes say is believed as far as there are some.
        for _ in 0..self.count {
            let (mut number, mut synset) = (None, None);
            for &name in &names {
                let value = Self::read(Element::next(&mut self.rest)?)?;
                match name {
                    b"ILSVRC2012_ID" => number = value.number(),
                    b"WNID" => synset = value.text(),
                    _ => {}
                }
            }
            synsets.insert(number?, synset?);
        }
        Some(synsets)
    }

    fn number(mut self) -> Option<u32> {
        let values = Element::next(&mut self.rest)?.numbers()?;
        let value = *values.first()?;
        (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value))
            .then_some(value as u32)
    }

    fn text(mut self) -> Option<String> {
        let letters = Element::next(&mut self.rest)?.numbers()?;
        let letter = |code: f64| char::from_u32(code as u32).filter(char::is_ascii);
        letters.into_iter().map(letter).collect()
    }
}

fn word(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes)
}

fn until_zero(name: &[u8]) -> &[u8] {
    name.split(|&letter| letter == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both made by SciPy, see `make_meta.py` beside them.
    const FILES: [&[u8]; 2] = [
        include_bytes!("../../tests/fixtures/prepare/packed.mat"),
        include_bytes!("../../tests/fixtures/prepare/plain.mat"),
    ];

    #[test]
    fn the_synsets_of_a_table_are_found() {
        let expected = [(1, "n01440764"), (2, "n01443537"), (1001, "n02084071")];
        let expected = expected.map(|(number, synset)| (number, synset.to_string()));
        for file in FILES {
            assert_eq!(synsets(file).unwrap(), HashMap::from(expected.clone()));
        }
    }

    #[test]
    fn damaged_tables_are_errors_or_tables() {
        for file in FILES {
            for length in 0..file.len() {
                // What comes behind the table may be missing.
                let _ = synsets(&file[..length]);
                let mut damaged = file.to_vec();
                damaged[length] ^= 0xff;
                let _ = synsets(&damaged);
            }
            synsets(&file[..file.len() / 3]).unwrap_err();
        }
        synsets(b"").unwrap_err();
    }
}
