#![no_std]
//! What an octave convolution is, as plain values without tensors.
//!
//! Octave convolution (Chen et al., "Drop an Octave", ICCV 2019,
//! <https://arxiv.org/abs/1904.05049>) keeps groups of channels at resolutions 1, ½, ¼, … A layer
//! is a sum of convolutions between these groups. A [`Plan`] lists them: each [`Path`] says which
//! group it reads, how often that is pooled, with which stride it is convolved, how often the
//! result is upsampled, and into which group it is added. Everything that computes, checks,
//! counts or shows a layer reads the plan, and nothing decides again.
//!
//! ```
//! use octave_plan::{Exchange, Layer, Plan};
//!
//! // 8 channels in two groups on both sides, a 3×3 kernel.
//! let plan = Plan::new(Layer::new([4, 4], [4, 4], [3, 3]), Exchange::Both);
//! assert_eq!(plan.paths.len(), 4);
//! let low_to_high = plan.path(1, 0).unwrap();
//! assert_eq!((low_to_high.pool, low_to_high.up), (0, 1));
//! assert_eq!(plan.output_size([5, 7]), [5, 7]);
//! assert_eq!(plan.macs(low_to_high, [5, 7]), 3 * 4 * 4 * 4 * 9);
//! ```

extern crate alloc;

mod activation;
mod layer;
mod path;
mod refusal;
mod size;

pub use activation::Activation;
pub use layer::{Downsample, Exchange, Layer, Padding, Upsample};
pub use path::{Path, Plan};
pub use refusal::Refusal;
pub use size::{half_size, same_padding};
