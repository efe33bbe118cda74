//! Convolution as sums of products over blocked maps.
//!
//! A [`Product`] is one group of output channels: the sum over any number of
//! [`Source`]s of their convolutions, plus an epilogue. The two output groups
//! of an octave convolution are two products,
//!
//! ```text
//! Y^H = W^{H→H} · X^H  + upsample(W^{L→H} · X^L)     sources [X^H], coarse [X^L]
//! Y^L = [W^{H→L} W^{L→L}] · [pool(X^H); X^L]         sources [pool(X^H), X^L]
//! ```
//!
//! and [`run`] computes all products of a layer in one parallel region. The
//! coarse sum of L→H is computed tile by tile, right before the fine rows that
//! it is added to, so it never leaves the cache and needs no second region.
//! With more frequencies, coarse sums are nested: what comes from a quarter of
//! the resolution is added at half of it, and that at the full one.

mod across;
mod copy;
mod depthwise;
mod jobs;
mod pack;
mod panel;
mod pass;
mod prepare;
mod product;
mod run;
mod stem;
mod tile;

pub use depthwise::{Depthwise, DepthwiseWeights, depthwise};
pub(crate) use depthwise::{depthwise_plane, tap_sums};
pub use pack::PackedWeights;
pub use panel::{Kernel, SourceShape, panel_width};
pub use product::{Coarse, Output, Product, Source};
pub use run::run;
pub(crate) use run::run_with;
pub use stem::{Stem, StemWeights};
pub(crate) use tile::TileShape;

pub use octave_plan::Activation;

#[cfg(test)]
mod layer_tests;
// They look at panics, which WebAssembly does not survive.
#[cfg(all(test, panic = "unwind"))]
mod refusal_tests;
#[cfg(test)]
mod tests;
