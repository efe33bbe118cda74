use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::WeightsError;

/// A file format that weights can be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What `torch.save` writes: an archive, or a pickle in old files.
    PyTorch,
    /// <https://github.com/huggingface/safetensors>
    Safetensors,
    /// Burn's own.
    Burnpack,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PyTorch => "PyTorch",
            Self::Safetensors => "safetensors",
            Self::Burnpack => "burnpack",
        })
    }
}

impl Format {
    /// Tells the format from the first bytes of a file.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Io`] or [`WeightsError::Format`].
    pub fn detect(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let mut start = Vec::new();
        let file = open(path).map_err(WeightsError::io("open", path))?;
        (file.take(512).read_to_end(&mut start)).map_err(WeightsError::io("read", path))?;
        Self::of(&start).ok_or_else(|| WeightsError::Format { path: path.into() })
    }

    fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"NRUB") {
            return Some(Self::Burnpack);
        }
        // The length of the header, then the header, which is JSON.
        if start.get(8) == Some(&b'{') {
            return Some(Self::Safetensors);
        }
        let zip = start.starts_with(b"PK\x03\x04");
        let tar = start.get(257..262) == Some(b"ustar");
        // A pickle of protocol 2 or later starts with the protocol.
        let pickle = matches!(start, [0x80, 2..=5, ..]);
        (zip || tar || pickle).then_some(Self::PyTorch)
    }
}

/// Opens a file, but no pipe or device, which may wait for ever.
fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?;
    match kind.is_file() || kind.is_dir() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let mut tar = vec![0; 300];
        tar[257..262].copy_from_slice(b"ustar");
        for (start, format) in [
            (&b"NRUB\x01\x00"[..], Some(Format::Burnpack)),
            (b"\x40\0\0\0\0\0\0\0{\"a\"", Some(Format::Safetensors)),
            (b"PK\x03\x04", Some(Format::PyTorch)),
            (
                b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
                Some(Format::PyTorch),
            ),
            (&tar, Some(Format::PyTorch)),
            (b"\x89PNG\r\n\x1a\n", None),
            (b"BURN", None),
            (b"", None),
        ] {
            assert_eq!(Format::of(start), format, "{start:?}");
        }
    }
}
