//! Files as pictures.

use std::fs;
use std::sync::LazyLock;

use burn_image_folder::{
    DataError, EvalTransform, ImageDataset, ImageList, TrainTransform, Transform, decode_rgb_bytes,
};

use crate::{
    paths,
    target::{Target, check_message},
};

/// A file's content as a picture, whole and as the crops that training and validation want of it.
pub const TARGET: Target = Target {
    name: "pictures",
    dictionary: "pictures",
    run,
    seeds,
    // A picture of 89 million pixels that a decoder makes of two copies.
    memory: 2 << 30,
};

fn seeds() -> Vec<Vec<u8>> {
    // Beside each picture lies what comes out, as a PNG file of the same name.
    let is_picture = |name: &str| name.matches('.').count() == 1;
    let mut seeds = paths::contents("crates/burn-image-folder/tests/fixtures/corpus", is_picture);
    seeds.extend(paths::contents("fuzz/seeds/pictures", |_| true));
    seeds
}

/// A folder of one picture, as it is trained on and validated on.
struct Folder {
    file: std::path::PathBuf,
    views: [ImageDataset; 2],
}

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let root = paths::scratch().join("pictures");
    let file = root.join("class/picture.jpg");
    fs::create_dir_all(root.join("class")).expect("the folder can be made");
    fs::write(&file, "").expect("the file can be written");
    let images = ImageList::open(&root).expect("there is an image");
    let views = [
        Transform::Train(TrainTransform {
            size: 8,
            ..Default::default()
        }),
        Transform::Eval(EvalTransform {
            size: 8,
            ..Default::default()
        }),
    ];
    let views = views.map(|view| {
        let dataset = ImageDataset::new(images.clone(), view, 0).expect("the transform is valid");
        dataset.with_max_megapixels(1)
    });
    Folder { file, views }
});

fn run(bytes: &[u8]) -> bool {
    let decoded = decode_rgb_bytes(bytes);
    if let Err(error) = &decoded {
        check_message(error);
    }
    let Folder { file, views } = &*FOLDER;
    fs::write(file, with_checksums(bytes)).expect("the file can be written");
    for view in views {
        match view.load(0) {
            Ok(item) => assert_eq!(item.pixels.len(), 3 * 8 * 8),
            Err(error @ DataError::Unreadable { .. }) => check_message(&error),
            Err(error) => panic!("an error that is not the file's: {error}"),
        }
    }
    decoded.is_ok()
}

/// The same with the checksums of a PNG file's chunks made right, without which decoders go no
/// further.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if !bytes.starts_with(b"\x89PNG") {
        return bytes;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let end = at + 8 + u32::from_be_bytes(*length) as usize;
        let Some(chunk) = bytes.get(at + 4..end) else {
            break;
        };
        let sum = crc32fast::hash(chunk).to_be_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else {
            break;
        };
        place.copy_from_slice(&sum);
        at = end + 4;
    }
    bytes
}
