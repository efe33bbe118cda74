//! What the chunks of a WebP file say beside the pixels.

/// The content of the first chunk of a kind, if the file has all of it.
///
/// The `image` crate takes as much memory as the chunk claims to need, up to four gigabytes.
pub(super) fn chunk<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = bytes.get(12..)?;
    // Files of the simple format have a picture and nothing else.
    if !rest.starts_with(b"VP8X") {
        return None;
    }
    loop {
        let (name, tail) = rest.split_first_chunk::<4>()?;
        let (length, tail) = tail.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (data, tail) = tail.split_at_checked(length)?;
        if name == kind {
            return Some(data);
        }
        // Chunks begin at even places.
        rest = tail.get(length % 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_found_if_they_are_whole() {
        let file = b"RIFF----WEBPVP8X\x03\0\0\0abc-EXIF\x02\0\0\0deXMP \xff\xff\xff\xfff";
        assert_eq!(chunk(file, b"EXIF"), Some(&b"de"[..]));
        assert_eq!(chunk(file, b"XMP "), None);
        assert_eq!(chunk(file, b"ICCP"), None);
        assert_eq!(chunk(&file[..30], b"EXIF"), None);
        assert_eq!(
            chunk(b"RIFF----WEBPVP8 \0\0\0\0EXIF\0\0\0\0", b"EXIF"),
            None
        );
    }
}
