//! What is in a folder.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::decode::begins_as_image;
use crate::error::{DataError, shown};

/// Extensions of images, in small letters.
const EXTENSIONS: [&str; 21] = [
    "apng", "bmp", "dib", "gif", "jfi", "jfif", "jif", "jpe", "jpeg", "jpg", "pam", "pbm", "pgm",
    "pjp", "pjpeg", "png", "pnm", "ppm", "tif", "tiff", "webp",
];

/// Most entries that are named one by one: a system's folders have thousands of devices and links.
const MOST_NAMED: usize = 100;

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

/// What was left out so far and named.
#[derive(Debug, Default)]
pub(super) struct Named(usize);

impl Named {
    /// Names an entry that is left out, unless there were many.
    fn name(&mut self, message: impl FnOnce() -> String) {
        self.0 += 1;
        match self.0 {
            ..=MOST_NAMED => log::warn!("{}", message()),
            count if count == MOST_NAMED + 1 => log::warn!("what else is left out is not named"),
            _ => {}
        }
    }
}

/// Reads a folder; what is hidden is left out.
pub(super) fn read(folder: &Path, by: FilesBy, named: &mut Named) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder).map_err(|reason| listing_error(folder, reason))? {
        let entry = entry.map_err(|reason| listing_error(folder, reason))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let Ok(name) = name.into_string() else {
            named.name(|| {
                format!(
                    "`{}` is left out: its name is no UTF-8",
                    shown(&entry.path())
                )
            });
            continue;
        };
        match kind(&entry) {
            Kind::Folder => listing.folders.push(name),
            Kind::Link if leads_back(folder, &entry) => {
                named.name(|| format!("the link `{}` leads back: left out", shown(&entry.path())));
            }
            Kind::Link => listing.links.push(name),
            Kind::File if is_image(&name) => listing.images.push(name),
            Kind::File if by == FilesBy::Content && begins_as_image(&entry.path()) => {
                listing.images.push(name);
            }
            Kind::File => *listing.others.entry(extension(&name)).or_default() += 1,
            Kind::Special => {
                named.name(|| format!("`{}` is no file: left out", shown(&entry.path())));
            }
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
pub(super) struct Met(HashSet<Identity>);

/// What tells a folder from all others, whatever it is called. None if it cannot be resolved: then it
/// cannot be listed either, and is named.
#[cfg(unix)]
fn identity(folder: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(folder).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(not(unix))]
fn identity(folder: &Path) -> Option<Identity> {
    folder.canonicalize().ok()
}

#[cfg(not(unix))]
type Identity = std::path::PathBuf;

impl Met {
    /// Notes a folder; false if it was met before, by this or another name.
    pub fn insert(&mut self, folder: &Path) -> bool {
        identity(folder).is_none_or(|identity| self.0.insert(identity))
    }
}

pub(super) fn listing_error(path: &Path, reason: std::io::Error) -> DataError {
    let path = path.to_path_buf();
    match reason.kind() {
        ErrorKind::NotFound => DataError::NotFound { path },
        ErrorKind::NotADirectory => DataError::NotAFolder { path },
        _ => DataError::Io { path, reason },
    }
}
