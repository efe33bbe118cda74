//! What the directory of a TIFF file says beside the pixels.

use super::exif::unit;

/// The tags that the decoder reads to learn what the picture is like and where its data are.
const STRUCTURE: [u16; 24] = [
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325,
    338, 339, 347, 530, 532,
];

const EXTRA_SAMPLES: u16 = 338;

/// Whether a file is a TIFF file with places of 64 bits.
pub(super) fn is_big(bytes: &[u8]) -> bool {
    bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b")
}

/// Whether an entry of the first directory that matters announces more than the file has. The decoder
/// takes memory for it before it looks.
pub(super) fn claims_too_much(bytes: &[u8]) -> bool {
    let size = |entry: &Entry| unit(entry.kind).map(|unit| entry.count.saturating_mul(unit as u64));
    entries(bytes).any(|entry| {
        STRUCTURE.contains(&entry.tag) && size(&entry).is_some_and(|size| size > bytes.len() as u64)
    })
}

/// Whether the colours are multiplied by the transparency.
pub(super) fn is_premultiplied(bytes: &[u8]) -> bool {
    let mut extra = entries(bytes).filter(|entry| entry.tag == EXTRA_SAMPLES);
    extra.next().is_some_and(|entry| entry.first == 1)
}

struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// The first value, if it is a short one.
    first: u64,
}

/// The entries of the first directory, as far as they are there.
fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let number = |at: u64, length: u64| {
        let at = usize::try_from(at).ok()?;
        let digits = bytes.get(at..at.checked_add(length as usize)?)?.iter();
        let add = |sum: u64, digit: &u8| sum << 8 | u64::from(*digit);
        Some(match bytes.starts_with(b"MM") {
            true => digits.fold(0, add),
            false => digits.rev().fold(0, add),
        })
    };
    // Lengths of an offset or count, of the number of entries, and of an entry.
    let [word, head, length] = match is_big(bytes) {
        true => [8, 8, 20],
        false => [4, 2, 12],
    };
    let start = number(word, word).unwrap_or(u64::MAX);
    let count = number(start, head).unwrap_or(0);
    (0..count).map_while(move |index| {
        let at = start
            .checked_add(head)?
            .checked_add(index.checked_mul(length)?)?;
        Some(Entry {
            tag: number(at, 2)? as u16,
            kind: number(at + 2, 2)? as u16,
            count: number(at + 4, word)?,
            first: number(at + 4 + word, 2)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one entry: `count` shorts under a tag, the first of which is 1.
    fn with_entry(order: &[u8; 2], big: bool, tag: u16, count: u32) -> Vec<u8> {
        let is_little = order == b"II";
        let number = |value: u64, length: usize| match is_little {
            true => value.to_le_bytes()[..length].to_vec(),
            false => value.to_be_bytes()[8 - length..].to_vec(),
        };
        let count = u64::from(count);
        let tag = number(tag.into(), 2);
        let entry = match big {
            true => [
                tag,
                number(3, 2),
                number(count, 8),
                number(1, 2),
                vec![0; 6],
            ],
            false => [
                tag,
                number(3, 2),
                number(count, 4),
                number(1, 2),
                vec![0; 2],
            ],
        };
        let head = match big {
            true => [
                number(43, 2),
                number(8, 2),
                number(0, 2),
                number(16, 8),
                number(1, 8),
            ],
            false => [number(42, 2), number(8, 4), number(1, 2), vec![], vec![]],
        };
        [order.to_vec(), head.concat(), entry.concat()].concat()
    }

    #[test]
    fn entries_are_found_in_all_four_kinds_of_files() {
        for order in [b"II", b"MM"] {
            for big in [false, true] {
                let file = |tag, count| with_entry(order, big, tag, count);
                assert!(is_premultiplied(&file(EXTRA_SAMPLES, 1)));
                assert!(!is_premultiplied(&file(277, 1)));
                assert!(claims_too_much(&file(273, 1000)));
                assert!(!claims_too_much(&file(273, 2)));
                // A description is not read.
                assert!(!claims_too_much(&file(270, 1000)));
                let whole = file(273, 1000);
                for length in 0..whole.len() {
                    claims_too_much(&whole[..length]);
                }
            }
        }
    }
}
