//! Files that are no good images: what the loader makes of each kind, and of the images beside them.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use burn_image_folder::{
    ImageDataset, ImageList, ImageLoader, LoaderConfig, Normalize, OnUnreadable, TrainTransform,
    Transform, shown,
};
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::{TempDir, tempdir};

/// Files that cannot be used, by name, with the end of the message.
const BAD: [(&str, &str); 7] = [
    ("cut.jpg", "the file is truncated"),
    ("cut.png", "the file is truncated"),
    ("empty.jpg", "the file is empty"),
    ("gone.jpg", "No such file or directory (os error 2)"),
    (
        "huge.jpg",
        "10000x10000 pixels, at most 89 megapixels are decoded: `max_megapixels` sets the limit",
    ),
    (
        "huge.bmp",
        "10000x10000 pixels, at most 89 megapixels are decoded: `max_megapixels` sets the limit",
    ),
    (
        "page.jpg",
        "the content is not an image in a supported format",
    ),
];

/// Files that can be used although something is odd about them.
const ODD: [&str; 2] = ["animated.gif", "png.jpg"];

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn scene() -> RgbImage {
    RgbImage::from_fn(60, 44, |x, y| {
        Rgb([4 * x, 5 * y, x + 2 * y].map(|v| v as u8))
    })
}

/// A JPEG of which only the header says that it has 100 megapixels.
fn huge_jpeg() -> Vec<u8> {
    let mut jpeg = encoded(&scene(), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    for at in [frame + 5, frame + 7] {
        jpeg[at..at + 2].copy_from_slice(&10_000_u16.to_be_bytes());
    }
    jpeg
}

fn huge_bmp() -> Vec<u8> {
    let mut bmp = encoded(&scene(), ImageFormat::Bmp);
    for at in [18, 22] {
        bmp[at..at + 4].copy_from_slice(&10_000_u32.to_le_bytes());
    }
    bmp
}

/// Twenty good images, the odd ones and, at first as good images, the bad ones.
fn folder() -> (TempDir, Arc<ImageList>) {
    let folder = tempdir().unwrap();
    for class in ["a", "b"] {
        fs::create_dir(folder.path().join(class)).unwrap();
    }
    let file = |name: &str| folder.path().join("a").join(name);
    for number in 0..10 {
        scene().save(file(&format!("good{number}.jpg"))).unwrap();
        scene()
            .save(folder.path().join(format!("b/{number}.png")))
            .unwrap();
    }
    for (name, _) in BAD {
        fs::write(file(name), encoded(&scene(), ImageFormat::Png)).unwrap();
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::copy(fixtures.join("animated.gif"), file(ODD[0])).unwrap();
    fs::write(file(ODD[1]), encoded(&scene(), ImageFormat::Png)).unwrap();
    let list = ImageList::open(folder.path()).unwrap();
    assert_eq!(list.len(), 20 + ODD.len() + BAD.len());
    (folder, Arc::new(list))
}

/// Makes the bad files bad.
fn spoil(folder: &TempDir) {
    let jpeg = encoded(&scene(), ImageFormat::Jpeg);
    let png = encoded(&scene(), ImageFormat::Png);
    for (name, _) in BAD {
        let file = folder.path().join("a").join(name);
        let content = match name {
            "gone.jpg" => {
                fs::remove_file(file).unwrap();
                continue;
            }
            "cut.jpg" => jpeg[..jpeg.len() / 2].to_vec(),
            "cut.png" => png[..png.len() / 2].to_vec(),
            "empty.jpg" => Vec::new(),
            "huge.jpg" => huge_jpeg(),
            "huge.bmp" => huge_bmp(),
            _ => b"<html>404 not found</html>".to_vec(),
        };
        fs::write(file, content).unwrap();
    }
}

fn dataset(images: &Arc<ImageList>) -> ImageDataset {
    let transform = TrainTransform {
        size: 16,
        ..TrainTransform::default()
    };
    ImageDataset::new(images.clone(), Transform::Train(transform), 5).unwrap()
}

fn loader(images: &Arc<ImageList>, workers: usize, on_unreadable: OnUnreadable) -> ImageLoader {
    let config = LoaderConfig {
        batch_size: 4,
        shuffle: Some(2),
        workers,
        on_unreadable,
        ..LoaderConfig::default()
    };
    ImageLoader::new(
        dataset(images),
        Normalize::default(),
        config,
        &Device::flex(),
    )
    .unwrap()
}

/// Batch sizes of an epoch, and the pixels of each image.
fn epoch(loader: &ImageLoader) -> (Vec<usize>, Vec<(usize, Vec<f32>)>) {
    let (mut sizes, mut images) = (Vec::new(), Vec::new());
    for batch in loader.iter() {
        let batch = batch.unwrap();
        sizes.push(batch.indexes.len());
        let pixels: Vec<f32> = batch.images.into_data().try_to_vec().unwrap();
        let pixels = pixels.chunks_exact(3 * 16 * 16).map(<[f32]>::to_vec);
        images.extend(batch.indexes.into_iter().zip(pixels));
    }
    images.sort_by_key(|(index, _)| *index);
    (sizes, images)
}

#[test]
fn bad_files_are_left_out_and_change_nothing_about_the_others() {
    let (folder, images) = folder();
    let (_, mut expected) = epoch(&loader(&images, 2, OnUnreadable::Skip));
    assert_eq!(expected.len(), images.len());
    spoil(&folder);
    let is_bad = |index: usize| {
        let path = images.path(index);
        BAD.iter().any(|(name, _)| path.ends_with(name))
    };
    expected.retain(|&(index, _)| !is_bad(index));
    for workers in [0, 1, 2, 8] {
        let loader = loader(&images, workers, OnUnreadable::Skip);
        let (sizes, found) = epoch(&loader);
        assert_eq!(sizes, [4, 4, 4, 4, 4, 2], "{workers} workers");
        assert!(found == expected, "{workers} workers");
        let mut named: Vec<_> = loader.report().paths();
        named.sort();
        let bad = (0..images.len()).filter(|&index| is_bad(index));
        assert_eq!(
            named,
            bad.map(|index| images.path(index)).collect::<Vec<_>>()
        );
        assert_eq!(loader.report().count(), BAD.len());
    }
}

#[test]
fn each_bad_file_is_one_line_that_says_why() {
    let (folder, images) = folder();
    spoil(&folder);
    for (name, reason) in BAD {
        let index = (0..images.len()).find(|&index| images.path(index).ends_with(name));
        let message = dataset(&images)
            .load(index.unwrap())
            .unwrap_err()
            .to_string();
        let path = folder.path().join("a").join(name);
        assert_eq!(
            message,
            format!("cannot read image `{}`: {reason}", shown(&path))
        );
    }
    for workers in [0, 2] {
        let loader = loader(&images, workers, OnUnreadable::Fail);
        let errors: Vec<_> = loader.iter().filter_map(Result::err).collect();
        let [error] = &errors[..] else {
            panic!("{errors:?}")
        };
        let message = error.to_string();
        assert!(message.starts_with("cannot read image `") && !message.contains('\n'));
    }
}

#[test]
fn the_limit_on_pixels_is_a_setting() {
    let (_folder, images) = folder();
    let good = (0..images.len()).find(|&index| images.path(index).ends_with("good3.jpg"));
    let png = (0..images.len()).find(|&index| images.path(index).ends_with("b/3.png"));
    for index in [good.unwrap(), png.unwrap()] {
        assert!(dataset(&images).with_max_megapixels(1).load(index).is_ok());
        let error = dataset(&images)
            .with_max_megapixels(0)
            .load(index)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("60x44 pixels, at most 0 megapixels")
        );
    }
}

#[test]
fn a_file_that_vanishes_in_mid_epoch_is_left_out() {
    let (folder, images) = folder();
    let loader = loader(&images, 0, OnUnreadable::Skip);
    let mut batches = loader.iter();
    let first = batches.next().unwrap().unwrap();
    let rest: Vec<_> = (0..images.len())
        .filter(|index| !first.indexes.contains(index))
        .collect();
    for &index in &rest[..5] {
        fs::remove_file(images.path(index)).unwrap();
    }
    let later: Vec<_> = batches.map(|batch| batch.unwrap().indexes).collect();
    let sizes: Vec<_> = later.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 4, 4, 4]);
    let mut seen = later.concat();
    seen.sort();
    assert_eq!(seen[..], rest[5..]);
    assert_eq!(loader.report().count(), 5);
    drop(folder);
}
