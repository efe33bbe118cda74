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
    let archive = with_pickle(pickle).expect("an archive can be written to memory");
    fs::write(&path, archive).expect("the file can be written");
    weights::open(&path)
}

fn with_pickle(pickle: &[u8]) -> ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (number, (name, content)) in NETWORK.iter().enumerate() {
        writer.start_file(name, stored)?;
        writer.write_all(if number == 0 { pickle } else { content })?;
    }
    Ok(writer.finish()?.into_inner())
}
