//! Data sets of images as Hugging Face gives them out (<https://huggingface.co/docs/hub/datasets>):
//! Parquet files with a column of images and one of classes.

mod columns;
mod files;
mod table;

use std::path::{Path, PathBuf};

use self::files::{of_split, parquet_files};
use self::table::{Row, Table};
use super::part::{Part, PartReport, Split};
use super::{PrepareError, Prepared};

/// What the images to validate on are called, unless it is said.
const VAL: [&str; 3] = ["validation", "val", "valid"];

/// Where the images of a data set are, and what things are called in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParquetSet<'a> {
    /// Parquet files, and folders that have such files in them or below.
    pub paths: &'a [PathBuf],
    /// What the names of files, or of the folders that they are in, say of the images to train on:
    /// `train` if nothing is given, as in `train-00000-of-00004.parquet`.
    pub train: Option<&'a str>,
    /// The same of the images to validate on: `validation`, `val` or `valid` if nothing is given.
    pub val: Option<&'a str>,
    /// The column of images, if there are several.
    pub image: Option<&'a str>,
    /// The column of classes, if there are several.
    pub label: Option<&'a str>,
}

/// Makes an image folder of Parquet files: `root/train/<class>/…` and, if there are images to validate on,
/// `root/val/<class>/…`.
///
/// An image is the bytes of its file, alone or in a structure as `{bytes, path}`, and becomes a file with a
/// number for a name, in the order of the table. A class is a number, whose name is in the table's
/// `huggingface` metadata, or a text. `progress` is told the number of images of a part so far and in all.
///
/// # Errors
///
/// Files that cannot be read, are damaged, or have no such columns; columns that could be meant and are
/// several; rows without image or class; and what the system refuses.
pub fn parquet(
    set: ParquetSet<'_>,
    root: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Prepared, PrepareError> {
    let all = parquet_files(set.paths)?;
    let train = of_split(&all, &[set.train.unwrap_or("train")])?;
    let names = set.val.as_slice();
    let val = of_split(&all, if names.is_empty() { &VAL } else { names });
    let test = of_split(&all, &["test"]);
    let val = match (val, set.val, test) {
        (Err(_), None, Ok(_)) => {
            let message =
                "there is `test`, and nothing to validate on: give its name, such as --val test";
            return Err(PrepareError::archive(&set.paths[0], message));
        }
        (Err(_), None, Err(_)) => None,
        (val, ..) => Some(val?),
    };
    let mut parts = Vec::new();
    // The smaller one first: it shows soon what may be wrong.
    for (split, files) in [(Split::Val, val), (Split::Train, Some(train))] {
        if let Some(files) = files {
            parts.push(write(split, &files, &set, root, progress)?);
        }
    }
    Ok(Prepared { parts })
}

fn write(
    split: Split,
    files: &[PathBuf],
    set: &ParquetSet<'_>,
    root: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<PartReport, PrepareError> {
    let Some(mut part) = Part::begin(root, split)? else {
        return Ok(PartReport::left(split, None));
    };
    let tables = files.iter().map(|path| Table::open(path, set));
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    let total = tables.iter().map(Table::rows).sum();
    let mut number = 0;
    for table in &tables {
        table.for_each(&mut |Row { class, image }| {
            let name = format!("{number:08}.{}", ending(&image));
            part.add(&class, &name, &image)
                .map_err(|error| error.of_entry(table.path(), &format!("{class}/{name}")))?;
            number += 1;
            progress(number, total);
            Ok(())
        })?;
    }
    match number {
        0 => Err(PrepareError::Missing {
            path: files[0].clone(),
            missing: "no images: fetch it again",
        }),
        _ => part.finish(None),
    }
}

/// The usual ending of a file with this content. Whoever reads what is no image will say so.
fn ending(image: &[u8]) -> &'static str {
    let format = image::guess_format(image).ok();
    let endings = format.map_or(&["jpg"][..], |format| format.extensions_str());
    endings.first().unwrap_or(&"jpg")
}
