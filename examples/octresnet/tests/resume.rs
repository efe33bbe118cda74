//! Runs that end in the middle of something, and go on as if they had not.
#![cfg(unix)]

mod common;

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::*;

/// A recipe in which everything that is drawn, averaged or summed up takes part.
const EVERYTHING: &str = r#"{
    "optimizer": {"kind": "sgd"}, "schedule": {"kind": "one-cycle"},
    "mixup": 0.2, "cutmix": 1.0, "ema": 0.9, "accumulate": 2, "clip_norm": 1.0,
    "label_smoothing": 0.1, "freeze": ["conv1", "bn1", "layer1.0"], "checkpoint_every": 1
}"#;

fn start(place: &Workplace, line: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_octresnet"))
        .args(line.split_whitespace())
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Numbers without a pattern that matters.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = (self.0.wrapping_mul(6_364_136_223_846_793_005))
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_same_weights() {
    let place = Workplace::new();
    fs::write(place.path("recipe.json"), EVERYTHING).unwrap();
    let line = format!("train --config recipe.json {TINY} --data images --epochs 4");
    let began = Instant::now();
    run(&mut place.octresnet(&format!("{line} --output whole"))).good();
    let took = began.elapsed();

    let mut dice = Dice(7);
    for _ in 0..5 {
        // Before there is a recipe in the folder, there is nothing to resume.
        let resume = match place.path("killed/config.json").exists() {
            true => "--resume",
            false => "",
        };
        let mut child = start(&place, &format!("{line} --output killed {resume}"));
        // Whatever the moment, the weights have to come out equal.
        std::thread::sleep(Duration::from_micros(
            dice.below(took.as_micros() as u64 / 2 + 1),
        ));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(&mut place.octresnet(&format!("{line} --output killed --resume"))).good();
    for file in ["best.bpk", "last.bpk"] {
        let [whole, killed] = ["whole", "killed"].map(|run| fs::read(place.path(run).join(file)));
        assert!(whole.unwrap() == killed.unwrap(), "{file} differs");
    }
    assert_eq!(
        results(&place.path("killed")),
        results(&place.path("whole"))
    );
    let left: Vec<_> = names(&place.path("killed/checkpoint"));
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let place = Workplace::new();
    place.train("run", "--checkpoint-every 1").good();
    let expected = fs::read(place.path("run/last.bpk")).unwrap();
    let checkpoints = place.path("run/checkpoint");
    let [older, newest] = &names(&checkpoints)[..] else {
        panic!("{:?}", names(&checkpoints));
    };
    // One bit.
    let file = checkpoints.join(newest).join("optim.bpk");
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&file, content).unwrap();
    let output = run(&mut place.octresnet("train --resume --output run")).good();
    for part in ["leaving out the checkpoint", "optim.bpk", "checksum"] {
        assert!(output.stderr.contains(part), "{output:?} lacks {part}");
    }
    assert_eq!(fs::read(place.path("run/last.bpk")).unwrap(), expected);

    // All of them.
    for name in [older, newest] {
        fs::write(checkpoints.join(name).join("model.bpk"), "short").unwrap();
    }
    let output = run(&mut place.octresnet("train --resume --output run"));
    output.error(1, &["model.bpk", "is damaged", "it has 5 of"]);
}

#[test]
fn a_folder_is_trained_in_by_one_process() {
    let place = Workplace::new();
    let line = format!("train {TINY} --epochs 100000 --data images --output run");
    let mut first = start(&place, &line);
    let began = Instant::now();
    while !place.path("run/metrics.csv").exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "no epoch");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = run(&mut place.octresnet("train --resume --output run"));
    second.error(1, &["another process is training in `run`", "--output"]);
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock goes with the process.
    let done = metrics(&place.path("run")).len();
    let line = format!("train --resume --output run --epochs {}", done + 1);
    run(&mut place.octresnet(&line)).good();
}
