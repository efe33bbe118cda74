//! Files that are whole or not there.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Writes a file so that at any moment either the old or the new content is there.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // What failed already is worth more to the reader than a leftover.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes `to` the same file as `from`, or a copy where the file system has no links.
///
/// Only for files that are replaced and never written to, such as weights.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    let temporary = beside(to);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if fs::hard_link(from, &temporary).is_err() {
        fs::copy(from, &temporary)?;
        File::open(&temporary)?.sync_all()?;
    }
    // Renaming one link of a file to another of its links does nothing and leaves both.
    fs::rename(&temporary, to)?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
    fn a_link_outlives_the_file_and_can_be_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&from, b"one").unwrap();
        fs::write(&to, b"old").unwrap();
        link(&from, &to).unwrap();
        link(&from, &to).unwrap();
        fs::remove_file(&from).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
