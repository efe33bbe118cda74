//! A network of Burn's own layers through the whole of training.

#[allow(dead_code, reason = "its `main` is for the example")]
#[path = "../examples/own_network.rs"]
mod example;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use burn::{tensor::Device, train::Interrupter};
use burn_image_train::{
    PlainProgress, Recipe, Report, ScheduleConfig, TrainError, TrainedModel, Training,
};
use example::{SmallCnnConfig, train};

/// A recipe for the repository's pictures.
fn recipe(output: &Path, epochs: usize) -> Recipe<SmallCnnConfig> {
    let mut recipe = Recipe::<SmallCnnConfig>::default();
    recipe.data.path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/emoji");
    recipe.data.set_size(32);
    recipe.model.channels = vec![8, 16];
    recipe.output = Some(output.into());
    (recipe.mixup, recipe.ema, recipe.epochs) = (0.2, Some(0.9), epochs);
    recipe.schedule = ScheduleConfig::Constant {};
    recipe
}

/// The same for a few pictures of two classes, which are copied into `folder`.
fn few(folder: &Path, epochs: usize) -> Recipe<SmallCnnConfig> {
    let mut recipe = recipe(&folder.join("run"), epochs);
    let images = folder.join("images");
    for (split, count) in [("train", 6), ("val", 2)] {
        for class in ["animal", "food"] {
            let from = recipe.data.path.join(split).join(class);
            let to = images.join(split).join(class);
            fs::create_dir_all(&to).unwrap();
            for file in sorted(&from).into_iter().take(count) {
                fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    recipe.data.path = images;
    recipe.data.batch_size = 4;
    recipe
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_small_network_learns_goes_on_to_the_bit_predicts_and_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let whole = train(recipe(&whole, 3), false).unwrap();
    train(recipe(&parts, 1), false).unwrap();
    let parts = train(recipe(&parts, 3), true).unwrap();
    assert_eq!(
        fs::read(whole.last()).unwrap(),
        fs::read(parts.last()).unwrap()
    );

    let device = Device::flex();
    let report = Report::<SmallCnnConfig>::measure(parts.clone(), None, &device, |_, _| ());
    let page = fs::read_to_string(report.unwrap().write().unwrap()).unwrap();
    assert!(
        page.contains("\nSmallCnn, 12 classes; 3 of 3 epochs"),
        "{page}"
    );
    assert!(
        !page.contains("## Cost") && page.contains("\"channels\": [8, 16]"),
        "{page}"
    );

    let model = TrainedModel::<SmallCnnConfig>::load(parts.root(), &device).unwrap();
    let images = model.validation_images().unwrap();
    let prediction = model
        .predict(&[images.path(0)], 3, |error| panic!("{error}"))
        .unwrap();
    assert_eq!(prediction[0].predictions.len(), 3);
    let evaluation = model.evaluate(images, |_, _| ()).unwrap();
    assert!(
        evaluation.top1 > 0.15,
        "no better than chance: {}",
        evaluation.top1
    );
}

#[test]
fn of_several_starts_in_one_folder_one_wins_and_its_recipe_stays() {
    let folder = tempfile::tempdir().unwrap();
    let start = few(folder.path(), 1);
    let starts = (0..8).map(|seed| {
        let recipe = Recipe {
            seed,
            ..start.clone()
        };
        thread::spawn(move || (seed, Training::start(recipe, "run")))
    });
    let starts: Vec<_> = starts
        .collect::<Vec<_>>()
        .into_iter()
        .map(|s| s.join().unwrap())
        .collect();
    let mut winners = Vec::new();
    for (seed, start) in &starts {
        match start {
            Ok(_) => winners.push(*seed),
            Err(TrainError::Locked { .. } | TrainError::RunExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let saved = Recipe::<SmallCnnConfig>::load(folder.path().join("run/config.json")).unwrap();
    assert_eq!(winners, [saved.seed]);
}

#[test]
fn a_folder_removed_under_way_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let training = Training::start(few(folder.path(), 2), "run").unwrap();
    fs::remove_dir_all(folder.path().join("run")).unwrap();
    let lines = PlainProgress::stderr(1, training.wait());
    let error = training
        .run(Box::new(lines), Interrupter::new())
        .unwrap_err();
    assert!(matches!(error, TrainError::Gone { .. }), "{error}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_state_that_was_edited_is_damaged_and_one_without_checksum_is_of_an_earlier_version() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = few(folder.path(), 1);
    train(recipe.clone(), false).unwrap();
    let state = |edit: fn(&mut serde_json::Value)| {
        for checkpoint in sorted(&folder.path().join("run/checkpoint")) {
            let path = checkpoint.join("state.json");
            let mut state = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            edit(&mut state);
            fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
        }
        let longer = Recipe {
            epochs: 2,
            ..recipe.clone()
        };
        train(longer, true)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let error = state(|state| state["position"]["update"] = 1.into()).unwrap_err();
    assert!(
        error.contains("state.json` is damaged: its checksum is wrong"),
        "{error}"
    );
    let error = state(|state| {
        state["crc32"].take();
        state["position"]["epoch"] = 0.into();
    });
    let error = error.unwrap_err();
    assert!(error.contains("`epoch` is 0"), "{error}");
    let error = state(|state| {
        state["position"]["epoch"] = 2.into();
        state["files"]["/dev/null"] = serde_json::json!({"bytes": 0, "crc32": 0});
    });
    let error = error.unwrap_err();
    assert!(error.contains("no file \"/dev/null\""), "{error}");
    state(|state| {
        let state = state.as_object_mut().unwrap();
        state["files"].as_object_mut().unwrap().remove("/dev/null");
        state.remove("crc32");
        state.remove("images");
    })
    .unwrap();
}

#[test]
fn a_run_goes_on_with_other_images_only_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = few(folder.path(), 1);
    let run = train(recipe.clone(), false).unwrap();
    recipe.epochs = 2;
    let classes = ["animal", "food"].map(|class| folder.path().join("images/train").join(class));
    let [one, other] = &classes;
    let refused = |expected: &str| {
        let error = Training::resume(recipe.clone(), run.clone())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("--allow-changed-data"),
            "{error}"
        );
    };
    let file = &sorted(one)[0];
    fs::copy(file, one.join("more.png")).unwrap();
    refused("13 images to train on and not 12");
    fs::remove_file(one.join("more.png")).unwrap();
    // The same names with the content of each other.
    let content = fs::read(&sorted(other)[0]).unwrap();
    let before = fs::read(file).unwrap();
    fs::write(file, content).unwrap();
    refused("images to train on of other content");
    fs::write(file, before).unwrap();
    let aside = folder.path().join("aside");
    for (from, to) in [(one, &aside), (other, one), (&aside, other)] {
        fs::rename(from, to).unwrap();
    }
    refused("images to train on of other names or classes");
    Training::resume_with_changed_data(recipe.clone(), run.clone()).unwrap();
}

#[test]
fn what_a_dead_process_left_half_written_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = few(folder.path(), 1);
    let run = train(recipe.clone(), false).unwrap();
    let leftovers =
        [".last.bpk.tmp", "checkpoint/.step-00000009.tmp"].map(|name| run.root().join(name));
    fs::write(&leftovers[0], "").unwrap();
    fs::create_dir(&leftovers[1]).unwrap();
    Training::resume(recipe, run).unwrap();
    assert!(!leftovers.iter().any(|path| path.exists()));
}

#[test]
fn no_text_of_the_default_run_is_said_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.json");
    fs::write(&path, r#"{"epochs": 3}"#).unwrap();
    let recipe = Recipe::<SmallCnnConfig>::load(&path).unwrap();
    assert_eq!((recipe.about.as_str(), recipe.expected.as_str()), ("", ""));

    let texts = |change: fn(&mut Recipe<SmallCnnConfig>)| {
        let before = Recipe::<SmallCnnConfig> {
            about: "small".into(),
            expected: "much".into(),
            ..Recipe::default()
        };
        let mut after = before.clone();
        change(&mut after);
        after.forget_texts_of(&before);
        after.about + &after.expected
    };
    assert_eq!(texts(|recipe| recipe.data.workers = 7), "smallmuch");
    assert_eq!(texts(|recipe| recipe.model.channels = vec![4]), "");
    assert_eq!(texts(|recipe| recipe.data.path = "elsewhere".into()), "");
    assert_eq!(texts(|recipe| recipe.epochs = 1), "");
}
