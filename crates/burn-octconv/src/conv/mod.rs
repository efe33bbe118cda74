mod config;
mod convert;
mod fold;
mod layer;

pub use config::{Downsample, Exchange, OctConv2dConfig, Upsample};
#[cfg(feature = "flex")]
pub(crate) use fold::Affine;
pub use fold::fold_batch_norm;
pub use layer::OctConv2d;

pub(crate) use config::Plan;
