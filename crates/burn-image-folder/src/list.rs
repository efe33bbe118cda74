use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{DataError, DecodeError, shown};
use crate::index::Lister;
use crate::listing::{FilesBy, listing_error};

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
    left_out: BTreeMap<String, usize>,
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
        let mut classes = lister.list(&root)?.into_classes();
        if let Some(train) = part_name(&root, &classes, &TRAIN)?.map(String::from) {
            root.push(train);
            classes = lister.list(&root)?.into_classes();
        }
        Self::of_classes(lister, &root, &classes)
    }

    pub(super) fn of_classes(
        lister: &mut Lister,
        root: &Path,
        classes: &[String],
    ) -> Result<Self, DataError> {
        let Scan { files, left_out } = scan_classes(lister, root, classes)?;
        let mut list = Self::new(root, left_out);
        for (class, files) in classes.iter().zip(files) {
            list.push_class(class, files);
        }
        Ok(list)
    }

    pub(super) fn new(root: &Path, left_out: BTreeMap<String, usize>) -> Self {
        Self {
            left_out,
            root: root.to_path_buf(),
            classes: Vec::new(),
            class_ends: Vec::new(),
            names: String::new(),
            name_ends: Vec::new(),
        }
    }

    pub(super) fn push_class(&mut self, class: &str, files: Vec<String>) {
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

    /// How many files in the class folders are left out, by their extension in small letters; those
    /// without one under the empty text. Both lists of a folder that is split have all of them.
    pub fn left_out(&self) -> &BTreeMap<String, usize> {
        &self.left_out
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
/// A path that does not exist or is a pipe or device, and a folder without images.
pub fn list_images(path: impl AsRef<Path>, by: FilesBy) -> Result<Vec<PathBuf>, DataError> {
    let path = path.as_ref();
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(meta) if !meta.is_file() => {
            return Err(DataError::Unreadable {
                path: path.into(),
                reason: DecodeError::NotAFile,
            });
        }
        Ok(_) => return Ok(vec![path.to_path_buf()]),
        Err(reason) => return Err(listing_error(path, reason)),
    }
    let mut walk = Walk::new(path);
    let lister = &mut Lister::new(by);
    walk.folders(lister, "", 0)?;
    let Scan { mut files, .. } = walk.finish(lister, 1)?;
    let files = files.remove(0);
    if files.is_empty() {
        return Err(DataError::NoImages { path: path.into() });
    }
    Ok(files.into_iter().map(|name| path.join(name)).collect())
}

/// Names of the folder to train on, the usual one first.
pub(super) const TRAIN: [&str; 2] = ["train", "training"];

/// The one of the folders that has one of `names`, whatever its capitals.
///
/// # Errors
///
/// [`DataError::SameParts`] if there are several.
pub(super) fn part_name<'a>(
    root: &Path,
    folders: &'a [String],
    names: &[&str],
) -> Result<Option<&'a str>, DataError> {
    let found = folders.iter();
    let mut found = found.filter(|folder| names.contains(&folder.to_lowercase().as_str()));
    let first = found.next();
    match (first, found.next()) {
        (Some(first), Some(second)) => Err(DataError::SameParts {
            path: root.into(),
            parts: vec![first.clone(), second.clone()],
        }),
        _ => Ok(first.map(String::as_str)),
    }
}

/// What is in class folders.
pub(super) struct Scan {
    /// The images of each class, as paths relative to its folder, sorted.
    pub files: Vec<Vec<String>>,
    /// How many other files there are, by extension.
    pub left_out: BTreeMap<String, usize>,
}

/// The images of each class.
pub(super) fn scan_classes(
    lister: &mut Lister,
    root: &Path,
    classes: &[String],
) -> Result<Scan, DataError> {
    if classes.is_empty() {
        return Err(DataError::NoClasses { path: root.into() });
    }
    let mut walk = Walk::new(root);
    for (number, class) in classes.iter().enumerate() {
        walk.folders(lister, class, number)?;
    }
    let scan = walk.finish(lister, classes.len())?;
    if scan.files.iter().all(Vec::is_empty) {
        return Err(DataError::NoImagesInClasses {
            path: root.into(),
            classes: classes.len(),
        });
    }
    if let Some(empty) = scan.files.iter().position(Vec::is_empty) {
        return Err(DataError::EmptyClass {
            class: classes[empty].clone(),
            path: root.join(&classes[empty]),
        });
    }
    Ok(scan)
}

/// A walk through class folders. Links are followed after all that is real, and only to folders
/// that were not met: its length depends on the files, not on how links cross.
struct Walk<'a> {
    root: &'a Path,
    /// Class, its number, and a link below it.
    links: VecDeque<(String, usize, String)>,
    files: Vec<(usize, String)>,
    left_out: BTreeMap<String, usize>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path) -> Self {
        Self {
            root,
            links: VecDeque::new(),
            files: Vec::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Walks all real folders of a class, of the root itself if its name is empty.
    fn folders(
        &mut self,
        lister: &mut Lister,
        class: &str,
        number: usize,
    ) -> Result<(), DataError> {
        self.from(lister, (class.into(), number, String::new()))
    }

    /// Walks the real folders from one of a class on.
    fn from(
        &mut self,
        lister: &mut Lister,
        (class, number, start): (String, usize, String),
    ) -> Result<(), DataError> {
        let top = match class.as_str() {
            "" => self.root.to_path_buf(),
            class => self.root.join(class),
        };
        let mut folders = vec![start];
        while let Some(folder) = folders.pop() {
            let relative = |name: String| match folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            let path = match folder.as_str() {
                "" => top.clone(),
                folder => top.join(folder),
            };
            if !lister.met.insert(&path) {
                log::warn!("`{}` was listed already: left out", shown(&path));
                continue;
            }
            let listing = lister.list(&path)?;
            let images = listing.images.into_iter().map(relative);
            self.files.extend(images.map(|image| (number, image)));
            folders.extend(listing.folders.into_iter().map(relative));
            let links = listing.links.into_iter().map(relative);
            self.links
                .extend(links.map(|link| (class.clone(), number, link)));
            for (extension, count) in listing.others {
                *self.left_out.entry(extension).or_default() += count;
            }
        }
        Ok(())
    }

    /// Follows the links, and sorts what was found.
    fn finish(mut self, lister: &mut Lister, classes: usize) -> Result<Scan, DataError> {
        while let Some(link) = self.links.pop_front() {
            self.from(lister, link)?;
        }
        let mut files = vec![Vec::new(); classes];
        for (class, file) in self.files {
            files[class].push(file);
        }
        files.iter_mut().for_each(|files| files.sort_unstable());
        if !self.left_out.is_empty() {
            let count: usize = self.left_out.values().sum();
            let kinds = self
                .left_out
                .iter()
                .map(|(extension, count)| match extension.as_str() {
                    "" => format!("{count} without extension"),
                    extension => format!("{count} .{}", shown(extension.as_ref())),
                });
            let kinds: Vec<_> = kinds.take(20).collect();
            let root = shown(self.root);
            log::warn!(
                "files left out in `{root}`, by extension: {count}, {}",
                kinds.join(", ")
            );
        }
        Ok(Scan {
            files,
            left_out: self.left_out,
        })
    }
}
