//! Which class each of ImageNet's images to validate on has.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::PrepareError;
use super::archive::{GZIP, for_each_file, is_plain, open};
use super::mat;

/// What the development kit may unpack to, and the longest list, in bytes: they have 5 million and a
/// few more.
const LONGEST: u64 = 64 << 20;

/// The development kit's list of numbers, a line per image.
const GROUND_TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
/// The development kit's table of synsets and their numbers.
const META: &str = "meta.mat";
/// How the names of the images begin.
const IMAGE: &str = "ILSVRC2012_val_";

/// Whether a name is WordNet's of a class: `n` and eight digits.
pub(super) fn is_synset(name: &str) -> bool {
    name.len() == 9
        && name.starts_with('n')
        && name[1..].bytes().all(|digit| digit.is_ascii_digit())
}

/// The class of each image, by the image's number.
pub(super) struct Classes(HashMap<u32, String>);

impl Classes {
    /// Reads the development kit, or a list, which may have numbers that are in `synsets`.
    pub fn read(labels: &Path, synsets: Option<&Path>) -> Result<Self, PrepareError> {
        let content = content(labels)?;
        // A packed file, or an archive's own mark.
        if content.starts_with(&GZIP) || content.get(257..262) == Some(b"ustar") {
            return kit(labels);
        }
        let text = text(labels, content)?;
        let synsets = synsets.map(numbers).transpose()?;
        parse(labels, &text, synsets.as_ref())
    }

    /// The class of an image, by the name of its file.
    pub fn of(&self, file: &str) -> Option<&str> {
        self.0.get(&image_number(file)?).map(String::as_str)
    }
}

/// The number in the name of an image, with or without an ending.
fn image_number(file: &str) -> Option<u32> {
    let name = file.split('.').next()?;
    name.strip_prefix(IMAGE)?.parse().ok()
}

fn kit(archive: &Path) -> Result<Classes, PrepareError> {
    let (mut list, mut meta) = (None, None);
    for_each_file(archive, open(archive, LONGEST)?, &mut |mut entry| {
        match entry.file_name() {
            GROUND_TRUTH => list = Some(entry.read(archive, LONGEST)?),
            META => meta = Some(entry.read(archive, LONGEST)?),
            _ => {}
        }
        Ok(())
    })?;
    let (Some(list), Some(meta)) = (list, meta) else {
        return Err(PrepareError::Missing {
            path: archive.into(),
            missing: "neither list nor table of classes: give ILSVRC2012_devkit_t12.tar.gz",
        });
    };
    let path = archive.join(META);
    let synsets = mat::synsets(&meta).map_err(|reason| PrepareError::archive(&path, reason))?;
    if let Some(foreign) = synsets.values().find(|name| !is_plain(name)) {
        return Err(PrepareError::archive(
            &path,
            format!("`{foreign}` is no synset"),
        ));
    }
    let path = archive.join(GROUND_TRUTH);
    let text = text(&path, list)?;
    parse(&path, &text, Some(&synsets))
}

/// A file's content; of one that is too long, more than the longest.
fn content(path: &Path) -> Result<Vec<u8>, PrepareError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content));
    read.map_err(|reason| PrepareError::archive(path, reason))?;
    Ok(content)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, PrepareError> {
    if bytes.len() as u64 > LONGEST {
        return Err(PrepareError::archive(
            path,
            "it is too long for a list of classes",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| PrepareError::archive(path, "it is neither a list nor the development kit"))
}

/// The lines of a list with something in them: their numbers, from 1, and the words in them.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let parts = |letter: char| letter == ',' || letter.is_whitespace();
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().enumerate();
    lines
        .map(move |(number, line)| {
            let words = line.split(parts).filter(|word| !word.is_empty());
            (number + 1, words.collect::<Vec<_>>())
        })
        .filter(|(_, words)| !words.is_empty())
}

fn parse(
    path: &Path,
    text: &str,
    synsets: Option<&HashMap<u32, String>>,
) -> Result<Classes, PrepareError> {
    let mut classes = HashMap::new();
    let mut count = 0;
    for (line, words) in lines(text) {
        let wrong = |message: String| PrepareError::Line {
            path: path.into(),
            line,
            message,
        };
        let (image, label) = match words[..] {
            ["ImageId", ..] => continue,
            [name, label, ..] if image_number(name).is_some() => (image_number(name), label),
            [label, ..] => {
                count += 1;
                (Some(count), label)
            }
            [] => continue,
        };
        let class = match (label.parse::<u32>(), synsets) {
            _ if is_synset(label) => label.to_string(),
            (Ok(number), Some(synsets)) => (synsets.get(&number).cloned())
                .ok_or_else(|| wrong(format!("no synset has the number {number}")))?,
            (Ok(number), None) => {
                return Err(wrong(format!(
                    "{number} is the number of a class: give the synsets of the numbers as well"
                )));
            }
            _ => {
                let label: String = label.chars().take(40).collect();
                return Err(wrong(format!(
                    "{label:?} is neither a synset, as n01751748, nor a number"
                )));
            }
        };
        let image = image.expect("an image was named or counted");
        if classes.insert(image, class).is_some() {
            return Err(wrong(format!("the image {image} is there twice")));
        }
    }
    match classes.is_empty() {
        true => Err(PrepareError::archive(path, "it is empty")),
        false => Ok(Classes(classes)),
    }
}

/// A list of numbers and synsets. The order of the lines says nothing: lists in alphabetical order
/// are about, whose numbers are not the development kit's.
fn numbers(path: &Path) -> Result<HashMap<u32, String>, PrepareError> {
    let text = text(path, content(path)?)?;
    let mut synsets = HashMap::new();
    for (line, words) in lines(&text) {
        let wrong = |message: &str| PrepareError::Line {
            path: path.into(),
            line,
            message: message.into(),
        };
        let pair = match words[..] {
            [number, synset, ..] if is_synset(synset) => Some((number, synset)),
            [synset, number, ..] if is_synset(synset) => Some((number, synset)),
            _ => None,
        };
        let pair = pair.and_then(|(number, synset)| Some((number.parse::<u32>().ok()?, synset)));
        let Some((number, synset)) = pair else {
            return Err(wrong(
                "a number and a synset are expected, as `1 n02119789`",
            ));
        };
        if synsets.insert(number, synset.to_string()).is_some() {
            return Err(wrong("the number is there twice"));
        }
    }
    Ok(synsets)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn classes(text: &str, synsets: Option<&str>) -> Result<Vec<(u32, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let [list, numbers] = ["list.txt", "numbers.txt"].map(|name| folder.path().join(name));
        fs::write(&list, text).unwrap();
        if let Some(synsets) = synsets {
            fs::write(&numbers, synsets).unwrap();
        }
        let read = Classes::read(&list, synsets.map(|_| numbers.as_path()));
        let Classes(classes) = read.map_err(|error| error.to_string())?;
        let mut classes: Vec<_> = classes.into_iter().collect();
        classes.sort_unstable();
        Ok(classes)
    }

    #[test]
    fn lists_of_every_form_say_the_same() {
        let expected = vec![(1, "n01751748".to_string()), (2, "n09193705".to_string())];
        let synsets = "2 n01751748 sea_snake\nn09193705 7 alp\n";
        for (text, synsets) in [
            ("n01751748\nn09193705\n", None),
            ("\n n01751748 \r\n\r\nn09193705", None),
            (
                "ImageId,PredictionString\nILSVRC2012_val_00000002,n09193705 1 2 3 4\nILSVRC2012_val_00000001,n01751748 85 1 499 272 \n",
                None,
            ),
            ("2\n7\n", Some(synsets)),
            (
                "ILSVRC2012_val_00000002.JPEG 7\nILSVRC2012_val_00000001.JPEG 2",
                Some(synsets),
            ),
        ] {
            assert_eq!(classes(text, synsets).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn lists_that_could_be_misunderstood_are_refused() {
        for (text, synsets, part) in [
            ("", None, "empty"),
            ("1\n", None, "synsets of the numbers"),
            ("1\n", Some("n01751748\nn09193705\n"), "line 1"),
            ("3\n", Some("1 n01751748\n"), "number 3"),
            ("1\n", Some("1 n01751748\n1 n09193705\n"), "twice"),
            ("cat\n", None, "\"cat\""),
            (
                "ILSVRC2012_val_00000001 n01751748\nILSVRC2012_val_00000001 n01751748",
                None,
                "twice",
            ),
        ] {
            let error = classes(text, synsets).unwrap_err();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}
