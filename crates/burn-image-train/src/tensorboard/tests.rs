use std::{fs, io, path::Path};

use burn::train::Interrupter;

use super::{
    event::{Data, Event, What},
    file::read,
};
use crate::{
    PlainProgress, Recipe, RunDir, Training,
    testing::{TestConfig, turn},
};

/// A run of two classes with a few of the repository's pictures.
fn recipe(folder: &Path, epochs: usize) -> Recipe<TestConfig> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/emoji");
    let mut recipe = Recipe::<TestConfig>::default();
    recipe.data.path = folder.join("images");
    for (split, count) in [("train", 6), ("val", 3)] {
        for class in ["animal", "food"] {
            let to = recipe.data.path.join(split).join(class);
            fs::create_dir_all(&to).unwrap();
            let from = fs::read_dir(bundled.join(split).join(class)).unwrap();
            let mut files: Vec<_> = from.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for file in &files[..count] {
                fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    recipe.data.set_size(16);
    recipe.data.batch_size = 4;
    recipe.data.workers = 0;
    recipe.model.channels = 4;
    recipe.schedule = crate::ScheduleConfig::Constant {};
    recipe.checkpoint_every = Some(1);
    recipe.epochs = epochs;
    recipe
}

fn finish(training: Training<TestConfig>) {
    let progress = PlainProgress::new(io::sink(), 3, training.wait());
    training
        .run(Box::new(progress), Interrupter::new())
        .unwrap();
}

/// What the logs say, without the times.
fn logged(run: &RunDir) -> [Vec<(i64, String, Data)>; 2] {
    ["train", "val"].map(|part| {
        let events = read(&run.tensorboard().join(part)).into_iter();
        let values = events.flat_map(|Event { step, what, .. }| {
            let values = match what {
                Some(What::Summary(summary)) => summary.values,
                _ => Vec::new(),
            };
            let values = values.into_iter();
            values.map(move |value| (step, value.tag, value.data.unwrap()))
        });
        let timed = |tag: &str| tag == "images_per_second" || tag == "data_wait";
        values.filter(|(_, tag, _)| !timed(tag)).collect()
    })
}

fn steps(values: &[(i64, String, Data)], tag: &str) -> Vec<i64> {
    let own = values.iter().filter(|(_, name, _)| name == tag);
    own.map(|(step, ..)| *step).collect()
}

#[test]
fn every_step_and_epoch_is_there_once_however_a_run_went_on() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, epochs| Recipe {
        output: Some(folder.path().join(name)),
        ..recipe(folder.path(), epochs)
    };
    let whole = RunDir::at(folder.path().join("whole"));
    finish(
        Training::start(at("whole", 3), "run")
            .unwrap()
            .with_tensorboard(),
    );
    let expected @ [train, val] = &logged(&whole);
    assert_eq!(steps(train, "batch_loss"), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(steps(train, "learning_rate").len(), 9);
    for tag in ["loss", "top1", "top5"] {
        assert_eq!(steps(train, tag), [3, 6, 9], "{tag}");
        assert_eq!(steps(val, tag), [3, 6, 9], "{tag}");
    }
    for tag in ["confusion", "predictions"] {
        assert_eq!(steps(val, tag), [3, 6, 9], "{tag}");
    }
    for (_, tag, data) in val {
        if let Data::Image(image) = data {
            let png = image::load_from_memory(&image.png).unwrap();
            assert_eq!(
                [png.width(), png.height()],
                [image.width as u32, image.height as u32],
                "{tag}"
            );
        }
    }

    // Stopped after two epochs, and thrown back into the second by a checkpoint that is gone.
    let parts = RunDir::at(folder.path().join("parts"));
    finish(
        Training::start(at("parts", 2), "run")
            .unwrap()
            .with_tensorboard(),
    );
    let newest = parts.checkpoint_updates().pop().unwrap();
    assert_eq!(newest, 6);
    fs::remove_dir_all(parts.checkpoint(newest)).unwrap();
    finish(Training::resume(at("parts", 3), parts.clone()).unwrap());
    assert_eq!(&logged(&parts), expected);
}
