//! One part of a data set as it is written: hidden until it is whole.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::PrepareError;
use super::archive::is_plain;

/// What holds a part for one process, within its folder.
const LOCK: &str = ".lock";

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    Train,
    /// The images to validate on.
    Val,
}

impl Split {
    /// Name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

/// What a data set came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its parts, in the order they were made.
    pub parts: Vec<PartReport>,
}

/// What a part came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReport {
    /// Which part.
    pub split: Split,
    /// How many classes and images it has; none if it was there already and was left as it is.
    pub counts: Option<[usize; 2]>,
    /// How many classes and images the data set was published with, if that is known.
    pub published: Option<[usize; 2]>,
}

impl PartReport {
    /// Of a part that was there already.
    pub(super) fn left(split: Split, published: Option<[usize; 2]>) -> Self {
        Self {
            split,
            counts: None,
            published,
        }
    }

    /// Whether the counts are known not to be those of the data set.
    pub fn differs(&self) -> bool {
        self.counts.is_some() && self.published.is_some() && self.counts != self.published
    }
}

/// A part that is being written.
pub(super) struct Part {
    split: Split,
    folder: PathBuf,
    work: PathBuf,
    /// Open as long as no other process may write.
    lock: File,
    /// The files of classes that may get more.
    open: BTreeMap<String, HashSet<String>>,
    /// The number of files of classes that have all.
    closed: BTreeMap<String, usize>,
    images: usize,
}

impl Part {
    /// Begins with a part, or goes on with it. None if it is there already.
    pub fn begin(root: &Path, split: Split) -> Result<Option<Self>, PrepareError> {
        let folder = root.join(split.folder());
        // Made in advance and empty, it is in nobody's way.
        let _ = fs::remove_dir(&folder);
        if folder.exists() {
            return Ok(None);
        }
        let work = root.join(format!(".{split}.preparing"));
        fs::create_dir_all(&work).map_err(PrepareError::io("make the folder", &work))?;
        let path = work.join(LOCK);
        let lock = File::create(&path).map_err(PrepareError::io("write", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PrepareError::Busy { path: work }),
            Err(TryLockError::Error(error)) => return Err(PrepareError::io("lock", &path)(error)),
        }
        Ok(Some(Self {
            split,
            folder,
            work,
            lock,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            images: 0,
        }))
    }

    /// Images so far.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Puts an image there; one that is there with this very content is left alone. The error is what
    /// is wrong with its names, or of the system.
    pub fn add(&mut self, class: &str, file: &str, content: &[u8]) -> Result<(), AddError> {
        if !is_plain(class) || !is_plain(file) {
            return Err(AddError::Name("no name of an image and its class"));
        }
        if self.closed.contains_key(class) {
            return Err(AddError::Name("of a class that was there before"));
        }
        let folder = self.work.join(class);
        if !self.open.contains_key(class) {
            fs::create_dir_all(&folder).map_err(PrepareError::io("make the folder", &folder))?;
            self.open.insert(class.into(), HashSet::new());
        }
        let files = self.open.entry(class.into()).or_default();
        if !files.insert(file.into()) {
            return Err(AddError::Name("which is there twice"));
        }
        let path = folder.join(file);
        if !holds(&path, content) {
            fs::write(&path, content).map_err(PrepareError::io("write", &path))?;
        }
        self.images += 1;
        Ok(())
    }

    /// Ends a class, which cannot get more: what is left of an earlier attempt with another archive is
    /// removed, and the names of its files need no memory any longer.
    pub fn close(&mut self, class: &str) -> Result<(), PrepareError> {
        let Some(files) = self.open.remove(class) else {
            return Ok(());
        };
        let folder = self.work.join(class);
        remove_all_but(&folder, |name| files.contains(name))?;
        self.closed.insert(class.into(), files.len());
        Ok(())
    }

    /// Ends the part and gives it its name.
    pub fn finish(mut self, published: Option<[usize; 2]>) -> Result<PartReport, PrepareError> {
        let open: Vec<_> = self.open.keys().cloned().collect();
        for class in open {
            self.close(&class)?;
        }
        remove_all_but(&self.work, |name| self.closed.contains_key(name))?;
        write_back(&self.work);
        fs::rename(&self.work, &self.folder)
            .map_err(PrepareError::io("give its name to", &self.work))?;
        // Held until here.
        drop(self.lock);
        Ok(PartReport {
            split: self.split,
            counts: Some([self.closed.len(), self.images]),
            published,
        })
    }
}

/// Why an image was not added.
pub(super) enum AddError {
    /// What is wrong with its name, or that of its class.
    Name(&'static str),
    /// What the system refused.
    System(PrepareError),
}

impl From<PrepareError> for AddError {
    fn from(error: PrepareError) -> Self {
        Self::System(error)
    }
}

impl AddError {
    /// The error about an entry of an archive.
    pub fn of_entry(self, archive: &Path, entry: &str) -> PrepareError {
        match self {
            Self::Name(reason) => PrepareError::entry(archive, entry, reason),
            Self::System(error) => error,
        }
    }
}

/// Whether a file has this content.
fn holds(path: &Path, content: &[u8]) -> bool {
    let length = fs::metadata(path).map(|metadata| metadata.len());
    length.is_ok_and(|length| length == content.len() as u64)
        && fs::read(path).is_ok_and(|found| found == content)
}

/// Removes whatever a folder holds of other names.
fn remove_all_but(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<(), PrepareError> {
    let list = fs::read_dir(folder).map_err(PrepareError::io("list", folder))?;
    for entry in list {
        let entry = entry.map_err(PrepareError::io("list", folder))?;
        if entry.file_name().to_str().is_some_and(&keep) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = match is_folder {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(PrepareError::io("remove", &path))?;
    }
    Ok(())
}

/// Lets the disk have what was written, before its name says that it is whole: a power cut must not
/// leave a folder of empty files. Of a million files, each by itself would take an hour.
fn write_back(_folder: &Path) {
    #[cfg(target_os = "linux")]
    if let Ok(folder) = File::open(_folder) {
        // What fails here fails again, and is said, where a file is read.
        let _ = rustix::fs::syncfs(&folder);
    }
}
