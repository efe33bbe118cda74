mod config;
mod convert;
mod fold;
mod layer;

pub use config::OctConv2dConfig;
pub(crate) use config::check_initializer;
pub use fold::fold_batch_norm;
pub(crate) use fold::{Affine, wide};
pub use layer::OctConv2d;
