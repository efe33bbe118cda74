//! Octave convolution for Burn.
