//! Where seeds are, and where targets may write.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

/// A file or folder of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A folder of this process. The system's variable for temporary files says where.
pub(crate) fn scratch() -> &'static Path {
    static SCRATCH: LazyLock<TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("a folder for temporary files can be made"));
    SCRATCH.path()
}

/// The contents of those files of a folder of the repository that are `wanted` by their name, in
/// the order of the names.
pub(crate) fn contents(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(repository(folder)).expect("the folder is in the repository");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(&wanted)
        })
        .collect();
    files.sort();
    let contents = files.into_iter().map(fs::read);
    contents
        .map(|content| content.expect("the file can be read"))
        .collect()
}
