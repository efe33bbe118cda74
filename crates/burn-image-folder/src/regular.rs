//! Files that end.

use std::fs::{self, File};
use std::io::{self, Error};
use std::path::Path;

/// Opens a file to read it, but no pipe, socket or device, which may wait for ever or never end.
///
/// # Errors
///
/// What the system refuses, and whatever is no regular file.
pub fn open_file(path: impl AsRef<Path>) -> io::Result<File> {
    let kind = fs::metadata(path.as_ref())?;
    // Of folders the system says so.
    match kind.is_file() || kind.is_dir() {
        true => File::open(path),
        false => Err(Error::other("it is no regular file")),
    }
}
