//! The loader: the same batches for any number of workers, epochs, unreadable images, slices.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burn::data::dataloader::DataLoader;
use burn::data::dataset::Dataset;
use burn::tensor::Device;
use burn_image_folder::{
    EvalTransform, FilesBy, ImageBatch, ImageDataset, ImageFolder, ImageList, ImageLoader,
    LoaderConfig, Normalize, OnUnreadable, Position, Sampling, TrainTransform, Transform, shown,
};
use image::{Rgb, RgbImage};
use tempfile::{TempDir, tempdir};

/// `count` images in two classes; image `i` of the sorted list has red `i`, and green that tells
/// its crops apart.
fn images(count: usize) -> (TempDir, Arc<ImageList>) {
    let folder = tempdir().unwrap();
    for index in 0..count {
        let class = ["a", "b"][usize::from(index >= count / 2)];
        let path = folder.path().join(class).join(format!("{index:03}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(20, 16, |x, y| Rgb([index as u8, (12 * x + y) as u8, 0]))
            .save(path)
            .unwrap();
    }
    let list = list(&folder);
    assert_eq!(list.len(), count);
    (folder, Arc::new(list))
}

fn list(folder: &TempDir) -> ImageList {
    ImageFolder::open_eval(
        folder.path(),
        &["a", "b"].map(String::from),
        FilesBy::Extension,
    )
    .unwrap()
}

fn loader(images: &Arc<ImageList>, transform: Transform, config: LoaderConfig) -> ImageLoader {
    let dataset = ImageDataset::new(images.clone(), transform, 11).unwrap();
    let plain = Normalize {
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    ImageLoader::new(dataset, plain, config, &Device::flex()).unwrap()
}

fn train() -> Transform {
    Transform::Train(TrainTransform {
        size: 8,
        ..TrainTransform::default()
    })
}

fn eval() -> Transform {
    Transform::Eval(EvalTransform {
        size: 8,
        ..EvalTransform::default()
    })
}

/// All that is in a batch.
type Content = (Vec<f32>, Vec<i64>);

fn content(batch: ImageBatch) -> Content {
    let targets = batch.targets.into_data().convert::<i64>();
    (
        batch.images.into_data().try_to_vec().unwrap(),
        targets.try_to_vec().unwrap(),
    )
}

fn epoch(loader: &dyn DataLoader<ImageBatch>) -> Vec<Content> {
    loader.iter().map(|batch| content(batch.unwrap())).collect()
}

/// The images in a batch by their number.
fn numbers((pixels, _): &Content) -> Vec<usize> {
    let images = pixels.chunks_exact(3 * 64);
    images
        .map(|image| (image[0] * 255.0).round() as usize)
        .collect()
}

fn all_numbers(epoch: &[Content]) -> Vec<usize> {
    epoch.iter().flat_map(numbers).collect()
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let (_folder, images) = images(53);
    let run = |workers, seed| {
        let config = LoaderConfig {
            batch_size: 8,
            shuffle: Some(seed),
            workers,
            prefetch: 1,
            ..LoaderConfig::default()
        };
        let loader = loader(&images, train(), config);
        [epoch(&loader), epoch(&loader)]
    };
    let expected = run(0, 3);
    for workers in [1, 2, 8] {
        assert!(run(workers, 3) == expected, "{workers} workers");
    }
    assert!(run(2, 4) != expected);

    let [first, second] = expected;
    assert_eq!(first.len(), 7);
    let mut seen = all_numbers(&first);
    assert_ne!(seen, all_numbers(&second));
    seen.sort();
    assert_eq!(seen, (0..53).collect::<Vec<_>>());
    // Each image has a crop of its own.
    let crops = first
        .iter()
        .flat_map(|(pixels, _)| pixels.chunks_exact(3 * 64));
    let crops: HashSet<_> = crops
        .map(|image| {
            image[64..128]
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(crops.len() > 40, "{} different crops", crops.len());
    for batch in &first {
        let classes: Vec<_> = numbers(batch).iter().map(|&n| i64::from(n >= 26)).collect();
        assert_eq!(batch.1, classes);
    }
}

#[test]
fn an_epochs_number_decides_what_it_contains() {
    let (_folder, images) = images(20);
    let config = LoaderConfig {
        batch_size: 6,
        shuffle: Some(0),
        ..LoaderConfig::default()
    };
    let whole = loader(&images, train(), config.clone());
    let epochs: Vec<_> = (0..4).map(|_| epoch(&whole)).collect();
    assert!(epochs[0] != epochs[1]);
    assert_eq!(whole.position(), Position::start_of(5));

    let resumed = loader(
        &images,
        train(),
        LoaderConfig {
            start: Position::start_of(3),
            ..config.clone()
        },
    );
    assert!(epoch(&resumed) == epochs[2]);
    assert!(epoch(&resumed) == epochs[3]);
    resumed.set_position(Position::start_of(1));
    assert!(epoch(&*resumed.to_device(&Device::flex())) == epochs[0]);

    // Crops follow the epoch also where the order does not.
    let config = LoaderConfig {
        shuffle: None,
        ..config
    };
    let in_order = loader(&images, train(), config);
    let [first, second] = [epoch(&in_order), epoch(&in_order)];
    assert_eq!(all_numbers(&first), (0..20).collect::<Vec<_>>());
    assert_eq!(all_numbers(&first), all_numbers(&second));
    assert!(first != second);
}

#[test]
fn a_run_goes_on_after_any_batch() {
    let (_folder, images) = images(23);
    corrupt(&images, &[2, 3, 11, 20]);
    for drop_last in [false, true] {
        let config = |workers, start| LoaderConfig {
            batch_size: 4,
            shuffle: Some(5),
            drop_last,
            workers,
            start,
            ..LoaderConfig::default()
        };
        let whole = loader(&images, train(), config(2, Position::start_of(7)));
        let batches: Vec<_> = whole.iter().map(Result::unwrap).collect();
        let next_epoch = epoch(&whole);
        let starts: Vec<_> = batches.iter().map(|batch| batch.next).collect();
        let expected: Vec<_> = batches.into_iter().map(content).collect();
        assert_eq!(expected.len(), [5, 4][usize::from(drop_last)]);
        for workers in [0, 1, 2, 8] {
            for (done, &start) in starts.iter().enumerate() {
                let resumed = loader(&images, train(), config(workers, start));
                let processed = resumed.iter().progress().items_processed;
                assert_eq!(
                    processed,
                    if drop_last && start.image > 19 {
                        23
                    } else {
                        start.image
                    }
                );
                resumed.set_position(start);
                assert!(
                    epoch(&resumed) == expected[done + 1..],
                    "after batch {done}"
                );
                assert!(epoch(&resumed) == next_epoch);
            }
        }
        let beyond = Position {
            epoch: 7,
            image: 99,
        };
        assert!(epoch(&loader(&images, train(), config(2, beyond))).is_empty());
    }
}

#[test]
fn balanced_sampling_gives_every_class_the_same() {
    let folder = tempdir().unwrap();
    let sizes = [2, 13, 6];
    for (class, count) in sizes.into_iter().enumerate() {
        for number in 0..count {
            let path = folder.path().join(format!("{class}/{number:02}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_fn(20, 16, |x, y| Rgb([x as u8, y as u8, number as u8]))
                .save(path)
                .unwrap();
        }
    }
    let images = Arc::new(ImageList::open(folder.path()).unwrap());
    let config = |workers| LoaderConfig {
        batch_size: 5,
        shuffle: Some(3),
        sampling: Sampling::Balanced,
        workers,
        ..LoaderConfig::default()
    };
    let picked = |loader: &ImageLoader| -> Vec<usize> {
        let batches = loader.iter().map(|batch| batch.unwrap().indexes);
        batches.collect::<Vec<_>>().concat()
    };
    let balanced = loader(&images, train(), config(0));
    let mut large_class = HashSet::new();
    for number in 1..=3 {
        let picks = picked(&balanced);
        for class in 0..3 {
            let of_class = picks.iter().filter(|&&image| images.class(image) == class);
            let mut times = vec![0; images.len()];
            of_class.clone().for_each(|&image| times[image] += 1);
            assert_eq!(of_class.count(), 7, "class {class} in epoch {number}");
            // As evenly as it goes.
            times.retain(|&times| times > 0);
            assert!(times.iter().max().unwrap() - times.iter().min().unwrap() <= 1);
        }
        large_class.extend(picks.into_iter().filter(|&image| images.class(image) == 1));
    }
    assert!(
        large_class.len() > 7,
        "other images of the large class in each epoch"
    );

    balanced.set_position(Position::start_of(1));
    let expected = epoch(&balanced);
    for workers in [1, 8] {
        assert!(epoch(&loader(&images, train(), config(workers))) == expected);
    }
    // Copies of one image are augmented each in its own way.
    let pixels: HashSet<Vec<u32>> = (expected.iter())
        .flat_map(|(pixels, _)| pixels.chunks_exact(3 * 64))
        .map(|image| image.iter().map(|value| value.to_bits()).collect())
        .collect();
    assert!(pixels.len() >= 19, "{} of 21 different", pixels.len());

    let config = LoaderConfig {
        shuffle: None,
        ..config(0)
    };
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "`sampling` is balanced: it must be uniform where images are not shuffled"
    );
}

#[test]
fn a_batch_knows_its_images() {
    let (_folder, images) = images(15);
    corrupt(&images, &[4]);
    let config = LoaderConfig {
        batch_size: 4,
        shuffle: Some(1),
        ..LoaderConfig::default()
    };
    for batch in loader(&images, eval(), config).iter() {
        let batch = batch.unwrap();
        assert_eq!(batch.indexes.clone(), numbers(&content(batch)));
    }
}

/// Overwrites images with what is no image.
fn corrupt(images: &ImageList, indexes: &[usize]) -> Vec<PathBuf> {
    let path = |&index| images.path(index);
    let paths: Vec<_> = indexes.iter().map(path).collect();
    for path in &paths {
        fs::write(path, "not an image").unwrap();
    }
    paths
}

#[test]
fn unreadable_images_are_skipped_without_short_batches() {
    let (_folder, images) = images(14);
    let bad = corrupt(&images, &[0, 5, 6, 13]);
    fs::remove_file(images.path(8)).unwrap();
    for workers in [0, 2] {
        let config = LoaderConfig {
            batch_size: 4,
            workers,
            ..LoaderConfig::default()
        };
        let loader = loader(&images, eval(), config);
        for _ in 0..2 {
            let batches = epoch(&loader);
            let found: Vec<_> = batches.iter().map(numbers).collect();
            let expected: [&[usize]; 3] = [&[1, 2, 3, 4], &[7, 9, 10, 11], &[12]];
            assert_eq!(found, expected);
        }
        let report = loader.report();
        assert_eq!(report.count(), 5);
        let expected = [&bad[0], &bad[1], &bad[2], &images.path(8), &bad[3]];
        assert_eq!(report.paths().iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_skipped_image_is_logged_once() {
    struct Log(Mutex<Vec<String>>);
    impl log::Log for Log {
        fn enabled(&self, _: &log::Metadata) -> bool {
            true
        }
        fn log(&self, record: &log::Record) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
        fn flush(&self) {}
    }
    static LOG: Log = Log(Mutex::new(Vec::new()));
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);

    let (_folder, images) = images(4);
    let bad = corrupt(&images, &[2]);
    let loader = loader(&images, eval(), LoaderConfig::default());
    epoch(&loader);
    epoch(&loader);
    let expected = format!(
        "skipping image `{}`: the content is not an image in a supported format",
        shown(&bad[0])
    );
    let lines = LOG.0.lock().unwrap();
    assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1);
}

#[test]
fn an_unreadable_image_ends_the_epoch_on_request() {
    let (_folder, images) = images(14);
    let bad = corrupt(&images, &[5]);
    for workers in [0, 2] {
        let config = LoaderConfig {
            batch_size: 4,
            workers,
            on_unreadable: OnUnreadable::Fail,
            ..LoaderConfig::default()
        };
        let loader = loader(&images, eval(), config);
        let mut batches = loader.iter();
        assert!(batches.next().unwrap().is_ok());
        let message = batches.next().unwrap().unwrap_err().to_string();
        assert_eq!(
            message,
            format!(
                "cannot read image `{}`: the content is not an image in a supported format",
                shown(&bad[0])
            )
        );
        assert!(batches.next().is_none());
        assert_eq!(loader.report().count(), 0);
    }
}

#[test]
fn an_epoch_without_a_batch_is_an_error() {
    let (_folder, images) = images(6);
    let config = LoaderConfig {
        batch_size: 8,
        drop_last: true,
        ..LoaderConfig::default()
    };
    let message = |config| {
        let loader = loader(&images, eval(), config);
        let error = loader.iter().next().unwrap().unwrap_err();
        error.to_string()
    };
    assert_eq!(
        message(config),
        "no batch came out of 6 images, 0 of them unreadable: the batch size is 8, lower it or check the images"
    );
    corrupt(&images, &[0, 1, 2, 3, 4, 5]);
    assert!(message(LoaderConfig::default()).starts_with("no batch came out of 6 images, 6 of"));
}

#[test]
fn a_short_last_batch_can_be_dropped_and_progress_ends_at_the_end() {
    let (_folder, images) = images(10);
    for (drop_last, sizes, processed) in [
        (false, vec![4, 4, 2], vec![4, 8, 10]),
        (true, vec![4, 4], vec![4, 10]),
    ] {
        let config = LoaderConfig {
            batch_size: 4,
            drop_last,
            ..LoaderConfig::default()
        };
        let loader = loader(&images, eval(), config);
        assert_eq!(
            (loader.num_items(), loader.num_batches()),
            (10, sizes.len())
        );
        let mut batches = loader.iter();
        for (size, processed) in sizes.into_iter().zip(processed) {
            let batch = batches.next().unwrap().unwrap();
            assert_eq!(batch.images.dims(), [size, 3, 8, 8]);
            assert_eq!(batch.targets.dims(), [size]);
            let progress = batches.progress();
            assert_eq!(
                (progress.items_processed, progress.items_total),
                (processed, 10)
            );
        }
        assert!(batches.progress().is_completed());
        assert!(batches.next().is_none());
    }
}

#[test]
fn slices_share_an_epoch_between_them() {
    let (_folder, images) = images(21);
    let config = LoaderConfig {
        batch_size: 4,
        shuffle: Some(9),
        ..LoaderConfig::default()
    };
    let whole = loader(&images, train(), config);
    let parts = [
        whole.slice(0, 10),
        whole.slice(10, 21).to_device(&Device::flex()),
    ];
    assert_eq!(parts.each_ref().map(|part| part.num_items()), [10, 11]);
    for _ in 0..2 {
        let together = parts.each_ref().map(|part| all_numbers(&epoch(&**part)));
        assert_eq!(together.concat(), all_numbers(&epoch(&whole)));
    }
    // A slice of a slice, and one that reaches too far.
    let inner = parts[1].slice(2, 5);
    assert_eq!(inner.num_items(), 3);
    assert_eq!(parts[1].slice(8, 99).num_items(), 3);
    assert_eq!(parts[1].slice(30, 99).num_items(), 0);
    whole.set_position(Position::start_of(3));
    assert_eq!(
        all_numbers(&epoch(&*inner)),
        all_numbers(&epoch(&whole))[12..15]
    );
}

#[test]
fn dropping_the_iterator_early_stops_the_workers() {
    let (_folder, images) = images(200);
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        let config = LoaderConfig {
            batch_size: 2,
            workers: 8,
            ..LoaderConfig::default()
        };
        let loader = loader(&images, train(), config);
        for taken in [0, 1, 3] {
            let mut batches = loader.iter();
            for _ in 0..taken {
                batches.next().unwrap().unwrap();
            }
        }
        assert_eq!(epoch(&loader).len(), 100);
        done.send(()).unwrap();
    });
    finished
        .recv_timeout(Duration::from_secs(60))
        .expect("the loader hangs");
}

#[test]
fn the_dataset_gives_what_the_loader_gives() {
    let (_folder, images) = images(5);
    let dataset = ImageDataset::new(images.clone(), train(), 11).unwrap();
    let loader = loader(&images, train(), LoaderConfig::default());
    loader.set_position(Position::start_of(4));
    let batch = &epoch(&loader)[0];
    let values: Vec<u8> = batch.0.iter().map(|v| (v * 255.0).round() as u8).collect();
    let dataset = dataset.with_epoch(4);
    for (index, pixels) in values.chunks_exact(3 * 64).enumerate() {
        let item = dataset.get(index).unwrap();
        assert_eq!(
            (item.pixels.as_slice(), item.target as i64),
            (pixels, batch.1[index])
        );
    }
    let bad = corrupt(&images, &[1]);
    let message = dataset.get(1).unwrap_err().to_string();
    assert!(message.contains(bad[0].to_str().unwrap()));
}

#[test]
fn settings_out_of_range_are_named() {
    let (_folder, images) = images(2);
    let dataset = ImageDataset::new(images, eval(), 0).unwrap();
    let config = LoaderConfig {
        batch_size: 0,
        ..LoaderConfig::default()
    };
    let result = ImageLoader::new(dataset, Normalize::default(), config, &Device::flex());
    assert_eq!(
        result.unwrap_err().to_string(),
        "`batch_size` is 0: it must be at least 1"
    );
}
