//! Layers over multi-frequency feature maps, each a thin module over Burn's own.

mod norm;
mod pool;

pub use norm::{OctBatchNorm, OctBatchNormConfig};
