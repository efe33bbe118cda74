//! ImageNet-1k (Russakovsky et al., <https://arxiv.org/abs/1409.0575>), as its authors give it out.

use std::fs;
use std::path::Path;

use super::archive::{for_each_file, open};
use super::labels::{Classes, is_synset};
use super::part::{Part, PartReport, Split};
use super::{PrepareError, Prepared};

/// The largest image that is taken, in bytes: the largest of ImageNet has 15 million.
const IMAGE: u64 = 64 << 20;
const CLASSES: usize = 1000;
/// Images that are published to train on.
const TRAIN: usize = 1_281_167;
/// Images that are published to validate on.
const VAL: usize = 50_000;

/// Where ImageNet's files are.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageNet<'a> {
    /// `ILSVRC2012_img_train.tar`: an archive of one archive per class.
    pub train: Option<&'a Path>,
    /// `ILSVRC2012_img_val.tar`: an archive of images.
    pub val: Option<&'a Path>,
    /// What says the classes of the images to validate on: the development kit
    /// (`ILSVRC2012_devkit_t12.tar.gz`), or a list with a line per image.
    ///
    /// A line has the synset of the image, as `n01751748`, or its number in `synsets`. It may have the
    /// name of the image in front, behind which a comma may stand; else the lines are those of the
    /// images 1, 2, … What follows is passed over, and so is the line `ImageId,PredictionString`.
    pub labels: Option<&'a Path>,
    /// For lists with numbers: a list with lines of a number and a synset, in either order, as
    /// `1 n02119789 kit_fox`.
    pub synsets: Option<&'a Path>,
}

/// Makes an image folder of ImageNet: `root/train/<synset>/…` and `root/val/<synset>/…`.
///
/// `progress` is told the number of images of a part so far, and how many it was published with.
///
/// # Errors
///
/// Files that cannot be read, are damaged, or are others, and what the system refuses.
pub fn imagenet(
    files: ImageNet<'_>,
    root: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Prepared, PrepareError> {
    for path in [files.train, files.val].into_iter().flatten() {
        fs::metadata(path).map_err(|reason| PrepareError::archive(path, reason))?;
    }
    let mut parts = Vec::new();
    // First what takes no time, and may be wrong.
    let classes = match (files.val, files.labels) {
        (Some(_), Some(labels)) => Some(Classes::read(labels, files.synsets)?),
        (Some(val), None) => return Err(PrepareError::NoLabels { path: val.into() }),
        (None, _) => None,
    };
    if let (Some(val), Some(classes)) = (files.val, classes) {
        parts.push(write(root, Split::Val, VAL, &mut |part| {
            write_val(val, &classes, part, progress)
        })?);
    }
    if let Some(train) = files.train {
        parts.push(write(root, Split::Train, TRAIN, &mut |part| {
            write_train(train, part, progress)
        })?);
    }
    match parts.is_empty() {
        true => Err(PrepareError::Nothing),
        false => Ok(Prepared { parts }),
    }
}

fn write(
    root: &Path,
    split: Split,
    images: usize,
    fill: &mut dyn FnMut(&mut Part) -> Result<(), PrepareError>,
) -> Result<PartReport, PrepareError> {
    let published = Some([CLASSES, images]);
    let Some(mut part) = Part::begin(root, split)? else {
        return Ok(PartReport::left(split, published));
    };
    fill(&mut part)?;
    part.finish(published)
}

fn write_train(
    archive: &Path,
    part: &mut Part,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PrepareError> {
    for_each_file(archive, open(archive, u64::MAX)?, &mut |entry| {
        let class = entry
            .name
            .strip_suffix(".tar")
            .filter(|name| is_synset(name));
        let Some(class) = class else {
            let reason = "which is no archive of a class, as n01440764.tar is";
            return Err(PrepareError::entry(archive, entry.name, reason));
        };
        let inner = archive.join(entry.name);
        for_each_file(&inner, entry.content, &mut |mut image| {
            let content = image.read(&inner, IMAGE)?;
            let added = part.add(class, image.name, &content);
            added.map_err(|error| error.of_entry(&inner, image.name))?;
            progress(part.images(), TRAIN);
            Ok(())
        })?;
        part.close(class)
    })?;
    check_any(archive, part)
}

fn write_val(
    archive: &Path,
    classes: &Classes,
    part: &mut Part,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), PrepareError> {
    for_each_file(archive, open(archive, u64::MAX)?, &mut |mut image| {
        let name = image.file_name().to_string();
        let Some(class) = classes.of(&name) else {
            let reason = "which is no image that the list of classes knows";
            return Err(PrepareError::entry(archive, image.name, reason));
        };
        let content = image.read(archive, IMAGE)?;
        let added = part.add(class, &name, &content);
        added.map_err(|error| error.of_entry(archive, image.name))?;
        progress(part.images(), VAL);
        Ok(())
    })?;
    check_any(archive, part)
}

fn check_any(archive: &Path, part: &Part) -> Result<(), PrepareError> {
    match part.images() {
        0 => Err(PrepareError::Missing {
            path: archive.into(),
            missing: "no images: fetch it again",
        }),
        _ => Ok(()),
    }
}
