//! Whole networks in their inference form, on the CPU engine.
//!
//! A module network computes layer by layer: it keeps maps in the engine's layout where layers follow
//! each other, but the next layer is not known when one is called. In the inference form a network is
//! a fixed list of operations on blocked maps: weights are packed once, maps stay blocked from the
//! stem to the head, a shortcut's projection is part of the sum that it is added to, the threads wait
//! for the next operation instead of sleeping, and memory is kept from call to call.
//!
//! [`NetworkBuilder`] takes the layers in the order of a forward pass, handing out an [`OctMap`]
//! for each result, and [`NetworkBuilder::finish`] makes a [`Network`] of them for images of any
//! size. What the engine has no kernel for is a [`Refusal`](crate::Refusal) that says why, and the
//! caller keeps the module network:
//!
//! ```
//! use burn::{nn::{LinearConfig, conv::Conv2dConfig}, tensor::{Device, Tensor}};
//! use burn_octconv::{OctConv2dConfig, infer::{Epilogue, NetworkBuilder}};
//!
//! let device = Device::flex();
//! let stem = Conv2dConfig::new([3, 16], [3, 3]).init(&device);
//! let first = OctConv2dConfig::new([16, 32], [3, 3]).with_alpha_in(0.0).init(&device);
//! let last = OctConv2dConfig::new([32, 64], [3, 3]).with_alpha_out(0.0).init(&device);
//! let fc = LinearConfig::new(64, 10).init(&device);
//!
//! let build = || {
//!     let mut net = NetworkBuilder::default();
//!     let x = net.stem(&stem, Epilogue::relu().activation, false)?;
//!     let x = net.conv(x, &first, Epilogue::relu())?;
//!     let x = net.conv(x, &last, Epilogue::relu())?;
//!     net.finish(x, &fc)
//! };
//! let net = build().expect("all of these layers have kernels");
//! let logits = net.forward(&Tensor::zeros([2, 3, 33, 50], &device)).unwrap();
//! assert_eq!(logits.dims(), [2, 10]);
//! ```

mod builder;
mod convolution;
mod network;
mod norm;
mod schedule;
mod steps;

pub use builder::{Epilogue, NetworkBuilder, OctMap};
pub use network::Network;
pub use steps::StepTime;

pub use octave_engine::peak_macs_per_second;
