//! What the end-to-end tests share: a few of the bundled images, and the real program.

#![allow(dead_code)] // Each test file uses its part.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// Three classes with four images to train on and two to validate on each.
pub const CLASSES: [&str; 3] = ["clock", "heart", "sky"];

/// A folder to work in, with images in `images`.
pub struct Workplace {
    folder: TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (split, count) in [("train", 4), ("val", 2)] {
            for class in CLASSES {
                let target = folder.path().join("images").join(split).join(class);
                fs::create_dir_all(&target).unwrap();
                let mut images: Vec<_> = fs::read_dir(bundled().join(split).join(class))
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .collect();
                images.sort();
                for image in &images[..count] {
                    fs::copy(image, target.join(image.file_name().unwrap())).unwrap();
                }
            }
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program in this folder, on the device that every build has.
    pub fn octresnet(&self, line: &str) -> Command {
        let mut command = octresnet();
        command
            .current_dir(self.folder.path())
            .args(line.split_whitespace());
        command
    }

    /// Trains a network small enough to take no time. `more` are further flags.
    pub fn train(&self, output: &str, more: &str) -> Output {
        let line = format!("train {TINY} --data images --output {output} {more}");
        run(&mut self.octresnet(&line))
    }
}

/// Flags for a run that takes a second.
pub const TINY: &str = "--size 16 --width 0.0625 --batch-size 4 --epochs 2 --workers 1 --lr 0.01 --device flex --seed 3";

pub fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/emoji")
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn octresnet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octresnet"));
    command.env_remove("RUST_LOG");
    command
}

/// What the program said.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    Output {
        code: output.status.code().expect("the program was not killed"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Output {
    /// The output of a program that did what it should.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub fn json(self) -> Value {
        let output = self.good();
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Checks that the program failed with one line that has all `parts`.
    #[track_caller]
    pub fn error(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let errors: Vec<_> = self
            .stderr
            .lines()
            .filter(|l| l.starts_with("error: "))
            .collect();
        let [error] = errors[..] else {
            panic!("not one error: {self:?}");
        };
        assert!(self.stderr.ends_with(&format!("{error}\n")), "{self:?}");
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
        for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "unexpected: "] {
            assert!(!self.stderr.contains(noise), "{self:?}");
        }
    }
}

/// The rows of a run's `metrics.csv`, each cell as a number, without the header.
pub fn metrics(run: &Path) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "epoch,train_loss,train_top1,train_top5,val_loss,val_top1,val_top5,lr,seconds,images_per_second,data_wait"
        )
    );
    lines
        .map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect())
        .collect()
}

/// The rows without the times.
pub fn results(run: &Path) -> Vec<Vec<f64>> {
    metrics(run)
        .into_iter()
        .map(|row| row[..8].to_vec())
        .collect()
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The bytes of every tensor in a safetensors file (https://huggingface.co/docs/safetensors).
pub fn tensors(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let content = fs::read(file).unwrap();
    let (length, rest) = content.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let (header, data) = rest.split_at(length);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    let bytes = |entry: Value| {
        let offsets = &entry["data_offsets"];
        let [start, end] = [0, 1].map(|at| offsets[at].as_u64().unwrap() as usize);
        data[start..end].to_vec()
    };
    tensors.map(|(name, entry)| (name, bytes(entry))).collect()
}
