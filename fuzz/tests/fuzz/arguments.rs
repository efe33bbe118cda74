use std::{path::PathBuf, time::Duration};

/// What is to be tried.
#[derive(Debug)]
pub struct Arguments {
    /// Parts of the targets' names; none are all.
    names: Vec<String>,
    /// How long each target is tried.
    pub time: Duration,
    /// The most inputs that each target is given, beside its seeds.
    pub inputs: u64,
    /// Decides the mutations.
    pub seed: u64,
    /// A single input to be tried.
    pub input: Option<PathBuf>,
    /// A folder to write the seeds into.
    pub write_seeds: Option<PathBuf>,
    /// The target that this process tries.
    pub child: Option<String>,
}

impl Arguments {
    /// Options of Rust's own test programs, which `cargo test` gives to all, are passed over.
    pub fn new(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self {
            names: Vec::new(),
            time: Duration::from_secs(1),
            inputs: u64::MAX,
            seed: 0,
            input: None,
            write_seeds: None,
            child: None,
        };
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .unwrap_or_else(|| panic!("{word} lacks its value"))
            };
            let number = |value: String| {
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("{value} is no whole number"))
            };
            match word.as_str() {
                "--seconds" => arguments.time = Duration::from_secs(number(value())),
                "--inputs" => {
                    arguments.inputs = number(value());
                    arguments.time = Duration::MAX;
                }
                "--seed" => arguments.seed = number(value()),
                "--input" => arguments.input = Some(value().into()),
                "--write-seeds" => arguments.write_seeds = Some(value().into()),
                "--child" => arguments.child = Some(value()),
                option if option.starts_with('-') => {}
                _ => arguments.names.push(word),
            }
        }
        arguments
    }

    /// Whether a target of this name is to be tried.
    pub fn chooses(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }
}
