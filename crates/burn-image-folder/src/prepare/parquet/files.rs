//! Which files are of which part of a data set.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::PrepareError;

/// Folders in folders.
const DEEPEST: usize = 6;

/// The Parquet files that paths stand for: files, and folders with such files in them or below, sorted.
pub(super) fn parquet_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, PrepareError> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        walk(path, 0, &mut files)?;
        if files.len() == before {
            return Err(PrepareError::Missing {
                path: path.clone(),
                missing: "no files that end in .parquet",
            });
        }
        files[before..].sort();
    }
    match files.is_empty() {
        true => Err(PrepareError::Nothing),
        false => Ok(files),
    }
}

fn walk(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), PrepareError> {
    let failed = |reason| PrepareError::archive(path, reason);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_table = path.extension().is_some_and(|ending| ending == "parquet");
        if !is_hidden && (is_table || (path.is_dir() && depth < DEEPEST)) {
            walk(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

/// The files of one part, by any of its names.
pub(super) fn of_split(files: &[PathBuf], names: &[&str]) -> Result<Vec<PathBuf>, PrepareError> {
    let own = files.iter().filter(|path| {
        let name = words(path.file_stem());
        let folder = words(path.parent().and_then(Path::file_name));
        name.chain(folder)
            .any(|word| names.iter().any(|name| *name == word))
    });
    let own: Vec<_> = own.cloned().collect();
    match own.is_empty() {
        false => Ok(own),
        true => Err(PrepareError::archive(
            files[0].parent().unwrap_or(&files[0]),
            format!(
                "no file there, nor the folder of one, has `{}` in its name",
                names[0]
            ),
        )),
    }
}

/// The words that a name is made of, in small letters.
fn words(name: Option<&std::ffi::OsStr>) -> impl Iterator<Item = String> {
    let name = name.unwrap_or_default().to_string_lossy().to_lowercase();
    let words: Vec<_> = name
        .split(|letter: char| !letter.is_alphanumeric())
        .map(String::from)
        .collect();
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_of_the_part_that_it_or_its_folder_is_named_after() {
        let files = [
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "default/validation/0000.parquet",
            "cifar10-test.parquet",
            "trainer.parquet",
        ];
        let files = files.map(PathBuf::from);
        let of = |name: &str| of_split(&files, &[name]).map(|own| own.len());
        assert_eq!(of("train").unwrap(), 2);
        assert_eq!(of("validation").unwrap(), 1);
        assert_eq!(of("test").unwrap(), 1);
        let error = of("dev").unwrap_err().to_string();
        assert!(error.contains("`dev`"), "{error}");
    }
}
