use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::index::Lister;
use crate::list::{ImageList, Scan, TRAIN, part_name, scan_classes};
use crate::listing::FilesBy;
use crate::{Purpose, random_stream};

/// How a folder without `train` and `val` is split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Share of every class that goes to validation, between 0 and 1 (exclusive). At least one
    /// image of each class goes to either side.
    pub val_fraction: f64,
    /// Seed of the split. The same seed and files give the same split on any machine.
    pub seed: u64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            val_fraction: 0.2,
            seed: 0,
        }
    }
}

/// How folders are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListConfig {
    /// Which files count.
    pub files: FilesBy,
    /// A file to remember in what the folders hold, so that next time only those that have changed
    /// are read. One that is damaged, or cannot be written, is warned of and does no harm.
    pub index: Option<PathBuf>,
}

impl ListConfig {
    fn lister(&self) -> Lister {
        match &self.index {
            Some(index) => Lister::with_cache(self.files, index),
            None => Lister::new(self.files),
        }
    }
}

/// Index of an image folder: classes, training images and validation images.
///
/// Two layouts are understood: `root/train/<class>/…` with `root/val/<class>/…` (or
/// `validation`, `valid`; capitals do not matter), and `root/<class>/…`, which is split. Sub-folders
/// of a class belong to it. Links are followed, but no folder is listed twice. Names that start with
/// a dot are left out, and only files with the extension of a supported format count. Files are not
/// opened, unless a [`ListConfig`] counts them by their content.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    /// Class names, sorted. A class is known by its place here.
    pub classes: Vec<String>,
    /// Images to train on.
    pub train: ImageList,
    /// Images to validate on.
    pub val: ImageList,
}

impl ImageFolder {
    /// Indexes `root`; `split` is used if it holds class folders rather than `train` and `val`.
    ///
    /// # Errors
    ///
    /// A missing folder, a file in its place, no classes, no images, an empty class, more than
    /// 100,000 folders, `train` and `val` with different classes, `test` in the place of either, a class of one image that would have to be split, and an
    /// impossible `val_fraction`.
    pub fn open(root: impl AsRef<Path>, split: &SplitConfig) -> Result<Self, DataError> {
        Self::open_with(root, split, &ListConfig::default())
    }

    /// Indexes `root` like [`open`](Self::open), with other files or a memory.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_with(
        root: impl AsRef<Path>,
        split: &SplitConfig,
        list: &ListConfig,
    ) -> Result<Self, DataError> {
        let mut lister = list.lister();
        let folder = Self::index(&mut lister, root.as_ref(), split)?;
        lister.save();
        Ok(folder)
    }

    fn index(lister: &mut Lister, root: &Path, split: &SplitConfig) -> Result<Self, DataError> {
        let top = lister.list(root)?.into_classes();
        if let Some(train) = part_name(root, &top, &TRAIN)? {
            let folder = root.join(train);
            if let Some(val) = part_name(root, &top, &VAL)? {
                return Self::from_pair(lister, &folder, &root.join(val));
            }
            // Without sub-folders, `train` is a class like any other: the railway kind.
            if has_folders(lister, &folder)? {
                return Err(DataError::MissingVal {
                    train: train.into(),
                    path: root.into(),
                });
            }
        }
        let mut parts = Vec::new();
        for name in top.iter().filter(|&name| is_part(name)) {
            if has_folders(lister, &root.join(name))? {
                parts.push(name.clone());
            }
        }
        if parts.len() > 1 {
            return Err(DataError::PartsAsClasses {
                path: root.into(),
                parts,
            });
        }
        Self::from_split(lister, root, top, split)
    }

    /// Indexes a folder to evaluate a model on: `root/val/<class>/…` (or `validation`) if there
    /// is one, `root/<class>/…` otherwise.
    ///
    /// Classes are numbered as in `classes`, the model's class names; the folder may lack some.
    ///
    /// # Errors
    ///
    /// A missing folder, a file in its place, no classes, no images, an empty class folder, and
    /// class folders that are not in `classes`.
    pub fn open_eval(
        root: impl AsRef<Path>,
        classes: &[String],
        files: FilesBy,
    ) -> Result<ImageList, DataError> {
        let mut root = root.as_ref().to_path_buf();
        let lister = &mut Lister::new(files);
        let mut found = lister.list(&root)?.into_classes();
        // A model may know a class of this name.
        let others = found.iter().filter(|name| !classes.contains(name));
        let others: Vec<_> = others.cloned().collect();
        if let Some(val) = part_name(&root, &others, &VAL)? {
            root.push(val);
            found = lister.list(&root)?.into_classes();
        }
        let unknown: Vec<_> = (found.iter().filter(|name| !classes.contains(name)))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            return Err(DataError::UnknownClasses {
                path: root,
                unknown,
                known: classes.to_vec(),
            });
        }
        let Scan {
            mut files,
            left_out,
        } = scan_classes(lister, &root, &found)?;
        let mut list = ImageList::new(&root, left_out);
        for class in classes {
            let files = match found.binary_search(class) {
                Ok(place) => std::mem::take(&mut files[place]),
                Err(_) => Vec::new(),
            };
            list.push_class(class, files);
        }
        Ok(list)
    }

    fn from_pair(lister: &mut Lister, train: &Path, val: &Path) -> Result<Self, DataError> {
        let classes = lister.list(train)?.into_classes();
        let val_classes = lister.list(val)?.into_classes();
        if classes != val_classes {
            let missing = |from: &[String], among: &[String]| {
                let missing = from.iter().filter(|name| !among.contains(name));
                missing.cloned().collect()
            };
            return Err(DataError::ClassMismatch {
                only_train: missing(&classes, &val_classes),
                only_val: missing(&val_classes, &classes),
            });
        }
        Ok(Self {
            train: ImageList::of_classes(lister, train, &classes)?,
            val: ImageList::of_classes(lister, val, &classes)?,
            classes,
        })
    }

    fn from_split(
        lister: &mut Lister,
        root: &Path,
        classes: Vec<String>,
        split: &SplitConfig,
    ) -> Result<Self, DataError> {
        if !(split.val_fraction > 0.0 && split.val_fraction < 1.0) {
            return Err(DataError::Setting {
                field: "val_fraction",
                value: split.val_fraction.to_string(),
                expected: "between 0 and 1, both excluded",
            });
        }
        let Scan { files, left_out } = scan_classes(lister, root, &classes)?;
        let mut train = ImageList::new(root, left_out.clone());
        let mut val = ImageList::new(root, left_out);
        for (number, (class, mut files)) in classes.iter().zip(files).enumerate() {
            if files.len() < 2 {
                return Err(DataError::SplitTooSmall {
                    class: class.clone(),
                });
            }
            let wanted = (files.len() as f64 * split.val_fraction).round() as usize;
            let wanted = wanted.clamp(1, files.len() - 1);
            files.shuffle(&mut random_stream(
                split.seed,
                Purpose::Split,
                number as u64,
                0,
            ));
            let mut held_out = files.split_off(files.len() - wanted);
            files.sort_unstable();
            held_out.sort_unstable();
            train.push_class(class, files);
            val.push_class(class, held_out);
        }
        Ok(Self {
            classes,
            train,
            val,
        })
    }
}

/// Names of the folder to validate on.
const VAL: [&str; 3] = ["val", "validation", "valid"];

/// Words of which the names of a data set's parts are made, such as `train2017` and `val_images`.
const PARTS: [&str; 16] = [
    "train",
    "training",
    "trainset",
    "trainval",
    "val",
    "valid",
    "validation",
    "valset",
    "test",
    "testing",
    "testset",
    "dev",
    "devset",
    "eval",
    "evaluation",
    "holdout",
];

/// Whether a class of this name is more likely a part of a data set.
fn is_part(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|letter: char| !letter.is_alphabetic());
    words.any(|word| PARTS.contains(&word))
}

fn has_folders(lister: &mut Lister, folder: &Path) -> Result<bool, DataError> {
    Ok(!lister.list(folder)?.into_classes().is_empty())
}
