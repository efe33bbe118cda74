//! Faults in the middle of training, and what they leave.
#![cfg(unix)]

mod common;

use std::{collections::BTreeMap, fs, path::Path, process, time::Duration};

use assert_cmd::Command;
use common::*;

/// Every file of the checkpoints, with its content.
fn checkpoints(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for checkpoint in names(&run.join("checkpoint")) {
        let folder = run.join("checkpoint").join(&checkpoint);
        for name in names(&folder) {
            let content = fs::read(folder.join(&name)).unwrap();
            files.insert(format!("{checkpoint}/{name}"), content);
        }
    }
    files
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_leaves_the_checkpoints() {
    let place = Workplace::new();
    place.train("run", "").good();
    let before = checkpoints(&place.path("run"));
    // The third epoch goes wrong.
    let config = place.path("run/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"lr\": 0.01", "\"lr\": 1e30")).unwrap();
    let output = run(&mut place.octresnet("train --resume --output run --epochs 9"));
    let parts = [
        "epoch 3, batch",
        "images/train/",
        "learning rate",
        "--resume",
    ];
    output.error(1, &parts);
    assert_eq!(checkpoints(&place.path("run")), before);

    // Left out, until nothing is left.
    let line = "train --resume --output run --epochs 9 --on-nan skip";
    let output = run(&mut place.octresnet(line));
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("leaving out a batch"), "{output:?}");
}

#[test]
fn pipes_are_not_waited_for() {
    let place = Workplace::new();
    let pipe = |name: &str| {
        let made = process::Command::new("mkfifo")
            .arg(place.path(name))
            .status();
        assert!(made.unwrap().success());
    };
    let refused = |line: &str| {
        let output = run(place.octresnet(line).timeout(Duration::from_secs(60)));
        assert_eq!(output.code, 1, "{line}: {output:?}");
        assert!(
            output.stderr.contains("it is no regular file"),
            "{line}: {output:?}"
        );
    };
    pipe("pipe");
    place.train("run", "--epochs 1").good();
    for line in [
        "convert pipe to.bpk",
        "export pipe to.bpk",
        "train --data images --init pipe",
        "train --config pipe",
        "predict run pipe",
        "inspect run pipe",
    ] {
        refused(line);
    }
    for name in ["config.json", "classes.json", "metrics.csv"] {
        let path = place.path("run").join(name);
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        pipe(&format!("run/{name}"));
        refused("train --resume --output run --epochs 2");
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    }
}

#[test]
fn a_full_disk_leaves_the_checkpoints_whole() {
    let place = Workplace::new();
    place.train("whole", "--epochs 3").good();
    place.train("run", "--epochs 3 --checkpoint-every 1").good();
    for name in ["best.bpk", "last.bpk", "metrics.csv"] {
        fs::remove_file(place.path("run").join(name)).unwrap();
    }
    // Back to the checkpoint before the last.
    let newest = names(&place.path("run/checkpoint")).pop().unwrap();
    fs::remove_dir_all(place.path("run/checkpoint").join(newest)).unwrap();
    let before = checkpoints(&place.path("run"));
    assert!(!before.is_empty());

    // The signal that goes with the limit would end the program; the write fails as on a full disk.
    let limited = |line: &str| {
        let program = env!("CARGO_BIN_EXE_octresnet");
        let mut shell = Command::new("bash");
        let line = format!("ulimit -f 8; exec '{program}' {line}");
        shell.args(["-c", &line]).current_dir(place.path(""));
        shell
    };
    let output = run(&mut limited("train --resume --output run"));
    output.error(1, &["cannot write `run/", "File too large"]);
    assert_eq!(checkpoints(&place.path("run")), before);

    run(&mut place.octresnet("train --resume --output run")).good();
    let [whole, run] = ["whole", "run"].map(|run| fs::read(place.path(run).join("last.bpk")));
    assert!(whole.unwrap() == run.unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_told_before_it_runs_out() {
    let place = Workplace::new();
    // What a batch takes is told from the recipe; here, there are not as many images.
    let program = env!("CARGO_BIN_EXE_octresnet");
    let line = format!("train {TINY} --data images --output run --size 64 --batch-size 100000");
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("ulimit -v 8000000; exec '{program}' {line}")]);
    let output = run(shell.current_dir(place.path(""))).good();
    let warning = output
        .stderr
        .lines()
        .find(|line| line.starts_with("warning"));
    let warning = warning.unwrap_or_else(|| panic!("{output:?}"));
    assert!(warning.contains("of memory"), "{warning}");
    let (_, advice) = warning.split_once("--batch-size ").unwrap();
    let images: usize = advice.parse().unwrap();
    assert!((1..100_000).contains(&images), "{warning}");

    let output = place.train("small", "").good();
    assert!(!output.stderr.contains("warning"), "{output:?}");
}
