//! `prepare::parquet` on files that the same library writes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageFormat, RgbImage};
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use burn_image_folder::prepare::{ParquetSet, Prepared, parquet};

/// As the library `datasets` writes it.
const SCHEMA: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";
const FEATURES: &str = r#"{"info": {"features": {
    "image": {"_type": "Image"}, "label": {"names": ["cat", "a/dog"], "_type": "ClassLabel"}
}}}"#;

type Cells = Vec<Option<Vec<u8>>>;

/// A file with a row of images, of paths and of numbers in each group of rows.
struct Content {
    schema: &'static str,
    features: Option<&'static str>,
    packing: Compression,
    groups: Vec<(Cells, Vec<Option<i64>>)>,
}

impl Default for Content {
    fn default() -> Self {
        let image = |value: u8, format| Some(picture(value, format));
        let (png, jpeg) = (ImageFormat::Png, ImageFormat::Jpeg);
        Self {
            schema: SCHEMA,
            features: Some(FEATURES),
            packing: Compression::SNAPPY,
            groups: vec![
                (vec![image(1, png), image(2, jpeg)], vec![Some(0), Some(1)]),
                (vec![image(3, png)], vec![Some(0)]),
            ],
        }
    }
}

fn picture(value: u8, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let image = RgbImage::from_pixel(5, 4, image::Rgb([value, 0, 9]));
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

impl Content {
    fn write(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let features = self.features.map(|features| features.to_string());
        let features = features.map(|text| vec![KeyValue::new("huggingface".into(), text)]);
        let properties = WriterProperties::builder()
            .set_compression(self.packing)
            .set_key_value_metadata(features)
            .build();
        let schema = Arc::new(parse_message_type(self.schema).unwrap());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        for (images, classes) in &self.groups {
            let mut group = writer.next_row_group().unwrap();
            while let Some(mut column) = group.next_column().unwrap() {
                match column.untyped() {
                    ColumnWriter::ByteArrayColumnWriter(column) => {
                        let values: Vec<ByteArray> = images
                            .iter()
                            .flatten()
                            .cloned()
                            .map(ByteArray::from)
                            .collect();
                        let nested = self.schema.contains("group");
                        let level =
                            |image: &Option<_>| i16::from(image.is_some()) + i16::from(nested);
                        let levels: Vec<_> = images.iter().map(level).collect();
                        column.write_batch(&values, Some(&levels), None).unwrap();
                    }
                    ColumnWriter::Int64ColumnWriter(column) => {
                        let values: Vec<_> = classes.iter().copied().flatten().collect();
                        let levels: Vec<_> = classes
                            .iter()
                            .map(|class| i16::from(class.is_some()))
                            .collect();
                        column.write_batch(&values, Some(&levels), None).unwrap();
                    }
                    _ => unreachable!("no other column is written"),
                }
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        writer.close().unwrap();
    }
}

/// The files of an image folder.
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

fn make(set: ParquetSet<'_>, root: &Path) -> Result<Prepared, String> {
    parquet(set, root, &mut |_, _| ()).map_err(|error| error.to_string())
}

/// What goes wrong with a file of this content.
fn error(content: Content) -> String {
    let folder = tempfile::tempdir().unwrap();
    content.write(&folder.path().join("train.parquet"));
    let paths = [folder.path().to_path_buf()];
    let set = ParquetSet {
        paths: &paths,
        ..ParquetSet::default()
    };
    let root = folder.path().join("out");
    let error = make(set, &root).unwrap_err();
    assert!(!root.join("train").exists());
    error
}

#[test]
fn tables_become_an_image_folder_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("food/data");
    Content::default().write(&data.join("train-00000-of-00002.parquet"));
    let plain = Content {
        packing: Compression::UNCOMPRESSED,
        ..Content::default()
    };
    plain.write(&data.join("train-00001-of-00002.parquet"));
    let packed = Content {
        packing: Compression::GZIP(Default::default()),
        ..Content::default()
    };
    packed.write(&data.join("test-00000-of-00001.parquet"));
    let paths = [folder.path().join("food")];
    let root = folder.path().join("out");
    let set = ParquetSet {
        paths: &paths,
        ..ParquetSet::default()
    };
    let asked = make(set, &root).unwrap_err();
    assert!(asked.contains("--val test"), "{asked}");
    let made = make(
        ParquetSet {
            val: Some("test"),
            ..set
        },
        &root,
    )
    .unwrap();
    let counts: Vec<_> = made.parts.iter().map(|part| part.counts).collect();
    assert_eq!(counts, [Some([2, 3]), Some([2, 6])]);
    let files = tree(&root);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let expected = [
        "train/a_dog/00000001.jpg",
        "train/a_dog/00000004.jpg",
        "train/cat/00000000.png",
        "train/cat/00000002.png",
        "train/cat/00000003.png",
        "train/cat/00000005.png",
        "val/a_dog/00000001.jpg",
        "val/cat/00000000.png",
        "val/cat/00000002.png",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        files["train/cat/00000005.png"],
        picture(3, ImageFormat::Png)
    );
    assert_eq!(
        files["val/a_dog/00000001.jpg"],
        picture(2, ImageFormat::Jpeg)
    );
}

#[test]
fn what_is_not_said_is_guessed_by_names_or_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("train.parquet");
    let raw = Content {
        schema: "message schema { optional binary img; optional int64 coarse; optional int64 label; }",
        features: None,
        ..Content::default()
    };
    raw.write(&file);
    let paths = [file];
    let set = ParquetSet {
        paths: &paths,
        ..ParquetSet::default()
    };
    let root = folder.path().join("out");
    assert_eq!(make(set, &root).unwrap().parts.len(), 1);
    let names: Vec<_> = tree(&root).into_keys().collect();
    assert_eq!(names[2], "train/0001/00000001.jpg");

    let two = r#"{"info": {"features": {
        "coarse": {"_type": "ClassLabel", "names": ["x", "y"]}, "label": {"_type": "ClassLabel", "names": ["x", "y"]}
    }}}"#;
    let two = Content {
        features: Some(two),
        ..raw
    };
    two.write(&paths[0]);
    let root = folder.path().join("second");
    let asked = make(set, &root).unwrap_err();
    assert!(
        asked.contains("as label: it could be `coarse` or `label`"),
        "{asked}"
    );
    make(
        ParquetSet {
            label: Some("coarse"),
            ..set
        },
        &root,
    )
    .unwrap();
    assert!(root.join("train/x/00000000.png").is_file());
    let absent = make(
        ParquetSet {
            label: Some("x"),
            ..set
        },
        &root.join("a"),
    )
    .unwrap_err();
    assert!(absent.contains("no column `x`"), "{absent}");
}

#[test]
fn rows_without_image_or_class_are_named() {
    let with = |images: Cells, classes: Vec<Option<i64>>| {
        error(Content {
            groups: vec![(images, classes)],
            ..Content::default()
        })
    };
    let image = || Some(picture(1, ImageFormat::Png));
    for (error, part) in [
        (with(vec![image(), None], vec![Some(0); 2]), "no image"),
        (
            with(vec![image(), image()], vec![Some(0), None]),
            "no class",
        ),
        (
            with(vec![image(), image()], vec![Some(0), Some(2)]),
            "class is 2 of 2",
        ),
        (
            with(vec![image(), image()], vec![Some(0), Some(-1)]),
            "class is -1 of 2",
        ),
    ] {
        assert!(error.contains("`row 1`") && error.contains(part), "{error}");
    }
    assert!(with(Vec::new(), Vec::new()).contains("no images"));
    let schema =
        "message schema { optional group image { optional binary other; } optional int64 label; }";
    let other = error(Content {
        schema,
        ..Content::default()
    });
    assert!(other.contains("no column to take as image"), "{other}");
}

#[test]
fn files_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let of = |path: PathBuf| {
        let paths = [path];
        let set = ParquetSet {
            paths: &paths,
            ..ParquetSet::default()
        };
        make(set, &folder.path().join("out")).unwrap_err()
    };
    assert!(of(folder.path().into()).contains(".parquet"));
    assert!(of(folder.path().join("none")).contains("none"));
    let file = folder.path().join("train.parquet");
    for content in [&b""[..], b"PAR1", b"no table, but text of some length"] {
        fs::write(&file, content).unwrap();
        assert!(of(file.clone()).contains("train.parquet"));
    }
}

/// Every byte of a file is changed: whatever comes of it, it is no panic, and not fewer rows without a
/// word.
#[test]
fn damaged_files_are_errors_and_no_panics() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["train-0.parquet", "train-1.parquet"].map(|name| folder.path().join(name));
    let content = Content::default();
    content.write(&paths[0]);
    // Behind it a file with a fault of its own, by which it is known that the first one was read.
    let fault = Content {
        groups: vec![(vec![content.groups[0].0[0].clone()], vec![None])],
        ..Content::default()
    };
    fault.write(&paths[1]);
    let whole = fs::read(&paths[0]).unwrap();
    let set = ParquetSet {
        paths: &paths,
        ..ParquetSet::default()
    };
    let root = folder.path().join("out");
    let mut read = 0;
    let mut try_with = |content: &[u8]| {
        fs::write(&paths[0], content).unwrap();
        let mut rows = 0;
        let error = parquet(set, &root, &mut |done, _| rows = done)
            .unwrap_err()
            .to_string();
        if error.contains("train-1.parquet") {
            assert_eq!(rows, 3, "{error}");
            read += 1;
        } else {
            assert!(error.contains("train-0.parquet"), "{error}");
        }
    };
    try_with(&whole);
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] ^= [0x01, 0xff][place % 2];
        try_with(&damaged);
        if place % 8 == 0 {
            try_with(&whole[..place]);
        }
    }
    // The bytes of images may be any.
    assert!(read > 50 && read < whole.len(), "{read}");
}
