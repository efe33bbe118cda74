//! What the blocks of a GIF file say beside the pixels.

/// The colour of what the first frame leaves free, as Pillow sees it: the first of its palette, unless
/// the frame has a transparent one.
pub(super) fn background(bytes: &[u8]) -> Option<[u8; 3]> {
    let flags = *bytes.get(10)?;
    let mut palette = table(flags, bytes.get(13..)?)?;
    let mut rest = bytes.get(13 + palette.len()..)?;
    loop {
        match rest.split_first_chunk::<2>()? {
            ([0x21, label], blocks) => {
                // Flags of how to draw the next frame.
                if *label == 0xF9 && blocks.get(1)? & 1 == 1 {
                    return None;
                }
                rest = after_blocks(blocks)?;
            }
            ([0x2C, _], _) => {
                let local = table(*rest.get(9)?, rest.get(10..)?)?;
                if !local.is_empty() {
                    palette = local;
                }
                return palette.first_chunk().copied();
            }
            _ => return None,
        }
    }
}

/// The palette that flags announce, of which all is there.
fn table(flags: u8, bytes: &[u8]) -> Option<&[u8]> {
    match flags & 0x80 {
        0 => Some(&[]),
        _ => bytes.get(..3 << ((flags & 7) + 1)),
    }
}

/// What follows a sequence of blocks, each with its length before it.
fn after_blocks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = bytes.split_first()?;
        if length == 0 {
            return Some(rest);
        }
        bytes = rest.get(length.into()..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GIF89a\x09\0\x09\0\x80\0\0\x01\x02\x03\x04\x05\x06";
    const FRAME: &[u8] = b"\x2C\0\0\0\0\x01\0\x01\0";

    #[test]
    fn the_first_frame_says_what_is_free() {
        let file = |parts: &[&[u8]]| background(&parts.concat());
        let plain = &b"\0"[..];
        assert_eq!(file(&[HEAD, FRAME, plain]), Some([1, 2, 3]));
        let local = &b"\x80\x07\x08\x09\x0A\x0B\x0C"[..];
        assert_eq!(file(&[HEAD, FRAME, local]), Some([7, 8, 9]));
        let control = |flags: &'static [u8]| [&b"\x21\xF9\x04"[..], flags, &[0; 4]].concat();
        assert_eq!(
            file(&[HEAD, &control(b"\x04"), FRAME, plain]),
            Some([1, 2, 3])
        );
        assert_eq!(file(&[HEAD, &control(b"\x05"), FRAME, plain]), None);
        let whole = [HEAD, FRAME, local].concat();
        for length in 0..whole.len() {
            assert_eq!(background(&whole[..length]), None);
        }
    }
}
