//! CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, <https://www.cs.toronto.edu/~kriz/cifar.html>), the binary
//! version.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, RgbImage};

use super::archive::{Entry, for_each_file, is_plain, open};
use super::part::{Part, PartReport, Split};
use super::{PrepareError, Prepared};

/// Height and width of an image.
const SIDE: usize = 32;
/// Bytes of an image: a plane of red, then green, then blue.
const IMAGE: usize = 3 * SIDE * SIDE;
/// What the archive may unpack to, in bytes: the larger one unpacks to 185 million.
const UNPACKED: u64 = 1 << 30;
/// The largest list of class names, in bytes.
const NAMES: u64 = 1 << 16;
/// Images that are published to train and to validate on.
const PUBLISHED: [usize; 2] = [50_000, 10_000];

/// Which of the two labels of CIFAR-100 names the class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Labels {
    /// One of 100 classes, or of CIFAR-10's 10.
    #[default]
    Fine,
    /// One of the 20 groups of CIFAR-100's classes.
    Coarse,
}

/// How an archive holds its images.
struct Layout {
    classes: Vec<String>,
    /// Labels before each image, and which of them counts.
    labels: usize,
    label: usize,
    published: usize,
}

/// Makes an image folder of `cifar-10-binary.tar.gz` or `cifar-100-binary.tar.gz`: PNG files, named by
/// their number, in `root/train` and, of the test images, `root/val`.
///
/// `progress` is told the number of images so far and in all.
///
/// # Errors
///
/// An archive that cannot be read, is damaged, or is another one, and what the system refuses.
pub fn cifar(
    archive: &Path,
    labels: Labels,
    root: &Path,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Prepared, PrepareError> {
    let layout = Layout::of(archive, labels)?;
    // Of each part what it is written by, and how many images it has.
    let mut writers = Vec::new();
    for split in [Split::Train, Split::Val] {
        writers.push((split, Part::begin(root, split)?, 0));
    }
    let mut done = 0;
    for_each_file(archive, open(archive, UNPACKED)?, &mut |mut entry| {
        let name = entry.file_name().to_string();
        let split = match name.as_str() {
            "train.bin" => Split::Train,
            name if name.starts_with("data_batch_") && name.ends_with(".bin") => Split::Train,
            "test.bin" | "test_batch.bin" => Split::Val,
            _ => return Ok(()),
        };
        let Some((_, part, number)) = writers.iter_mut().find(|writer| writer.0 == split) else {
            return Ok(());
        };
        if let Some(part) = part {
            layout.write(archive, &mut entry, part, number, &mut || {
                done += 1;
                progress(done, PUBLISHED[0] + PUBLISHED[1]);
            })?;
        }
        Ok(())
    })?;
    let mut reports = Vec::new();
    for ((split, part, _), images) in writers.into_iter().zip(PUBLISHED) {
        let published = Some([layout.published, images]);
        reports.push(match part {
            Some(part) if part.images() == 0 => {
                return Err(PrepareError::Missing {
                    path: archive.into(),
                    missing: "no images of one of its parts: fetch it again",
                });
            }
            Some(part) => part.finish(published)?,
            None => PartReport::left(split, published),
        });
    }
    Ok(Prepared { parts: reports })
}

impl Layout {
    /// Reads the archive once for the names of the classes, which may come behind the images.
    fn of(archive: &Path, labels: Labels) -> Result<Self, PrepareError> {
        let (mut ten, mut fine, mut coarse) = (None, None, None);
        for_each_file(archive, open(archive, UNPACKED)?, &mut |mut entry| {
            let list = match entry.file_name() {
                "batches.meta.txt" => &mut ten,
                "fine_label_names.txt" => &mut fine,
                "coarse_label_names.txt" => &mut coarse,
                _ => return Ok(()),
            };
            *list = Some(names(archive, &mut entry)?);
            Ok(())
        })?;
        let missing = |missing| PrepareError::Missing {
            path: archive.into(),
            missing,
        };
        let (classes, count, label, published) = match (ten, fine, coarse, labels) {
            (Some(classes), None, None, Labels::Fine) => (classes, 1, 0, 10),
            (Some(_), None, None, Labels::Coarse) => {
                return Err(missing(
                    "CIFAR-10, which has no coarse labels: leave them out",
                ));
            }
            (None, Some(classes), _, Labels::Fine) => (classes, 2, 1, 100),
            (None, _, Some(classes), Labels::Coarse) => (classes, 2, 0, 20),
            _ => {
                return Err(missing(
                    "no list of CIFAR's class names: give cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, the binary version",
                ));
            }
        };
        Ok(Self {
            classes,
            labels: count,
            label,
            published,
        })
    }

    /// Writes the images of one of the archive's files; `number` goes on from file to file.
    fn write(
        &self,
        archive: &Path,
        entry: &mut Entry,
        part: &mut Part,
        number: &mut usize,
        progress: &mut dyn FnMut(),
    ) -> Result<(), PrepareError> {
        let wrong = |reason: String| PrepareError::entry(archive, entry.name, reason);
        let length = self.labels + IMAGE;
        if entry.size == 0 || !entry.size.is_multiple_of(length as u64) {
            let size = entry.size;
            return Err(wrong(format!(
                "whose {size} bytes are no multiple of an image's {length}"
            )));
        }
        let mut record = vec![0; length];
        for _ in 0..entry.size / length as u64 {
            (entry.content.read_exact(&mut record))
                .map_err(|reason| PrepareError::archive(archive, reason))?;
            let label = usize::from(record[self.label]);
            let Some(class) = self.classes.get(label) else {
                let count = self.classes.len();
                return Err(wrong(format!("with the label {label} of {count} classes")));
            };
            let file = format!("{number:05}.png");
            let png = png(archive, &record[self.labels..])?;
            let added = part.add(class, &file, &png);
            added.map_err(|error| error.of_entry(archive, entry.name))?;
            *number += 1;
            progress();
        }
        Ok(())
    }
}

/// The class names of a list, a line each.
fn names(archive: &Path, entry: &mut Entry) -> Result<Vec<String>, PrepareError> {
    let text = entry.read(archive, NAMES)?;
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(String::from).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if names.is_empty() || sorted.len() != names.len() || !names.iter().all(|name| is_plain(name)) {
        let reason = "which is no list of class names";
        return Err(PrepareError::entry(archive, entry.name, reason));
    }
    Ok(names)
}

/// An image of three planes as a file.
fn png(archive: &Path, planes: &[u8]) -> Result<Vec<u8>, PrepareError> {
    let image = RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        let place = y as usize * SIDE + x as usize;
        image::Rgb([0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + place]))
    });
    let mut file = Cursor::new(Vec::new());
    (image.write_to(&mut file, ImageFormat::Png))
        .map_err(|error| PrepareError::archive(archive, error))?;
    Ok(file.into_inner())
}
