//! Octave ResNets for Burn.
