use std::fs;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::listing::{Lister, listing_error};
use super::{DataError, Purpose, random_stream};

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

/// Index of an image folder: classes, training images and validation images.
///
/// Two layouts are understood: `root/train/<class>/…` with `root/val/<class>/…` (or
/// `validation`), and `root/<class>/…`, which is split. Sub-folders of a class belong to it,
/// links are followed, names that start with a dot are left out, and only files with the
/// extension of a supported format count. Files are not opened.
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
    /// A missing folder, a file in its place, no classes, no images, an empty class, `train` and
    /// `val` with different classes, a class of one image that would have to be split, and an
    /// impossible `val_fraction`.
    pub fn open(root: impl AsRef<Path>, split: &SplitConfig) -> Result<Self, DataError> {
        Self::open_with(&mut Lister::default(), root.as_ref(), split)
    }

    /// Indexes `root` like [`open`](Self::open), and remembers in the file `cache` what its folders
    /// hold: next time only those that have changed are read.
    ///
    /// A cache that is damaged, or cannot be written, is warned of and does no harm.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_cached(
        root: impl AsRef<Path>,
        split: &SplitConfig,
        cache: impl AsRef<Path>,
    ) -> Result<Self, DataError> {
        let mut lister = Lister::with_cache(cache.as_ref());
        let folder = Self::open_with(&mut lister, root.as_ref(), split)?;
        lister.save();
        Ok(folder)
    }

    fn open_with(lister: &mut Lister, root: &Path, split: &SplitConfig) -> Result<Self, DataError> {
        let top = lister.list(root)?.folders;
        let train = root.join("train");
        if top.iter().any(|name| name == "train") {
            if let Some(val) = validation_name(&top) {
                return Self::from_pair(lister, &train, &root.join(val));
            }
            // Without sub-folders, `train` is a class like any other: the railway kind.
            if !lister.list(&train)?.folders.is_empty() {
                return Err(DataError::MissingVal { path: root.into() });
            }
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
    pub fn open_eval(root: impl AsRef<Path>, classes: &[String]) -> Result<ImageList, DataError> {
        let mut root = root.as_ref().to_path_buf();
        let lister = &mut Lister::default();
        let mut found = lister.list(&root)?.folders;
        // A model may know a class of this name.
        let val = validation_name(&found).filter(|&val| !classes.iter().any(|c| c == val));
        if let Some(val) = val {
            root.push(val);
            found = lister.list(&root)?.folders;
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
        let mut files = scan_classes(lister, &root, &found)?;
        let mut list = ImageList::new(&root);
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
        let classes = lister.list(train)?.folders;
        let val_classes = lister.list(val)?.folders;
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
        let (mut train, mut val) = (ImageList::new(root), ImageList::new(root));
        let scanned = scan_classes(lister, root, &classes)?;
        for (number, (class, mut files)) in classes.iter().zip(scanned).enumerate() {
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

/// A list of labelled image files, grouped by class and sorted by name within one.
///
/// Made for millions of files: their names lie in one string, and the class of a file follows
/// from its position, so a file costs its name and one offset.
#[derive(Clone, Debug)]
pub struct ImageList {
    root: PathBuf,
    classes: Vec<String>,
    /// Per class, the number of files in it and the classes before.
    class_ends: Vec<usize>,
    /// All file names, relative to their class folder, one after the other.
    names: String,
    /// Per file, where its name ends in `names`.
    name_ends: Vec<usize>,
}

impl ImageList {
    /// All images of `root/train/<class>/…` if there is such a folder, of `root/<class>/…`
    /// otherwise.
    ///
    /// # Errors
    ///
    /// A missing folder, a file in its place, no classes, no images, and an empty class.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DataError> {
        let mut root = root.as_ref().to_path_buf();
        let lister = &mut Lister::default();
        let mut classes = lister.list(&root)?.folders;
        if classes.iter().any(|name| name == "train") {
            root.push("train");
            classes = lister.list(&root)?.folders;
        }
        Self::of_classes(lister, &root, &classes)
    }

    fn of_classes(lister: &mut Lister, root: &Path, classes: &[String]) -> Result<Self, DataError> {
        let mut list = Self::new(root);
        for (class, files) in classes.iter().zip(scan_classes(lister, root, classes)?) {
            list.push_class(class, files);
        }
        Ok(list)
    }

    fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            classes: Vec::new(),
            class_ends: Vec::new(),
            names: String::new(),
            name_ends: Vec::new(),
        }
    }

    fn push_class(&mut self, class: &str, files: Vec<String>) {
        self.names.reserve(files.iter().map(String::len).sum());
        for file in files {
            self.names.push_str(&file);
            self.name_ends.push(self.names.len());
        }
        self.classes.push(class.to_string());
        self.class_ends.push(self.name_ends.len());
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.name_ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.name_ends.is_empty()
    }

    /// Class of image `index`, as a place among the class names.
    ///
    /// # Panics
    ///
    /// Panics if `index >= len()`.
    pub fn class(&self, index: usize) -> usize {
        assert!(
            index < self.len(),
            "image {index} of a list of {}",
            self.len()
        );
        self.class_ends.partition_point(|&end| end <= index)
    }

    /// File of image `index`.
    ///
    /// # Panics
    ///
    /// Panics if `index >= len()`.
    pub fn path(&self, index: usize) -> PathBuf {
        let class = &self.classes[self.class(index)];
        let start = index.checked_sub(1).map_or(0, |i| self.name_ends[i]);
        let name = &self.names[start..self.name_ends[index]];
        self.root.join(class).join(name)
    }

    /// Number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut start = 0;
        let ends = self.class_ends.iter();
        ends.map(|&end| end - std::mem::replace(&mut start, end))
            .collect()
    }
}

/// The image files that `path` stands for: itself if it is a file, whatever its extension; those
/// in it and below, sorted, if it is a folder.
///
/// # Errors
///
/// A path that does not exist, and a folder without images.
pub fn list_images(path: impl AsRef<Path>) -> Result<Vec<PathBuf>, DataError> {
    let path = path.as_ref();
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Ok(vec![path.to_path_buf()]),
        Err(source) => return Err(listing_error(path, source)),
    }
    let files = scan(&mut Lister::default(), path)?;
    if files.is_empty() {
        return Err(DataError::NoImages { path: path.into() });
    }
    Ok(files.into_iter().map(|name| path.join(name)).collect())
}

fn validation_name(names: &[String]) -> Option<&'static str> {
    ["val", "validation"]
        .into_iter()
        .find(|val| names.iter().any(|name| name == val))
}

/// The images of each class, sorted by name.
fn scan_classes(
    lister: &mut Lister,
    root: &Path,
    classes: &[String],
) -> Result<Vec<Vec<String>>, DataError> {
    if classes.is_empty() {
        return Err(DataError::NoClasses { path: root.into() });
    }
    let files = classes.iter().map(|class| scan(lister, &root.join(class)));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    if files.iter().all(Vec::is_empty) {
        return Err(DataError::NoImagesInClasses {
            path: root.into(),
            classes: classes.len(),
        });
    }
    if let Some(empty) = files.iter().position(Vec::is_empty) {
        return Err(DataError::EmptyClass {
            class: classes[empty].clone(),
            path: root.join(&classes[empty]),
        });
    }
    Ok(files)
}

/// Images in `root` and below as paths relative to it, sorted.
fn scan(lister: &mut Lister, root: &Path) -> Result<Vec<String>, DataError> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let relative = |name: String| match folder.as_str() {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        let listing = lister.list(&root.join(&folder))?;
        files.extend(listing.images.into_iter().map(relative));
        folders.extend(listing.folders.into_iter().map(relative));
    }
    files.sort_unstable();
    Ok(files)
}
