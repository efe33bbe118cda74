//! Texts as octave convolutions.

use crate::{paths, target::Target};

// With the reference in f64, which is of the crate's tests.
#[path = "../../crates/burn-octconv/tests/support/mod.rs"]
mod support;

use support::fuzz::{Outcome, check};

/// A text as the configuration of an octave convolution: it is refused, or becomes a layer that
/// computes what the reference does.
pub const TARGET: Target = Target {
    name: "config",
    dictionary: "config",
    run,
    seeds: || paths::contents("fuzz/seeds/config", |name| name.ends_with(".json")),
    memory: 256 << 20,
};

fn run(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| check(text) == Outcome::Ran)
}
