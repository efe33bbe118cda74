//! What is in a folder.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::decode::begins_as_image;
use crate::error::{DataError, shown};

/// Extensions of images, in small letters.
const EXTENSIONS: [&str; 18] = [
    "apng", "bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pam", "pbm", "pgm", "pjp", "pjpeg", "png",
    "pnm", "ppm", "tif", "tiff", "webp",
];

/// Which files of a folder count as images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesBy {
    /// Those with the extension of a supported format. None is opened to find out.
    #[default]
    Extension,
    /// Also those of any other name that begin as an image does.
    Content,
}

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Names of the folders in it, sorted.
    pub folders: Vec<String>,
    /// Names of the links to folders in it, sorted.
    pub links: Vec<String>,
    /// Names of the images in it, sorted.
    pub images: Vec<String>,
    /// How many other files it has, by their extension in small letters.
    pub others: BTreeMap<String, usize>,
}

impl Listing {
    /// Names of the folders and of the links to folders, sorted.
    pub fn into_classes(self) -> Vec<String> {
        let mut names = [self.folders, self.links].concat();
        names.sort_unstable();
        names
    }
}

/// Reads a folder; what is hidden is left out.
pub(super) fn read(folder: &Path, by: FilesBy) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder).map_err(|source| listing_error(folder, source))? {
        let entry = entry.map_err(|source| listing_error(folder, source))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let Ok(name) = name.into_string() else {
            log::warn!(
                "`{}` is left out: its name is no UTF-8",
                shown(&entry.path())
            );
            continue;
        };
        match kind(&entry) {
            Kind::Folder => listing.folders.push(name),
            Kind::Link if leads_back(folder, &entry) => {
                log::warn!("the link `{}` leads back: left out", shown(&entry.path()));
            }
            Kind::Link => listing.links.push(name),
            Kind::File if is_image(&name) => listing.images.push(name),
            Kind::File if by == FilesBy::Content && begins_as_image(&entry.path()) => {
                listing.images.push(name);
            }
            Kind::File => *listing.others.entry(extension(&name)).or_default() += 1,
            Kind::Special => log::warn!("`{}` is no file: left out", shown(&entry.path())),
        }
    }
    listing.folders.sort_unstable();
    listing.links.sort_unstable();
    listing.images.sort_unstable();
    Ok(listing)
}

enum Kind {
    Folder,
    /// A link to a folder.
    Link,
    /// A file, a link to one, or a link to nothing, which is left to be reported as unreadable.
    File,
    /// A pipe, a socket, a device: what waits for ever or never ends.
    Special,
}

/// What an entry is. Only links cost a system call.
fn kind(entry: &DirEntry) -> Kind {
    let Ok(kind) = entry.file_type() else {
        return Kind::Special;
    };
    if !kind.is_symlink() {
        return match (kind.is_dir(), kind.is_file()) {
            (true, _) => Kind::Folder,
            (_, true) => Kind::File,
            _ => Kind::Special,
        };
    }
    match fs::metadata(entry.path()) {
        Ok(target) if target.is_dir() => Kind::Link,
        Ok(target) if !target.is_file() => Kind::Special,
        _ => Kind::File,
    }
}

/// The extension in small letters, empty if there is none.
fn extension(name: &str) -> String {
    let extension = Path::new(name).extension().unwrap_or_default();
    extension.to_string_lossy().to_lowercase()
}

/// Whether a name is that of an image.
fn is_image(name: &str) -> bool {
    EXTENSIONS.contains(&extension(name).as_str())
}

/// Whether an entry is a link to a folder that contains it, and would be walked for ever.
fn leads_back(here: &Path, entry: &DirEntry) -> bool {
    match (here.canonicalize(), entry.path().canonicalize()) {
        (Ok(here), Ok(target)) => here.starts_with(target),
        _ => false,
    }
}

/// The real folders that were met.
#[derive(Debug, Default)]
pub(super) struct Met(HashSet<PathBuf>);

impl Met {
    /// Notes a folder; false if it was met before, by this or another name.
    pub fn insert(&mut self, folder: &Path) -> bool {
        // A folder that cannot be resolved cannot be listed either, and is named then.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.into());
        self.0.insert(real)
    }
}

pub(super) fn listing_error(path: &Path, source: std::io::Error) -> DataError {
    let path = path.to_path_buf();
    match source.kind() {
        ErrorKind::NotFound => DataError::NotFound { path },
        ErrorKind::NotADirectory => DataError::NotAFolder { path },
        _ => DataError::Io { path, source },
    }
}
