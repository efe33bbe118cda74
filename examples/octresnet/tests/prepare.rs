//! `prepare` on small archives of the published ones' structure, and on hostile ones.

mod common;

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use common::*;
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

/// An archive of files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut builder, EntryType::Regular, name, content);
    }
    builder.into_inner().unwrap()
}

fn append(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, content: &[u8]) {
    let mut header = Header::new_ustar();
    // Not by `set_path`, which refuses what a hostile archive has.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

/// Every file below a folder, hidden ones too.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn train_archive() -> Vec<u8> {
    let tench = archive(&[
        ("n01440764_1.JPEG", &[1; 700]),
        ("n01440764_2.JPEG", &[2; 10]),
    ]);
    let goldfish = archive(&[("n01443537_1.JPEG", &[3; 100_000])]);
    archive(&[("n01440764.tar", &tench), ("n01443537.tar", &goldfish)])
}

const VAL: [&str; 2] = [
    "ILSVRC2012_val_00000001.JPEG",
    "ILSVRC2012_val_00000002.JPEG",
];

fn kit() -> Vec<u8> {
    let fixtures = workspace().join("crates/burn-image-folder/tests/fixtures/prepare");
    packed(&archive(&[
        ("ILSVRC2012_devkit_t12/readme.txt", b"hello"),
        (
            "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt",
            b"2\n1\n",
        ),
        (
            "ILSVRC2012_devkit_t12/data/meta.mat",
            &fs::read(fixtures.join("packed.mat")).unwrap(),
        ),
    ]))
}

/// Puts ImageNet's files into a folder, and says what should come out.
fn imagenet(place: &Workplace) -> BTreeMap<String, Vec<u8>> {
    fs::write(place.path("train.tar"), train_archive()).unwrap();
    let val = archive(&[(VAL[0], &[4; 30]), (VAL[1], &[5; 40])]);
    fs::write(place.path("val.tar"), val).unwrap();
    fs::write(place.path("kit.tar.gz"), kit()).unwrap();
    let files: [(&str, Vec<u8>); 5] = [
        ("train/n01440764/n01440764_1.JPEG", vec![1; 700]),
        ("train/n01440764/n01440764_2.JPEG", vec![2; 10]),
        ("train/n01443537/n01443537_1.JPEG", vec![3; 100_000]),
        ("val/n01443537/ILSVRC2012_val_00000001.JPEG", vec![4; 30]),
        ("val/n01440764/ILSVRC2012_val_00000002.JPEG", vec![5; 40]),
    ];
    files.map(|(name, content)| (name.into(), content)).into()
}

#[test]
fn imagenets_archives_become_an_image_folder_and_counts_that_differ_are_said() {
    let place = Workplace::new();
    let expected = imagenet(&place);
    let line = "prepare imagenet --train train.tar --val val.tar --labels kit.tar.gz --json";
    let output = run(&mut place.octresnet(line));
    let counts = "3 images of 2 classes, and was published with 1,281,167 images of 1,000 classes";
    assert!(output.stderr.contains(counts), "{output:?}");
    let made = output.json();
    assert_eq!(made["output"], "data/imagenet");
    assert_eq!(made["parts"][1]["images"], 3);
    assert_eq!(tree(&place.path("data/imagenet")), expected);

    // What is there is left as it is.
    fs::write(place.path("val.tar"), "no archive").unwrap();
    let again = run(&mut place.octresnet(line)).json();
    assert_eq!(again["parts"][0]["images"], serde_json::Value::Null);
    assert_eq!(tree(&place.path("data/imagenet")), expected);
}

#[test]
fn parts_may_come_one_by_one_and_labels_as_a_list() {
    let place = Workplace::new();
    let expected = imagenet(&place);
    fs::write(
        place.path("solution.csv"),
        "ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764 1 2 3 4\nILSVRC2012_val_00000001,n01443537 5 6 7 8\n",
    )
    .unwrap();
    let prepare = |flags: &str| {
        let line = format!("prepare imagenet {flags} --output sets/all");
        run(&mut place.octresnet(&line))
    };
    prepare("--train train.tar").good();
    prepare("--val val.tar --labels solution.csv").good();
    assert_eq!(tree(&place.path("sets/all")), expected);
}

#[test]
fn what_was_cut_off_has_no_name_and_goes_on() {
    let place = Workplace::new();
    let expected = imagenet(&place);
    let whole = train_archive();
    let line = "prepare imagenet --train train.tar --output out";
    // Within a file of a class, within a header, and between two classes with the mark of the end gone.
    for length in [whole.len() / 2, 3 * 512 + 100, 100] {
        fs::write(place.path("train.tar"), &whole[..length]).unwrap();
        run(&mut place.octresnet(line)).error(1, &["cannot read `train.tar"]);
        assert!(!place.path("out/train").exists());
    }
    // Left of an attempt with another archive, or half written.
    let hidden = place.path("out/.train.preparing");
    fs::create_dir_all(hidden.join("n00000000")).unwrap();
    fs::write(hidden.join("n00000000/foreign.JPEG"), "x").unwrap();
    fs::write(hidden.join("n01440764/n01440764_1.JPEG"), [9; 700]).unwrap();
    fs::write(hidden.join("n01440764/foreign.JPEG"), "x").unwrap();
    fs::write(place.path("train.tar"), &whole).unwrap();
    run(&mut place.octresnet(line)).good();
    let train: BTreeMap<_, _> = expected
        .into_iter()
        .filter(|(name, _)| name.starts_with("train/"))
        .collect();
    assert_eq!(tree(&place.path("out")), train);
}

/// Through a pipe that runs dry, so that it is killed in the middle of an image for certain.
#[cfg(unix)]
#[test]
fn killed_under_way_it_ends_with_the_same_folder() {
    use std::{
        ffi::CString,
        os::unix::ffi::OsStrExt,
        process::{Command, Stdio},
        thread,
        time::Duration,
    };

    let place = Workplace::new();
    let expected = imagenet(&place);
    let pipe = place.path("pipe.tar");
    let name = CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a string that ends with a zero and lives until the call returns.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_octresnet"))
        .current_dir(place.path(""))
        .args([
            "prepare", "imagenet", "--train", "pipe.tar", "--output", "out",
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut writer = fs::File::options().write(true).open(&pipe).unwrap();
    writer.write_all(&train_archive()[..10_000]).unwrap();
    let first = place.path("out/.train.preparing/n01440764/n01440764_2.JPEG");
    let there = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(20));
        first.exists()
    });
    assert!(there, "the first class was written");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(writer);
    assert!(!place.path("out/train").exists());

    let line = "prepare imagenet --train train.tar --val val.tar --labels kit.tar.gz --output out";
    run(&mut place.octresnet(line)).good();
    assert_eq!(tree(&place.path("out")), expected);
}

#[test]
fn hostile_archives_are_refused_and_write_nothing() {
    let place = Workplace::new();
    let mut cases: Vec<(Vec<u8>, &[&str])> = Vec::new();
    let inner = archive(&[("../../../../evil.JPEG", b"x")]);
    cases.push((archive(&[("n01440764.tar", &inner)]), &["leads out"]));
    cases.push((archive(&[("/tmp/n01440764.tar", b"")]), &["leads out"]));
    cases.push((archive(&[("../n01440764.tar", b"")]), &["leads out"]));
    let inner = archive(&[("a\\b.JPEG", b"x")]);
    cases.push((
        archive(&[("n01440764.tar", &inner)]),
        &["no name of an image"],
    ));
    for kind in [EntryType::Symlink, EntryType::Link] {
        let mut builder = Builder::new(Vec::new());
        append(&mut builder, kind, "n01440764.tar", b"");
        cases.push((builder.into_inner().unwrap(), &["n01440764.tar", "a link"]));
    }
    let mut builder = Builder::new(Vec::new());
    append(
        &mut builder,
        EntryType::GNULongName,
        "././@LongLink",
        &[b'a'; 5000],
    );
    cases.push((builder.into_inner().unwrap(), &["a name longer"]));
    // A header that promises a hundred gigabytes, without them.
    let mut header = Header::new_gnu();
    header.set_path("n01440764_1.JPEG").unwrap();
    header.set_size(100 << 30);
    header.set_cksum();
    let inner = header.as_bytes().to_vec();
    cases.push((archive(&[("n01440764.tar", &inner)]), &["at most 67108864"]));
    let twice = archive(&[("a.JPEG", b"x"), ("a.JPEG", b"y")]);
    cases.push((archive(&[("n01440764.tar", &twice)]), &["there twice"]));
    cases.push((
        archive(&[("cat.jpg", b"x")]),
        &["cat.jpg", "no archive of a class"],
    ));
    cases.push((b"no archive at all, but text".repeat(100), &["train.tar"]));
    cases.push((Vec::new(), &["no images"]));
    for (content, parts) in cases {
        fs::write(place.path("train.tar"), content).unwrap();
        let output = run(&mut place.octresnet("prepare imagenet --train train.tar --output out"));
        output.error(1, parts);
        assert!(!place.path("out/train").exists(), "{output:?}");
        assert!(!place.path("evil.JPEG").exists(), "{output:?}");
    }
    for (line, code, part) in [
        ("prepare imagenet", 1, "no archive was given"),
        ("prepare imagenet --val train.tar", 1, "development kit"),
        ("prepare imagenet --train nowhere.tar", 1, "nowhere.tar"),
        ("prepare cifar train.tar", 1, "binary version"),
        ("prepare nonsense", 2, "nonsense"),
    ] {
        run(&mut place.octresnet(line)).error(code, &[part]);
    }
}

/// Images of one colour per channel, with these labels in front.
fn records(images: &[(&[u8], [u8; 3])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (labels, colour) in images {
        bytes.extend_from_slice(labels);
        for value in colour {
            // The first pixel of a row is one brighter, so that rows and columns are told apart.
            let plane = (0..1024).map(|place| value + u8::from(place % 32 == 0));
            bytes.extend(plane);
        }
    }
    bytes
}

#[test]
fn cifars_archives_become_an_image_folder() {
    let place = Workplace::new();
    let train = records(&[(&[1, 0], [10, 20, 30]), (&[0, 1], [40, 50, 60])]);
    let test = records(&[(&[0, 0], [70, 80, 90]), (&[1, 1], [1, 2, 3])]);
    let hundred = archive(&[
        ("cifar-100-binary/train.bin", &train),
        ("cifar-100-binary/test.bin", &test),
        (
            "cifar-100-binary/fine_label_names.txt",
            b"apple\nmaple_tree\n\n",
        ),
        ("cifar-100-binary/coarse_label_names.txt", b"fruit\ntrees\n"),
    ]);
    fs::write(place.path("cifar-100-binary.tar.gz"), packed(&hundred)).unwrap();
    let names = |folder: &str| tree(&place.path(folder)).into_keys().collect::<Vec<_>>();
    run(&mut place.octresnet("prepare cifar cifar-100-binary.tar.gz")).good();
    let fine = [
        "train/apple/00000.png",
        "train/maple_tree/00001.png",
        "val/apple/00000.png",
        "val/maple_tree/00001.png",
    ];
    assert_eq!(names("data/cifar100"), fine);
    run(&mut place.octresnet("prepare cifar cifar-100-binary.tar.gz --coarse --output groups"))
        .good();
    let coarse = [
        "train/fruit/00001.png",
        "train/trees/00000.png",
        "val/fruit/00000.png",
        "val/trees/00001.png",
    ];
    assert_eq!(names("groups"), coarse);
    let image = image::open(place.path("data/cifar100/train/apple/00000.png"))
        .unwrap()
        .into_rgb8();
    assert_eq!(image.dimensions(), (32, 32));
    assert_eq!(image.get_pixel(0, 7).0, [11, 21, 31]);
    assert_eq!(image.get_pixel(7, 0).0, [10, 20, 30]);

    let ten = |batch: &[u8]| {
        packed(&archive(&[
            ("cifar-10-batches-bin/batches.meta.txt", b"cat\nfrog\n"),
            ("cifar-10-batches-bin/data_batch_1.bin", batch),
            (
                "cifar-10-batches-bin/data_batch_2.bin",
                &records(&[(&[0], [0; 3])]),
            ),
            (
                "cifar-10-batches-bin/test_batch.bin",
                &records(&[(&[0], [0; 3]), (&[1], [0; 3])]),
            ),
        ]))
    };
    let batch = records(&[(&[1], [0; 3])]);
    for (batch, part) in [
        (&batch[..3072], "no multiple"),
        (&records(&[(&[2], [0; 3])])[..], "label 2 of 2"),
    ] {
        fs::write(place.path("cifar-10-binary.tar.gz"), ten(batch)).unwrap();
        let output = run(&mut place.octresnet("prepare cifar cifar-10-binary.tar.gz"));
        output.error(1, &["data_batch_1.bin", part]);
        assert!(!place.path("data/cifar10/train").exists());
    }
    let whole = ten(&batch);
    fs::write(
        place.path("cifar-10-binary.tar.gz"),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    let output = run(&mut place.octresnet("prepare cifar cifar-10-binary.tar.gz"));
    output.error(1, &["cifar-10-binary.tar.gz"]);
    fs::write(place.path("cifar-10-binary.tar.gz"), whole).unwrap();
    run(&mut place.octresnet("prepare cifar cifar-10-binary.tar.gz")).good();
    let expected = [
        "train/cat/00001.png",
        "train/frog/00000.png",
        "val/cat/00000.png",
        "val/frog/00001.png",
    ];
    assert_eq!(names("data/cifar10"), expected);
    let train = "train --config cifar10-oct-resnet-20 --epochs 1 --width 0.25 --batch-size 2 --workers 0 --device flex --output run";
    run(&mut place.octresnet(train)).good();
}

#[test]
#[cfg(not(feature = "parquet"))]
fn a_build_without_parquet_says_how_to_get_it() {
    let place = Workplace::new();
    run(&mut place.octresnet("prepare parquet images"))
        .error(1, &["--features parquet", "docs/data.md"]);
}

/// Written by `make_parquet.py`, beside the files.
#[test]
#[cfg(feature = "parquet")]
fn parquet_files_become_an_image_folder() {
    let place = Workplace::new();
    let folder = workspace().join("crates/burn-image-folder/tests/fixtures/prepare/parquet");
    let prepare = |flags: &str| {
        let line = format!("prepare parquet {} {flags}", folder.display());
        run(&mut place.octresnet(&line))
    };
    prepare("").error(1, &["--val test"]);
    let made = prepare("--val test --output set --json").json();
    assert_eq!(made["parts"][0]["images"], 2);
    assert_eq!(made["parts"][1]["images"], 5);
    let files = tree(&place.path("set"));
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let expected = [
        "train/cat/00000000.png",
        "train/cat/00000002.png",
        "train/cat/00000004.png",
        "train/dog/00000001.jpg",
        "train/dog/00000003.jpg",
        "val/cat/00000000.png",
        "val/dog/00000001.jpg",
    ];
    assert_eq!(names, expected);
    let image = image::load_from_memory(&files["train/cat/00000002.png"]).unwrap();
    assert_eq!(image.into_rgb8().get_pixel(0, 0).0, [20, 40, 60]);
    let train = format!("train {TINY} --data set --epochs 1 --output run");
    run(&mut place.octresnet(&train)).good();
}
