//! Files of events: records with a length and checksums, one after the other (TensorFlow's `TFRecord`).

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message;

use super::event::{Event, Summary, Value, What};

/// TensorBoard knows its files by the middle of this name. A run goes on in the same file.
const NAME: &str = "events.out.tfevents.run";
/// Bytes before an event: its length and the checksum of that.
const HEAD: usize = 12;
/// Bytes after an event: its checksum.
const TAIL: usize = 4;

/// A file of events that grows.
pub(super) struct EventFile(File);

impl EventFile {
    /// Opens the file of a folder, which is made if it is not there, and cuts it off before the first
    /// event that `keep` does not want or that is damaged, as the last one is of a process that died
    /// while it wrote.
    pub fn open(folder: &Path, keep: impl Fn(&Event) -> bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        let mut options = File::options();
        let mut file = options.create(true).read(true).write(true).open(&path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let kept = events(&content).take_while(|(event, _)| keep(event));
        let length = kept.last().map_or(0, |(_, end)| end);
        file.set_len(length as u64)?;
        file.seek(SeekFrom::Start(length as u64))?;
        let mut file = Self(file);
        if length == 0 {
            file.put(0, What::FileVersion("brain.Event:2".into()))?;
        }
        Ok(file)
    }

    /// Adds the values of a step.
    pub fn add(&mut self, step: usize, values: Vec<Value>) -> io::Result<()> {
        self.put(step, What::Summary(Summary { values }))
    }

    /// Waits until the disk has all of it.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn put(&mut self, step: usize, what: What) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let event = Event {
            wall_time: now.map_or(0.0, |now| now.as_secs_f64()),
            step: step as i64,
            what: Some(what),
        };
        // At once: a process that is killed leaves what it has written.
        self.0.write_all(&record(&event))
    }
}

fn record(event: &Event) -> Vec<u8> {
    let event = event.encode_to_vec();
    let mut bytes = (event.len() as u64).to_le_bytes().to_vec();
    bytes.extend(checksum(&bytes));
    let sum = checksum(&event);
    bytes.extend(event);
    bytes.extend(sum);
    bytes
}

/// CRC-32C, masked, so that the checksum of data with checksums in it still says something.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes).rotate_right(15);
    sum.wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The events of a file up to the first that is damaged, each with the place where it ends.
fn events(content: &[u8]) -> impl Iterator<Item = (Event, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = content.get(start..)?;
        let (head, rest) = rest.split_at_checked(HEAD)?;
        let (length, sum) = head.split_at(8);
        if checksum(length) != *sum {
            return None;
        }
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (event, rest) = rest.split_at_checked(length)?;
        if !rest.starts_with(&checksum(event)) {
            return None;
        }
        start += HEAD + length + TAIL;
        Some((Event::decode(event).ok()?, start))
    })
}

/// All events of a folder's file.
///
/// # Panics
///
/// If there is anything else in the file.
#[cfg(test)]
pub(super) fn read(folder: &Path) -> Vec<Event> {
    let content = fs::read(folder.join(NAME)).unwrap();
    let (events, ends): (Vec<_>, Vec<_>) = events(&content).unzip();
    assert_eq!(ends.last().copied().unwrap_or(0), content.len());
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(file: &mut EventFile, step: usize) {
        let value = Value::number("loss", step as f64);
        file.add(step, vec![value]).unwrap();
    }

    fn steps(folder: &Path) -> Vec<i64> {
        let events = read(folder).into_iter();
        let summaries = events.filter(|event| matches!(event.what, Some(What::Summary(_))));
        summaries.map(|event| event.step).collect()
    }

    /// TensorBoard's own writer gives these bytes.
    #[test]
    fn a_record_is_as_tensorboard_writes_it() {
        let event = Event {
            wall_time: 1.5,
            step: 3,
            what: Some(What::Summary(Summary {
                values: vec![Value::number("loss", 0.25)],
            })),
        };
        let expected = [
            26, 0, 0, 0, 0, 0, 0, 0, 18, 155, 216, 45, 9, 0, 0, 0, 0, 0, 0, 248, 63, 16, 3, 42, 13,
            10, 11, 10, 4, 108, 111, 115, 115, 21, 0, 0, 128, 62, 208, 84, 178, 85,
        ];
        assert_eq!(record(&event), expected);
        let image = Event {
            what: Some(What::Summary(Summary {
                values: vec![Value::image("i", [3, 2], b"png".into())],
            })),
            ..event
        };
        let expected = [
            31, 0, 0, 0, 0, 0, 0, 0, 81, 75, 68, 24, 9, 0, 0, 0, 0, 0, 0, 248, 63, 16, 3, 42, 18,
            10, 16, 10, 1, 105, 34, 11, 8, 2, 16, 3, 24, 3, 34, 3, 112, 110, 103, 181, 249, 182,
            90,
        ];
        assert_eq!(record(&image), expected);
    }

    #[test]
    fn what_is_not_kept_or_damaged_is_cut_off_and_the_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let open = |last: i64| EventFile::open(folder, |event| event.step <= last).unwrap();
        let mut file = open(0);
        (1..=4).for_each(|number| step(&mut file, number));
        drop(file);
        let mut file = open(2);
        step(&mut file, 3);
        drop(file);
        assert_eq!(steps(folder), [1, 2, 3]);
        assert_eq!(
            read(folder)[0].what,
            Some(What::FileVersion("brain.Event:2".into()))
        );

        // Each byte of the last event counts, and so does its being whole.
        let path = folder.join(NAME);
        let whole = fs::read(&path).unwrap();
        let last = whole.len() - record(&read(folder)[3]).len();
        for place in last..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, damaged).unwrap();
            step(&mut open(9), 5);
            assert_eq!(steps(folder), [1, 2, 5], "damaged at {place}");
            fs::write(&path, &whole[..place]).unwrap();
            step(&mut open(9), 5);
            assert_eq!(steps(folder), [1, 2, 5], "cut at {place}");
        }
        // Foreign from its first byte.
        fs::write(&path, b"no events, but more than a dozen bytes").unwrap();
        drop(open(9));
        assert_eq!(read(folder).len(), 1);
    }
}
