mod config;
mod convert;
mod fold;
mod layer;

pub use config::OctConv2dConfig;
#[cfg(feature = "flex")]
pub(crate) use fold::Statistics;
pub use fold::fold_batch_norm;
pub use layer::OctConv2d;
