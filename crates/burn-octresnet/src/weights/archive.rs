//! Whether a PyTorch file may be given to its reader.
//!
//! The reader bounds a pickle to 100 MiB and a tensor to 10 GiB, whatever the size of the file. Here
//! both are bounded in proportion to it.

use std::{
    fs::File,
    io::{BufReader, Cursor, Read, Seek},
    path::Path,
};

use zip::ZipArchive;

use super::{
    LARGEST_EXPANSION,
    pickle::{Budget, walk},
    tables,
};

/// Pickles at the beginning of a file that is no archive: magic number, version, system, the saved
/// object, and the order of its storages.
const PICKLES: usize = 5;

/// The four entries that a tar archive consists of.
const TAR_ENTRIES: [&str; 4] = ["sys_info", "storages", "tensors", "pickle"];

/// Refuses a file that would unfold in memory.
///
/// # Errors
///
/// A message about the file.
pub(super) fn inspect(path: &Path) -> Result<(), String> {
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let size = file.get_ref().metadata();
    let size = size.map_err(|error| error.to_string())?.len();
    let mut budget = Budget::of_file(size);
    let mut start = Vec::new();
    let read = file.by_ref().take(512).read_to_end(&mut start);
    read.and_then(|_| file.rewind())
        .map_err(|error| error.to_string())?;
    if start.starts_with(b"PK") {
        inspect_zip(file, size, &mut budget)
    } else if start.get(257..262) == Some(b"ustar") {
        inspect_tar(file, size, &mut budget)
    } else {
        (0..PICKLES).try_for_each(|_| walk(&mut file, &mut budget))
    }
}

/// PyTorch stores the entries as they are, so that all of them are no more than the file.
fn inspect_zip(file: BufReader<File>, size: u64, budget: &mut Budget) -> Result<(), String> {
    let message = |error: zip::result::ZipError| format!("zip: {error}");
    let mut archive = ZipArchive::new(file).map_err(message)?;
    if archive.has_duplicate_names() {
        return Err("two entries of the archive have the same name".into());
    }
    let mut pickles = Vec::new();
    let mut unpacked = 0u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(message)?;
        unpacked = unpacked.saturating_add(entry.size());
        if entry.name().map_err(message)?.ends_with("data.pkl") {
            pickles.push(index);
        }
    }
    if unpacked > size.saturating_mul(LARGEST_EXPANSION) {
        return Err(format!(
            "its entries unpack to {unpacked} bytes, more than {LARGEST_EXPANSION} times the {size} of the file"
        ));
    }
    for index in pickles {
        let entry = archive.by_index(index).map_err(message)?;
        // No further than it says: what lies is refused by the reader.
        let length = entry.size();
        walk(&mut BufReader::new(entry.take(length)), budget)?;
    }
    Ok(())
}

/// A sparse entry may be any size, of nothing.
fn inspect_tar(file: BufReader<File>, size: u64, budget: &mut Budget) -> Result<(), String> {
    let message = |error: std::io::Error| format!("tar: {error}");
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries().map_err(message)? {
        let entry = entry.map_err(message)?;
        let name = entry.path().map_err(message)?;
        let name = name.to_string_lossy().trim_start_matches("./").to_string();
        if !TAR_ENTRIES.contains(&name.as_str()) {
            continue;
        }
        if entry.size() > size {
            return Err(format!(
                "its entry `{name}` says that it is larger than the file"
            ));
        }
        let mut content = Vec::new();
        (entry.take(size).read_to_end(&mut content)).map_err(message)?;
        match name.as_str() {
            "storages" => tables::storages(&content, budget)?,
            "tensors" => tables::tensors(&content)?,
            _ => walk(&mut Cursor::new(content), budget)?,
        }
    }
    Ok(())
}
