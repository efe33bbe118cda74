//! Everything that reads what others wrote, as functions that any bytes may be given to.
//!
//! A [`Target`] accepts or refuses an input. A panic, more than its memory or more than ten seconds is
//! a finding. The test `fuzz` tries mutations of the seeds; under `fuzz_targets/` are the same
//! targets for libFuzzer. `docs/dev/proof.md` has the commands.
// Modules of other crates are compiled in, with tests that belong there; `--lib` asks for them all the same.
#![cfg(not(test))]

pub mod archive;
pub mod config;
mod dictionary;
pub mod index;
mod mutate;
mod paths;
pub mod pictures;
pub mod recipe;
pub mod sets;
pub mod state;
pub mod weights;

pub use mutate::mutated;

/// A reader of outside input.
#[derive(Debug)]
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Gives it an input, and says whether that was accepted.
    run: fn(&[u8]) -> bool,
    /// Inputs that mutations start from; one of them at least is accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The file under `dictionaries/` of what inputs are made of, beside the seeds.
    dictionary: &'static str,
    /// The most memory that an input may take, in bytes.
    pub memory: usize,
}

impl Target {
    /// Gives the target an input, and says whether that was accepted.
    ///
    /// # Panics
    ///
    /// If the input is a finding.
    pub fn try_on(&self, input: &[u8]) -> bool {
        (self.run)(input)
    }

    /// What inputs are made of, beside the seeds.
    pub fn words(&self) -> Vec<Vec<u8>> {
        dictionary::words(self.dictionary)
    }
}

/// All targets.
pub const TARGETS: [&Target; 8] = [
    &pictures::TARGET,
    &weights::TARGET,
    &archive::TARGET,
    &recipe::TARGET,
    &state::TARGET,
    &index::TARGET,
    &config::TARGET,
    &sets::TARGET,
];

/// Checks that an error is a line that can be put on a terminal, and does not repeat a file.
fn check_message(error: &impl std::fmt::Display) {
    let message = error.to_string();
    let control = message.find(char::is_control);
    assert!(
        control.is_none(),
        "a control character at {control:?}: {message:?}"
    );
    let length = message.len();
    assert!(length < 4096, "an error of {length} bytes");
}
