//! Octave ResNets for Burn.

pub mod model;
