//! Archives from front to back, whatever is in them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, EntryType};

use super::PrepareError;

/// First bytes of a file in gzip's format.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A regular file in an archive.
pub(super) struct Entry<'a> {
    /// Its path, without `./` in front.
    pub name: &'a str,
    /// Its length in bytes, as the archive says.
    pub size: u64,
    /// Its content.
    pub content: &'a mut dyn Read,
}

impl Entry<'_> {
    /// The last part of the name.
    pub fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }

    /// All of the content, of an entry of `limit` bytes at most. `archive` is for messages.
    pub fn read(&mut self, archive: &Path, limit: u64) -> Result<Vec<u8>, PrepareError> {
        if self.size > limit {
            let reason = format!("of {} bytes, at most {limit} are read", self.size);
            return Err(PrepareError::entry(archive, self.name, reason));
        }
        let mut content = Vec::new();
        // What the archive says of the size is believed as far as there is something behind it.
        let read = self.content.take(limit).read_to_end(&mut content);
        read.map_err(|reason| PrepareError::archive(archive, reason))?;
        match content.len() as u64 == self.size {
            true => Ok(content),
            false => Err(cut(archive, self.name)),
        }
    }
}

/// Opens an archive, also one that gzip has packed, of which `limit` bytes are read at most: packed,
/// a few megabytes may be any number of them.
pub(super) fn open(path: &Path, limit: u64) -> Result<Box<dyn Read>, PrepareError> {
    let failed = |reason| PrepareError::archive(path, reason);
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    // Not by seeking back: it may be a pipe.
    let packed = file.fill_buf().map_err(failed)?.starts_with(&GZIP);
    Ok(match packed {
        true => Box::new(Bounded {
            inner: MultiGzDecoder::new(file),
            left: limit,
        }),
        false => Box::new(file),
    })
}

/// Shows `visit` every regular file of an archive, in order. `path` is for messages.
///
/// Names are taken from the headers alone: extensions for longer ones could claim any length, and no
/// archive that is read here has them. Folders, and files whose names start with a dot, are passed
/// over, since systems add such.
///
/// # Errors
///
/// Those of `visit`, a damaged or cut archive, and entries that are neither files nor folders or lead
/// out of the archive.
pub(super) fn for_each_file(
    path: &Path,
    reader: impl Read,
    visit: &mut dyn FnMut(Entry) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    let failed = |reason: io::Error| PrepareError::archive(path, reason);
    let mut archive = Archive::new(reader);
    for entry in archive.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::Directory | EntryType::XHeader | EntryType::XGlobalHeader => continue,
            other => return Err(PrepareError::entry(path, &name, kind(other))),
        }
        let name = inner_path(&name).map_err(|reason| PrepareError::entry(path, &name, reason))?;
        if name
            .rsplit('/')
            .next()
            .is_none_or(|last| last.starts_with('.'))
        {
            continue;
        }
        let size = entry.size();
        let mut content = Counted {
            inner: &mut entry,
            read: 0,
        };
        visit(Entry {
            name: &name,
            size,
            content: &mut content,
        })?;
        io::copy(&mut content, &mut io::sink()).map_err(failed)?;
        if content.read != size {
            return Err(cut(path, &name));
        }
    }
    Ok(())
}

/// The error about an archive that ends within an entry.
fn cut(path: &Path, entry: &str) -> PrepareError {
    PrepareError::archive(
        path,
        format!("it is cut off within `{entry}`: fetch it again"),
    )
}

/// A path in an archive that stays in it, with `/` between its parts.
fn inner_path(name: &str) -> Result<String, &'static str> {
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::CurDir => {}
            _ => return Err("a path that leads out of it"),
        }
    }
    // Where `\` and `:` part names, they are refused where a name is written.
    Ok(parts.join("/"))
}

fn kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink | EntryType::Link => "a link",
        EntryType::GNULongName | EntryType::GNULongLink => {
            "a name longer than any of this data set"
        }
        EntryType::GNUSparse => "a sparse file",
        _ => "neither a file nor a folder",
    }
}

/// Whether a name is that of a file or class and of nothing else: no path, nothing hidden.
pub(super) fn is_plain(name: &str) -> bool {
    let foreign = |letter: char| letter.is_control() || "/\\:*?\"<>|".contains(letter);
    (1..=200).contains(&name.len()) && !name.starts_with('.') && !name.contains(foreign)
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.read += count as u64;
        Ok(count)
    }
}

/// Fails where more than a limit is read.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.left = (self.left)
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than such an archive holds"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_archive() {
        assert_eq!(inner_path("./a//b.tar").unwrap(), "a/b.tar");
        for name in ["/etc/passwd", "../a", "a/../../b", "a/.."] {
            inner_path(name).unwrap_err();
        }
    }

    #[test]
    fn plain_names_are_no_paths() {
        for name in ["n01440764_1.JPEG", "maple tree", "größer"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            ".a",
            "a/b",
            "a\\b",
            "c:d",
            "a\nb",
            &"x".repeat(201),
        ] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn what_is_packed_is_bounded() {
        let mut all = Bounded {
            inner: io::repeat(0),
            left: 1000,
        };
        let error = io::copy(&mut all, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("unpacks to more"));
    }
}
