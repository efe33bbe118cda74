//! Indexing folders: layouts, splits, and every error before training starts.

use std::fs;
use std::path::Path;

use burn_image_folder::{
    DataError, FilesBy, ImageFolder, ImageList, ListConfig, SplitConfig, list_images,
};
use tempfile::{TempDir, tempdir};

/// A folder with empty files: an index does not open them.
fn tree(files: &[&str]) -> TempDir {
    let folder = tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        match file.ends_with('/') {
            true => fs::create_dir_all(path).unwrap(),
            false => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
    }
    folder
}

fn open(folder: &TempDir) -> Result<ImageFolder, DataError> {
    ImageFolder::open(folder.path(), &SplitConfig::default())
}

/// Paths relative to `root` with their classes.
fn entries(list: &ImageList, root: &Path) -> Vec<(String, usize)> {
    let entry = |index| {
        let path = list.path(index);
        let path = path.strip_prefix(root).unwrap().to_str().unwrap();
        (path.replace('\\', "/"), list.class(index))
    };
    (0..list.len()).map(entry).collect()
}

/// The message, which names the folder as `ROOT`.
fn message<T: std::fmt::Debug>(result: Result<T, DataError>, root: &Path) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message.replace(root.to_str().unwrap(), "ROOT")
}

#[test]
fn a_train_and_val_pair_is_read_sorted() {
    let folder = tree(&[
        "train/b/2.PNG",
        "train/b/10.jpeg",
        "train/b/deep/er/1.webp",
        "train/b/notes.txt",
        "train/b/.hidden.png",
        "train/b/.cache/1.png",
        "train/a/x.jpg",
        "train/readme.md",
        "validation/a/y.tif",
        "validation/b/z.ppm",
        "other/stuff.bin",
    ]);
    let index = open(&folder).unwrap();
    assert_eq!(index.classes, ["a", "b"]);
    let expected = [
        ("train/a/x.jpg", 0),
        ("train/b/10.jpeg", 1),
        ("train/b/2.PNG", 1),
        ("train/b/deep/er/1.webp", 1),
    ];
    let expected = expected.map(|(path, class)| (path.to_string(), class));
    assert_eq!(entries(&index.train, folder.path()), expected);
    assert_eq!(index.train.class_counts(), [1, 3]);
    assert_eq!(index.val.class_counts(), [1, 1]);
    assert_eq!(index.val.path(1), folder.path().join("validation/b/z.ppm"));
}

#[test]
fn a_single_folder_is_split_per_class_by_the_seed() {
    let mut files: Vec<String> = (0..50).map(|i| format!("a/{i}.jpg")).collect();
    files.extend((0..3).map(|i| format!("b/{i}.jpg")));
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let folder = tree(&files);
    let split = |seed| {
        let config = SplitConfig {
            val_fraction: 0.1,
            seed,
        };
        let index = ImageFolder::open(folder.path(), &config).unwrap();
        assert_eq!(index.train.class_counts(), [45, 2]);
        assert_eq!(index.val.class_counts(), [5, 1]);
        let train = entries(&index.train, folder.path());
        let val = entries(&index.val, folder.path());
        let mut all = [train.clone(), val.clone()].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 53);
        assert!(train.is_sorted() && val.is_sorted());
        val
    };
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
    // Pinned: another machine or release must not move images between the sides.
    let names: Vec<_> = split(7).into_iter().map(|(name, _)| name).collect();
    let pinned = [
        "a/3.jpg", "a/31.jpg", "a/44.jpg", "a/46.jpg", "a/5.jpg", "b/2.jpg",
    ];
    assert_eq!(names, pinned);
}

#[test]
fn a_class_may_be_called_train() {
    let folder = tree(&["train/1.jpg", "train/2.jpg", "car/1.jpg", "car/2.jpg"]);
    assert_eq!(open(&folder).unwrap().classes, ["car", "train"]);
}

#[test]
fn every_bad_folder_is_told_apart() {
    let root = tempdir().unwrap();
    let missing = root.path().join("nowhere");
    let result = ImageFolder::open(&missing, &SplitConfig::default());
    assert_eq!(
        message(result, root.path()),
        "`ROOT/nowhere` does not exist: check the path"
    );

    let cases: [(&[&str], &str); 8] = [
        (
            &[],
            "`ROOT` holds no class folders: put the images of each class in a folder named after it",
        ),
        (
            &["1.jpg"],
            "`ROOT` holds no class folders: put the images of each class in a folder named after it",
        ),
        (
            &["a/", "b/notes.txt"],
            "no images in any of the 2 class folders of `ROOT`: files ending in jpg, png, bmp, webp, gif, tiff or ppm are looked for",
        ),
        (
            &["a/1.jpg", "a/2.jpg", "b/"],
            "class `b` has no images in `ROOT/b`: add some or remove the folder",
        ),
        (
            &["train/a/1.jpg", "val/a/"],
            "no images in any of the 1 class folders of `ROOT/val`: files ending in jpg, png, bmp, webp, gif, tiff or ppm are looked for",
        ),
        (
            &["train/a/1.jpg"],
            "`ROOT` has a `train` folder but no `val` or `validation` folder beside it: add one, or give the `train` folder itself to split it",
        ),
        (
            &[
                "train/a/1.jpg",
                "train/b/1.jpg",
                "val/a/1.jpg",
                "val/c/1.jpg",
            ],
            "train and val have different classes: only in train: `b`; only in val: `c`; make them the same",
        ),
        (
            &["a/1.jpg", "a/2.jpg", "b/1.jpg"],
            "class `b` has 1 image, which cannot be in both train and validation: add images or provide `train` and `val` folders",
        ),
    ];
    for (files, expected) in cases {
        let folder = tree(files);
        assert_eq!(message(open(&folder), folder.path()), expected);
    }

    let folder = tree(&["a"]);
    let result = ImageFolder::open(folder.path().join("a"), &SplitConfig::default());
    assert_eq!(
        message(result, folder.path()),
        "`ROOT/a` is not a folder: give the folder that holds the class folders"
    );

    let folder = tree(&["a/1.jpg", "a/2.jpg"]);
    for fraction in [0.0, 1.0, f64::NAN] {
        let config = SplitConfig {
            val_fraction: fraction,
            seed: 0,
        };
        assert_eq!(
            message(ImageFolder::open(folder.path(), &config), folder.path()),
            format!("`val_fraction` is {fraction}: it must be between 0 and 1, both excluded")
        );
    }
}

#[test]
fn a_thousand_missing_classes_do_not_flood_the_terminal() {
    let files: Vec<_> = (0..30).map(|i| format!("train/{i}/1.jpg")).collect();
    let mut files: Vec<_> = files.iter().map(String::as_str).collect();
    files.push("val/0/1.jpg");
    let folder = tree(&files);
    let message = message(open(&folder), folder.path());
    assert!(
        message.contains("`18` and 19 more; only in val: none"),
        "{message}"
    );
}

#[test]
fn evaluation_numbers_classes_as_the_model_does() {
    let classes = ["zebra", "ant", "bee"].map(String::from);
    let folder = tree(&["val/bee/1.jpg", "val/zebra/1.jpg", "train/wasp/1.jpg"]);
    let list = ImageFolder::open_eval(folder.path(), &classes, FilesBy::Extension).unwrap();
    let expected = [("val/zebra/1.jpg", 0), ("val/bee/1.jpg", 2)];
    let expected = expected.map(|(path, class)| (path.to_string(), class));
    assert_eq!(entries(&list, folder.path()), expected);
    assert_eq!(list.class_counts(), [1, 0, 1]);

    let plain = tree(&["ant/1.jpg"]);
    let list = ImageFolder::open_eval(plain.path(), &classes, FilesBy::Extension).unwrap();
    assert_eq!(entries(&list, plain.path()), [("ant/1.jpg".to_string(), 1)]);

    let result = ImageFolder::open_eval(folder.path().join("train"), &classes, FilesBy::Extension);
    assert_eq!(
        message(result, folder.path()),
        "`ROOT/train` has classes that the model does not know: `wasp`; it knows `zebra`, `ant`, `bee`"
    );
    let empty = tree(&["ant/1.jpg", "bee/"]);
    let result = ImageFolder::open_eval(empty.path(), &classes, FilesBy::Extension);
    assert!(message(result, empty.path()).starts_with("class `bee` has no images"));
}

#[test]
fn images_to_predict_are_a_file_or_a_walk() {
    let folder = tree(&["b.jpg", "a/2.png", "a/1.png", "a/x.txt", "odd.name"]);
    let root = folder.path();
    let expected = ["a/1.png", "a/2.png", "b.jpg"].map(|name| root.join(name));
    assert_eq!(list_images(root, FilesBy::Extension).unwrap(), expected);
    let odd = root.join("odd.name");
    assert_eq!(list_images(&odd, FilesBy::Extension).unwrap(), [odd]);
    assert_eq!(
        message(list_images(root.join("none"), FilesBy::Extension), root),
        "`ROOT/none` does not exist: check the path"
    );
    let empty = tree(&["a/x.txt"]);
    assert!(
        message(list_images(empty.path(), FilesBy::Extension), empty.path())
            .starts_with("no images in `ROOT`")
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let store = tree(&["pictures/1.jpg", "pictures/2.jpg"]);
    let folder = tree(&["a/1.jpg", "a/2.jpg"]);
    symlink(store.path().join("pictures"), folder.path().join("b")).unwrap();
    symlink(folder.path(), folder.path().join("a/circle")).unwrap();
    let index = open(&folder).unwrap();
    assert_eq!(index.classes, ["a", "b"]);
    assert_eq!(index.train.len() + index.val.len(), 4);
}

#[cfg(unix)]
#[test]
fn names_of_any_bytes_are_read_or_left_out_and_shown_escaped() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tree(&[
        "a/1.jpg",
        "a/2\n.jpg",
        "b\u{1b}[31m/1.jpg",
        "b\u{1b}[31m/2.jpg",
    ]);
    let name = std::ffi::OsStr::from_bytes(b"\xFF.jpg");
    fs::write(folder.path().join("a").join(name), "").unwrap();
    let index = open(&folder).unwrap();
    assert_eq!(index.train.len() + index.val.len(), 4);
    fs::remove_file(folder.path().join("b\u{1b}[31m/2.jpg")).unwrap();
    let text = message(open(&folder), folder.path());
    assert!(
        text.starts_with(r"class `b\u{1b}[31m` has 1 image"),
        "{text}"
    );
    let text = message(
        list_images(folder.path().join("\n").join(name), FilesBy::Extension),
        folder.path(),
    );
    assert_eq!(text, r"`ROOT/\n/\xff.jpg` does not exist: check the path");
}

#[cfg(unix)]
#[test]
fn folders_that_link_to_each_other_keep_their_own_pictures() {
    use std::os::unix::fs::symlink;
    let folder = tree(&[
        "face/1.jpg",
        "face/2.jpg",
        "sky/1.jpg",
        "sky/2.jpg",
        "sky/3.jpg",
    ]);
    symlink("../sky", folder.path().join("face/l")).unwrap();
    symlink("../face", folder.path().join("sky/l")).unwrap();
    let index = open(&folder).unwrap();
    let counts = |list: &ImageList| list.class_counts();
    assert_eq!(counts(&index.train)[0] + counts(&index.val)[0], 2);
    assert_eq!(counts(&index.train)[1] + counts(&index.val)[1], 3);

    // Twenty folders that each link to all: each once, at once.
    let names: Vec<_> = (0..20).map(|n| format!("{n}/1.jpg")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let folder = tree(&names);
    for (a, b) in (0..20).flat_map(|a| (0..20).map(move |b| (a, b))) {
        symlink(format!("../{b}"), folder.path().join(format!("{a}/to{b}"))).unwrap();
    }
    assert_eq!(
        list_images(folder.path(), FilesBy::Extension)
            .unwrap()
            .len(),
        20
    );
    // A link to what is outside of all classes is followed, once.
    let store = tree(&["more/3.jpg"]);
    let folder = tree(&["a/1.jpg", "b/1.jpg"]);
    for link in ["a/x", "b/x"] {
        symlink(store.path(), folder.path().join(link)).unwrap();
    }
    assert_eq!(
        ImageList::open(folder.path()).unwrap().class_counts(),
        [2, 1]
    );
}

#[cfg(unix)]
#[test]
fn no_folder_is_for_training_and_for_validation() {
    use std::os::unix::fs::symlink;
    let folder = tree(&["train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg"]);
    symlink("../train/b", folder.path().join("val/b")).unwrap();
    assert_eq!(
        message(open(&folder), folder.path()),
        "class `b` has no images in `ROOT/val/b`: add some or remove the folder"
    );
    let folder = tree(&["train/a/1.jpg"]);
    symlink("train", folder.path().join("val")).unwrap();
    assert!(message(open(&folder), folder.path()).starts_with("no images in any of"));
}

#[cfg(unix)]
#[test]
fn deep_folders_are_listed_in_time() {
    // Paths must be shorter than the system's limit.
    let folder = tempdir().unwrap();
    let mut deep = folder.path().join("a");
    for _ in 0..1500 {
        deep.push("d");
        fs::create_dir_all(&deep).unwrap();
    }
    fs::write(deep.join("1.jpg"), "").unwrap();
    let found = list_images(folder.path(), FilesBy::Extension).unwrap();
    assert_eq!(found.len(), 1);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_never_opened() {
    use std::os::unix::fs::symlink;
    let folder = tree(&["a/1.jpg", "a/2.jpg"]);
    let pipe = folder.path().join("a/pipe.jpg");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    symlink("pipe.jpg", folder.path().join("a/3.jpg")).unwrap();
    symlink("/dev/zero", folder.path().join("a/4.jpg")).unwrap();
    let index = open(&folder).unwrap();
    assert_eq!(index.train.len() + index.val.len(), 2);
    for special in [pipe, folder.path().join("a/4.jpg")] {
        let text = message(burn_image_folder::decode_rgb(&special), folder.path());
        assert!(text.ends_with("it is no regular file"), "{text}");
        let text = message(list_images(&special, FilesBy::Extension), folder.path());
        assert!(text.ends_with("it is no regular file"), "{text}");
    }
}

#[test]
fn parts_of_a_data_set_are_known_by_other_names_or_asked_for() {
    for [train, val] in [
        ["Train", "Val"],
        ["TRAIN", "Validation"],
        ["training", "valid"],
    ] {
        let files = [format!("{train}/a/1.jpg"), format!("{val}/a/2.jpg")];
        let index = open(&tree(&[&files[0], &files[1]])).unwrap();
        assert_eq!(index.classes, ["a"]);
        assert_eq!([index.train.len(), index.val.len()], [1, 1]);
        let list =
            ImageFolder::open_eval(tree(&[&files[1]]).path(), &["a".into()], FilesBy::Extension);
        assert_eq!(list.unwrap().len(), 1);
    }
    let folder = tree(&["training/a/1.jpg", "test/a/1.jpg"]);
    assert!(message(open(&folder), folder.path()).starts_with("`ROOT` has a `training` folder"));
    let folder = tree(&["valid/a/1.jpg", "Test/a/1.jpg"]);
    assert_eq!(
        message(open(&folder), folder.path()),
        "`ROOT` holds `Test`, `valid` with folders in them, which look like parts of a data set and not like classes: name them `train` and `val`"
    );
    for parts in [
        ["train2017", "val2017"],
        ["imgs_train", "imgs_test"],
        ["0-Train", "1-dev"],
        ["trainset", "holdout"],
    ] {
        let files = parts.map(|part| format!("{part}/a/1.jpg"));
        let folder = tree(&[&files[0], &files[1]]);
        let text = message(open(&folder), folder.path());
        assert!(text.contains("look like parts of a data set"), "{text}");
    }
    for parts in [["train", "Train"], ["val", "valid"], ["Validation", "VAL"]] {
        let mut files = parts.map(|part| format!("{part}/a/1.jpg")).to_vec();
        files.extend(["training/a/1.jpg", "validation/a/1.jpg"].map(String::from));
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let folder = tree(&files);
        let text = message(open(&folder), folder.path());
        assert!(text.contains("of which only one can be meant"), "{text}");
    }
    // Classes may have such names.
    let folder = tree(&["test/1.jpg", "test/2.jpg", "eval/1.jpg", "eval/2.jpg"]);
    assert_eq!(open(&folder).unwrap().classes, ["eval", "test"]);
}

#[test]
fn what_is_left_out_is_counted_by_extension() {
    let folder = tree(&[
        "a/1.jpe", "a/2.JPG", "a/3.jfif", "a/4", "a/deep/5", "a/6.heic",
    ]);
    let index = open(&folder).unwrap();
    assert_eq!(index.train.len() + index.val.len(), 3);
    let left_out: Vec<_> = index.train.left_out().iter().collect();
    assert_eq!(left_out, [(&String::new(), &2), (&"heic".to_string(), &1)]);
}

#[test]
fn names_that_look_the_same_are_spelt_out() {
    let folder = tree(&["train/cafe\u{301}/1.jpg", "val/caf\u{e9}/1.jpg"]);
    let text = message(open(&folder), folder.path());
    assert!(
        text.ends_with(r"may be written as other bytes: `cafe\u{301}`, `caf\u{e9}`)"),
        "{text}"
    );
}

#[test]
fn files_of_any_name_count_by_their_content_on_request() {
    let folder = tree(&["a/1.jpg", "a/notes", "b/empty", "b/notes.txt"]);
    let png = b"\x89PNG\r\n\x1a\n----------------";
    for name in ["a/2", "a/3.dat", "b/1", "b/2.html"] {
        fs::write(folder.path().join(name), png).unwrap();
    }
    fs::write(folder.path().join("b/long.txt"), [b'x'; 100_000]).unwrap();
    let split = SplitConfig::default();
    assert!(ImageFolder::open(folder.path(), &split).is_err());
    let index = folder.path().join(".index");
    let list = ListConfig {
        files: FilesBy::Content,
        index: Some(index.clone()),
    };
    // The second time from the index, if the folders are old enough by then.
    for _ in 0..2 {
        let found = ImageFolder::open_with(folder.path(), &split, &list).unwrap();
        let counts = [&found.train, &found.val].map(|list| list.class_counts());
        assert_eq!(
            [0, 1].map(|class| counts[0][class] + counts[1][class]),
            [3, 2]
        );
        let left_out: Vec<_> = found.train.left_out().iter().collect();
        assert_eq!(left_out, [(&String::new(), &2), (&"txt".into(), &2)]);
    }
    let all = list_images(folder.path(), FilesBy::Content).unwrap();
    assert_eq!(all.len(), 5);
    // What was listed by content is not what counts by extension.
    let by_extension = ListConfig {
        index: Some(index),
        ..ListConfig::default()
    };
    assert!(ImageFolder::open_with(folder.path(), &split, &by_extension).is_err());
}
