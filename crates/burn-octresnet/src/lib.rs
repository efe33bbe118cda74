//! Octave ResNets for Burn.

pub mod data;
pub mod model;
pub mod train;

/// The examples of the repository's README are tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
