//! The end of a BMP file.

/// Rows fill up to four bytes each. Some programs leave that away behind the last row, where no pixel
/// is lost: so many bytes are missing. None, if any of a pixel is.
pub(super) fn missing_padding(bytes: &[u8]) -> Option<usize> {
    let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into());
    let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let start = u64::from(long(10)?);
    // The header of OS/2 has shorter numbers, and no compression.
    let (width, height, bits, compression) = match long(14)? {
        12 => (short(18)?, short(20)?, short(24)?, 0),
        // Rows from top to bottom have a negative height.
        _ => (
            u64::from(long(18)?),
            u64::from(long(22)?.cast_signed().unsigned_abs()),
            short(28)?,
            long(30)?,
        ),
    };
    // Run lengths have no rows; 3 and 6 say which bits are which colour.
    if ![0, 3, 6].contains(&compression) {
        return None;
    }
    let row = (width * bits).div_ceil(8);
    let padding = row.next_multiple_of(4) - row;
    let end = (row + padding).checked_mul(height)?.checked_add(start)?;
    let missing = end.checked_sub(bytes.len() as u64)?;
    (missing <= padding).then_some(missing as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, 9 × 5 pixels, and as many bytes of them.
    fn file(bits: u16, height: i32, compression: u8, length: usize) -> Vec<u8> {
        let [low, high] = bits.to_le_bytes();
        let mut bytes = vec![0; 54 + length];
        (bytes[10], bytes[14], bytes[18]) = (54, 40, 9);
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        (bytes[28], bytes[29], bytes[30]) = (low, high, compression);
        bytes
    }

    #[test]
    fn only_what_fills_the_last_row_may_be_missing() {
        // 27 of 28 bytes, 9 of 12, 5 of 8, 2 of 4, 18 of 20 and 36 of 36 are pixels.
        for (bits, row, used) in [
            (24, 28, 27),
            (8, 12, 9),
            (4, 8, 5),
            (1, 4, 2),
            (16, 20, 18),
            (32, 36, 36),
        ] {
            for height in [5, -5] {
                for missing in 0..=row {
                    let bytes = file(bits, height, 0, 5 * row - missing);
                    let expected = (missing <= row - used).then_some(missing);
                    assert_eq!(
                        missing_padding(&bytes),
                        expected,
                        "{bits} bits, {missing} missing"
                    );
                }
            }
        }
        assert_eq!(missing_padding(&file(24, 5, 3, 139)), Some(1));
        assert_eq!(missing_padding(&file(8, 5, 1, 59)), None);
    }

    #[test]
    fn the_header_of_os2_and_none() {
        let mut bytes = vec![0; 26 + 5 * 28 - 1];
        (bytes[10], bytes[14], bytes[18], bytes[20], bytes[24]) = (26, 12, 9, 5, 24);
        assert_eq!(missing_padding(&bytes), Some(1));
        assert_eq!(missing_padding(&bytes[..20]), None);
        let huge = [b"BM".as_slice(), &[0xff; 60]].concat();
        assert_eq!(missing_padding(&huge), None);
    }
}
