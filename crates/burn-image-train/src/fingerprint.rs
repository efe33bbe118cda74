use std::path::{MAIN_SEPARATOR_STR, Path};

use burn_image_folder::{ImageFolder, ImageList};
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use crate::files;

/// By what the images of a run are known again: all their names, and the content of a few of each
/// class, since to read all of them could take hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fingerprint {
    train: Split,
    val: Split,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    images: usize,
    /// Checksum of classes and names.
    names: u32,
    /// Checksum of the files that were read.
    contents: u32,
}

/// Files of each class that are read.
const READ: usize = 3;

impl Fingerprint {
    /// That of the images in `root`.
    pub(crate) fn of(folder: &ImageFolder, root: &Path) -> Self {
        Self {
            train: Split::of(&folder.train, root),
            val: Split::of(&folder.val, root),
        }
    }

    /// How these images were before and are `now`, if that is not the same.
    pub(crate) fn difference(&self, now: &Self) -> Option<String> {
        let train = self.train.difference(&now.train, "to train on");
        let val = self.val.difference(&now.val, "to validate on");
        let both: Vec<_> = train.into_iter().chain(val).collect();
        (!both.is_empty()).then(|| both.join(", "))
    }
}

impl Split {
    fn of(images: &ImageList, root: &Path) -> Self {
        let (mut names, mut contents) = (Hasher::new(), Hasher::new());
        let mut seen = vec![0; images.class_counts().len()];
        for image in 0..images.len() {
            let (path, class) = (images.path(image), images.class(image));
            let name = path.strip_prefix(root).unwrap_or(&path);
            let name = name.to_string_lossy().replace(MAIN_SEPARATOR_STR, "/");
            names.update(format!("{class} {name}\n").as_bytes());
            if seen[class] < READ {
                // What cannot be read now could perhaps before, and is told in its own way.
                contents.update(&files::read(&path).unwrap_or_default());
            }
            seen[class] += 1;
        }
        Self {
            images: images.len(),
            names: names.finalize(),
            contents: contents.finalize(),
        }
    }

    fn difference(&self, now: &Self, what: &str) -> Option<String> {
        if self == now {
            return None;
        }
        Some(match (self.images, now.images) {
            (before, now) if before != now => format!("{now} images {what} and not {before}"),
            _ if self.names != now.names => format!("images {what} of other names or classes"),
            _ => format!("images {what} of other content"),
        })
    }
}
