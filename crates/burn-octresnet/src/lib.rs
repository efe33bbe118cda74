//! Octave ResNets for Burn.

pub mod model;
pub mod weights;

/// The examples of the repository's README are tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
