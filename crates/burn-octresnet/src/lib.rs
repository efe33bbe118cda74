//! Octave ResNets for Burn.

pub mod data;
pub mod model;
pub mod train;
