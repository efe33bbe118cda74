//! Layers over multi-frequency feature maps, each a thin module over Burn's own.

mod activation;
mod norm;
mod pool;
mod squeeze_excite;

pub use activation::{OctActivation, OctDropout};
pub use norm::{ChannelNorm, OctBatchNorm, OctBatchNormConfig, OctNorm, OctNormConfig};
pub(crate) use norm::{cut_batch_norm, glue_batch_norms};
pub use pool::{OctAdaptiveAvgPool2d, OctAvgPool2d, OctMaxPool2d};
pub use squeeze_excite::{OctSqueezeExcite, OctSqueezeExciteConfig};
