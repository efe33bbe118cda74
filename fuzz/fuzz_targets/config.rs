//! Any text as the configuration of an octave convolution: it is no configuration, is refused by a
//! typed error, or becomes a layer that runs. Anything else is a finding.

#![no_main]

#[path = "../../crates/burn-octconv/tests/support/fuzz.rs"]
mod fuzz;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    fuzz::check(text);
});
