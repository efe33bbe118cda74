//! Texts as the index of an image folder.

use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use burn_image_folder::{DataError, ImageFolder, ImageList, ListConfig, SplitConfig};

use crate::{
    paths,
    target::{Target, check_message},
};

/// The lines of an index after its first, which has their checksum. `@` stands for the folder.
pub const TARGET: Target = Target {
    name: "index",
    dictionary: "index",
    run,
    seeds: || paths::contents("fuzz/seeds/index", |name| name.ends_with(".txt")),
    memory: 64 << 20,
};

/// A folder of two classes, and its index.
struct Indexed {
    root: PathBuf,
    index: PathBuf,
    /// What an index begins with, before the checksum.
    magic: String,
}

static INDEXED: LazyLock<Indexed> = LazyLock::new(|| {
    let root = paths::scratch().join("indexed");
    for file in [
        "a/1.png",
        "a/2.png",
        "a/more/3.png",
        "b/1.png",
        "b/2.png",
        "b/notes.txt",
    ] {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("it can be made");
        File::create(file).expect("the file can be made");
    }
    for folder in ["a/more", "a", "b", "."] {
        let folder = File::open(root.join(folder)).expect("the folder is there");
        let time = UNIX_EPOCH + Duration::from_secs(1000);
        folder.set_modified(time).expect("its time can be set");
    }
    let index = paths::scratch().join("index");
    open(&root, &index).expect("the folder is good");
    let written = fs::read_to_string(&index).expect("the index was written");
    let (magic, _) = written.split_once(' ').expect("a checksum follows");
    let magic = magic.into();
    Indexed { root, index, magic }
});

fn open(root: &Path, index: &Path) -> Result<ImageFolder, DataError> {
    let list = ListConfig {
        index: Some(index.into()),
        ..ListConfig::default()
    };
    ImageFolder::open_with(root, &SplitConfig::default(), &list)
}

fn run(bytes: &[u8]) -> bool {
    let Indexed { root, index, .. } = &*INDEXED;
    fs::write(index, sealed(bytes)).expect("the index can be written");
    let folder = match open(root, index) {
        Ok(folder) => folder,
        Err(error) => {
            check_message(&error);
            return false;
        }
    };
    [folder.train, folder.val].iter().for_each(check);
    true
}

/// The file with these lines, or with just these bytes if they are no lines.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.to_vec();
    };
    let Indexed { root, magic, .. } = &*INDEXED;
    let text = text.replace('@', root.to_str().expect("its name is UTF-8"));
    // FNV-1a.
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{magic} {sum:016x}\n{text}").into_bytes()
}

/// Every image of a list has a class, and a file in the folder.
fn check(list: &ImageList) {
    let counts = list.class_counts();
    assert_eq!(counts.iter().sum::<usize>(), list.len());
    for image in 0..list.len() {
        assert!(list.class(image) < counts.len());
        let path = list.path(image);
        let inside = path
            .strip_prefix(&INDEXED.root)
            .expect("it is below the folder");
        let plain = |part| matches!(part, Component::Normal(_));
        assert!(inside.components().all(plain), "{path:?} leads out");
    }
}
