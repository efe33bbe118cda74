//! Files that are whole or not there.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Writes a file so that at any moment either the old or the new content is there.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, |temporary| {
        let mut file = File::create(temporary)?;
        file.write_all(content)?;
        file.sync_all()
    })
}

/// Copies a file so that at any moment either the old or the new content is there.
///
/// Not as a link: whoever writes to one of two links writes to both.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    replace(to, |temporary| {
        fs::copy(from, temporary)?;
        File::open(temporary)?.sync_all()
    })
}

/// Lets `fill` write a temporary file beside `path` and puts it in its place.
fn replace(path: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let temporary = beside(path);
    let written = fill(&temporary).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What failed already is worth more to the reader than a leftover.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_files_replace_the_old_ones_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_is_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, b"one").unwrap();
        fs::write(&to, b"old").unwrap();
        copy(&from, &to).unwrap();
        fs::write(&from, b"two").unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"one");
        assert!(copy(&folder.path().join("missing"), &to).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
