//! Octave ResNets for Burn.

#[cfg(feature = "plot")]
pub mod inspect;
pub mod model;
#[cfg(feature = "plot")]
pub mod plot;
#[cfg(feature = "plot")]
pub mod report;
pub mod text;
pub mod train;
pub mod weights;

/// The examples of the repository's README are tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
