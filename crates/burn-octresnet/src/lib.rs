//! Octave ResNets for Burn.

pub mod data;
