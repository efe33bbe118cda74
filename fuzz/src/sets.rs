//! Archives of data sets, and what says the classes of their images.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn_image_folder::prepare::{ImageNet, Labels, PrepareError, Prepared, cifar, imagenet};
use tar::{Builder, Header};

use crate::{
    paths,
    target::{Target, check_message},
};

/// A file as each of those that image folders are made of.
pub const TARGET: Target = Target {
    name: "sets",
    dictionary: "sets",
    run,
    seeds,
    // An image of 64 MiB, as it grows in memory and beside what it is compared with.
    memory: 256 << 20,
};

const FIXTURES: &str = "crates/burn-image-folder/tests/fixtures/prepare";
const VAL: &str = "ILSVRC2012_val_00000001.JPEG";

fn seeds() -> Vec<Vec<u8>> {
    let tables = paths::contents(FIXTURES, |name| name.ends_with(".mat"));
    let class = archive(&[("n01440764_1.JPEG", b"picture"), ("n01440764_2.JPEG", b"")]);
    let record = |label: u8| [&[label][..], &[7; 3072]].concat();
    let kits = tables.iter().map(|table| {
        archive(&[
            ("data/ILSVRC2012_validation_ground_truth.txt", b"2\n1\n"),
            ("data/meta.mat", table),
        ])
    });
    let lists = [
        "n01440764\n",
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2\n",
    ];
    let lists = lists.map(|list| list.as_bytes().to_vec());
    let archives = [
        archive(&[("n01440764.tar", &class)]),
        archive(&[
            ("batches.meta.txt", b"cat\nfrog\n"),
            ("data_batch_1.bin", &record(1)),
            ("test_batch.bin", &record(0)),
        ]),
    ];
    archives.into_iter().chain(kits).chain(lists).collect()
}

/// A tar archive.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        let added = builder.append_data(&mut header, name, *content);
        added.expect("an archive can be written to memory");
    }
    builder
        .into_inner()
        .expect("an archive can be written to memory")
}

/// Where the input is, beside an archive of validation images.
struct Scratch {
    folder: PathBuf,
    file: PathBuf,
    val: PathBuf,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let folder = paths::scratch().join("sets");
    fs::create_dir_all(&folder).expect("the folder can be made");
    let [file, val] = ["file", "val.tar"].map(|name| folder.join(name));
    fs::write(&val, archive(&[(VAL, b"picture")])).expect("the file can be written");
    Scratch { folder, file, val }
});

fn run(bytes: &[u8]) -> bool {
    let Scratch { folder, file, val } = &*SCRATCH;
    let root = folder.join("root");
    // Of the attempt before.
    let _ = fs::remove_dir_all(&root);
    let mut checked = bytes.to_vec();
    with_checksums(&mut checked);
    fs::write(file, &checked).expect("the file can be written");

    let train = ImageNet {
        train: Some(file),
        ..Default::default()
    };
    let listed = ImageNet {
        val: Some(val),
        labels: Some(file),
        ..Default::default()
    };
    let quiet = &mut |_: usize, _: usize| {};
    let mut accepted = tried(imagenet(train, &root.join("train"), quiet));
    accepted |= tried(imagenet(listed, &root.join("val"), quiet));
    for (name, kind) in [("fine", Labels::Fine), ("coarse", Labels::Coarse)] {
        accepted |= tried(cifar(file, kind, &root.join(name), quiet));
    }
    check_inside(folder);
    accepted
}

fn tried(made: Result<Prepared, PrepareError>) -> bool {
    if let Err(error) = &made {
        check_message(error);
    }
    made.is_ok()
}

/// Checks that nothing was written beside the folders that were to be made.
fn check_inside(scratch: &Path) {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
    };
    for name in names(scratch) {
        let known = ["file", "val.tar", "root"];
        assert!(
            known.iter().any(|&known| name == known),
            "{name:?} was written"
        );
    }
    for name in names(&scratch.join("root")) {
        let known = ["train", "val", "fine", "coarse"];
        assert!(
            known.iter().any(|&known| name == known),
            "{name:?} was written"
        );
    }
}

/// Makes the checksums of the headers of an archive right, and of those in it, without which readers go
/// no further.
pub(crate) fn with_checksums(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + 512) {
        let header = block.first_chunk_mut().map(tar_header);
        let size = match header {
            Some(Some(size)) => size,
            _ => return,
        };
        at += 512;
        let end = archive.len().min(at.saturating_add(size));
        with_checksums(&mut archive[at..end]);
        let Some(next) = size
            .checked_next_multiple_of(512)
            .and_then(|size| at.checked_add(size))
        else {
            return;
        };
        at = next;
    }
}

/// Makes a header's checksum right, and says how long its file is. None for what is no header.
fn tar_header(block: &mut [u8; 512]) -> Option<usize> {
    if &block[257..262] != b"ustar" {
        return None;
    }
    let mut header = Header::from_byte_slice(block).clone();
    header.set_cksum();
    block.copy_from_slice(header.as_bytes());
    header.size().ok()?.try_into().ok()
}
