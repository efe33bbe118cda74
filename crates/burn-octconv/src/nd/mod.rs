//! Octave convolution over one, two or three axes and any number of frequencies.
//!
//! Everything here is composed from Burn's operations by one implementation, which reads the
//! [`Plan`](crate::Plan) of a layer and is generic over the number `D` of axes and the rank
//! `R = D + 2` of the tensors.

mod composed;
mod config;
mod convert;
mod cost;
#[cfg(feature = "flex")]
mod engine;
mod error;
mod features;
mod fold;
mod layer;
mod layers;
mod maps;
mod resample;
mod reshape;
mod space;
mod spec;
mod split;
mod transpose;

pub use config::{
    MultiOctConv2dConfig, OctConv1dConfig, OctConv3dConfig, OctConvTranspose1dConfig,
    OctConvTranspose2dConfig, OctConvTranspose3dConfig,
};
pub use cost::relative_cost_of_shares;
pub use error::{MapsError, SharesError};
pub use layer::{MultiOctConv2d, OctConv1d, OctConv3d, OctConvNd};
pub use layers::{
    OctMapsBatchNorm, OctMapsBatchNormConfig, OctMapsNorm, OctMapsNormConfig, OctMapsSqueezeExcite,
    OctMapsSqueezeExciteConfig,
};
pub use maps::OctMaps;
pub use space::MapTensor;
pub use spec::{Reach, Scale};
pub use split::split_channels;
pub use transpose::{
    OctConvTranspose1d, OctConvTranspose2d, OctConvTranspose3d, OctConvTransposeNd,
};
