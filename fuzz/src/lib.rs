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
mod target;
pub mod weights;

pub use mutate::mutated;
pub use target::Target;

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
