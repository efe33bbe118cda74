//! What the program brings along, as it is used in a folder far from the repository.

mod common;

use std::fs;

use common::*;

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn octresnet_in(folder: &tempfile::TempDir, line: &str) -> Output {
    run(octresnet()
        .current_dir(folder.path())
        .args(line.split_whitespace()))
}

#[test]
fn recipes_are_listed_shown_and_trained_by_name() {
    let folder = empty();
    let rows = octresnet_in(&folder, "recipes --json").json();
    let names: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert!(names.len() >= 26 && names.contains(&&"imagenet-oct-resnet-50".into()));
    let table = octresnet_in(&folder, "recipes").good().stdout;
    assert_eq!(table.lines().count(), names.len() + 1);

    let shown = octresnet_in(&folder, "recipes show emoji-vanilla")
        .good()
        .stdout;
    let file = workspace().join("configs/emoji-vanilla.json");
    assert_eq!(
        shown.trim_end(),
        fs::read_to_string(file).unwrap().trim_end()
    );
    octresnet_in(&folder, "recipes show emojy").error(2, &["emojy", "emoji"]);

    let images = bundled();
    let run = octresnet()
        .current_dir(folder.path())
        .args(["train", "--config", "emoji-vanilla", "--data"])
        .arg(&images)
        .args(["--epochs", "0"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&run.stderr).contains("`epochs` is 0"));
    // A file of the recipe's name goes before it.
    fs::write(folder.path().join("emoji-vanilla"), "{\"epochs\": -1}").unwrap();
    octresnet_in(&folder, "train --config emoji-vanilla").error(1, &["epochs", "line 1"]);
    octresnet_in(&folder, "train --config emoji-octave")
        .error(1, &["emoji-octave", "octresnet recipes"]);
}

#[test]
fn away_from_the_repository_the_bundled_pictures_are_to_be_had() {
    let folder = empty();
    octresnet_in(&folder, "train").error(1, &["octresnet prepare emoji", "--data"]);
    octresnet_in(&folder, "train --config emoji-vanilla").error(1, &["octresnet prepare emoji"]);
    assert!(!folder.path().join("runs").exists());

    octresnet_in(&folder, "prepare emoji").good();
    let made = folder.path().join("examples/data/emoji");
    assert_eq!(names(&made), names(&bundled()));
    for split in ["train", "val"] {
        for class in names(&bundled().join(split)) {
            let [made, here] = [&made, &bundled()].map(|root| root.join(split).join(&class));
            let files = names(&here);
            assert_eq!(names(&made), files);
            let first = &files[0];
            assert_eq!(
                fs::read(made.join(first)).unwrap(),
                fs::read(here.join(first)).unwrap()
            );
        }
    }
    let line =
        "train --epochs 1 --size 16 --width 0.0625 --batch-size 256 --workers 1 --device flex";
    octresnet_in(&folder, line).good();
    octresnet_in(&folder, "evaluate runs/emoji-1").good();
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = octresnet_in(&folder, &format!("completions {shell}"))
            .good()
            .stdout;
        for word in ["evaluate", "checkpoint-every", "prepare"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    octresnet_in(&folder, "completions tcsh").error(2, &["tcsh", "bash"]);
    octresnet_in(&folder, "man pages/man1").good();
    let pages = names(&folder.path().join("pages/man1"));
    for page in [
        "octresnet.1",
        "octresnet-train.1",
        "octresnet-prepare-imagenet.1",
        "octresnet-bench-infer.1",
    ] {
        assert!(pages.contains(&page.to_string()), "{page} of {pages:?}");
    }
    let page = fs::read_to_string(folder.path().join("pages/man1/octresnet-train.1")).unwrap();
    assert!(page.contains("\\-\\-checkpoint\\-every"), "{page}");
    fs::write(folder.path().join("file"), "").unwrap();
    octresnet_in(&folder, "man file").error(1, &["file"]);
}
