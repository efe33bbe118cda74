//! The pickle in an archive of PyTorch.

use std::fs;
use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;

use zip::result::ZipResult;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{paths, target::Target, weights};

/// The pickle in the archive of a small network, whose checksum would hide it from changes of the
/// file.
pub const TARGET: Target = Target {
    name: "archive",
    dictionary: "weights",
    run,
    seeds,
    memory: 512 << 20,
};

const FIXTURES: &str = "crates/burn-octresnet/tests/fixtures";

/// The name and content of each file in an archive, the pickle first.
type Entries = Vec<(String, Vec<u8>)>;

static NETWORK: LazyLock<Entries> = LazyLock::new(|| {
    let path = paths::repository(&format!("{FIXTURES}/weights/vanilla.pth"));
    entries(fs::read(path).expect("the fixture can be read"))
});

fn seeds() -> Vec<Vec<u8>> {
    let small = |name: &str| ["big-endian.pth", "command.pth", "expand.pth"].contains(&name);
    let hostile = paths::contents(&format!("{FIXTURES}/hostile"), small);
    let archives = hostile.into_iter().map(entries);
    let archives = archives.chain([NETWORK.clone()]);
    archives
        .map(|mut entries| entries.swap_remove(0).1)
        .collect()
}

fn entries(archive: Vec<u8>) -> Entries {
    let read = || {
        let mut archive = ZipArchive::new(Cursor::new(archive))?;
        let mut entries = Entries::new();
        for number in 0..archive.len() {
            let mut entry = archive.by_index(number)?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            entries.push((entry.name()?.into_owned(), content));
        }
        ZipResult::Ok(entries)
    };
    let mut entries = read().expect("the fixture is an archive");
    entries.sort_by_key(|(name, _)| !name.ends_with("/data.pkl"));
    entries
}

fn run(pickle: &[u8]) -> bool {
    let path = paths::scratch().join("archive");
    fs::write(&path, FRAME.around(pickle)).expect("the file can be written");
    weights::open(&path)
}

/// An archive whose last file, the pickle, is empty yet. To write all of its files anew for each input
/// would take longer than to read them.
struct Frame {
    archive: Vec<u8>,
    /// Where the header of the pickle is.
    header: usize,
    /// Where its content belongs, which is where the directory begins.
    content: usize,
    /// Where the directory has its entry.
    entry: usize,
}

static FRAME: LazyLock<Frame> =
    LazyLock::new(|| Frame::new().expect("an archive can be written to memory"));

impl Frame {
    fn new() -> ZipResult<Self> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let (pickle, others) = NETWORK.split_first().expect("there is a pickle");
        for (name, content) in others {
            writer.start_file(name, stored)?;
            writer.write_all(content)?;
        }
        writer.start_file(&pickle.0, stored)?;
        let archive = writer.finish()?.into_inner();
        let last = |mark: &[u8; 4]| {
            let found = archive.windows(4).rposition(|bytes| bytes == mark);
            found.expect("every archive has one")
        };
        // The end of an archive says where its directory begins.
        let place = archive.last_chunk::<6>().and_then(|end| end.first_chunk());
        let content = u32::from_le_bytes(*place.expect("it has an end"));
        Ok(Self {
            header: last(b"PK\x03\x04"),
            content: content as usize,
            entry: last(b"PK\x01\x02"),
            archive,
        })
    }

    fn around(&self, pickle: &[u8]) -> Vec<u8> {
        let (before, directory) = self.archive.split_at(self.content);
        let mut archive = [before, pickle, directory].concat();
        let length = pickle.len() as u32;
        // Checksum, and length as it is stored and as it was.
        let numbers = [crc32fast::hash(pickle), length, length];
        let mut put = |at: usize, number: u32| {
            archive[at..at + 4].copy_from_slice(&number.to_le_bytes());
        };
        for (place, number) in numbers.into_iter().enumerate() {
            put(self.header + 14 + 4 * place, number);
            put(self.entry + pickle.len() + 16 + 4 * place, number);
        }
        put(
            self.archive.len() + pickle.len() - 6,
            self.content as u32 + length,
        );
        archive
    }
}
