#![cfg_attr(not(any(feature = "std", test)), no_std)]
//! Octave convolution for Burn.

extern crate alloc;

mod conv;
mod cost;
mod error;
mod features;
pub mod layers;
pub mod ops;
mod split;

pub use conv::{Downsample, Exchange, OctConv2d, OctConv2dConfig, Upsample};
pub use cost::{Cost, PathMacs, relative_cost};
pub use error::{FeatureError, OctConvError};
pub use features::OctFeatures;
pub use layers::*;
pub use split::ChannelSplit;
