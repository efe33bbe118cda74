mod config;
mod convert;
mod layer;

pub use config::{Downsample, Exchange, OctConv2dConfig, Upsample};
pub use layer::OctConv2d;

pub(crate) use config::Plan;
