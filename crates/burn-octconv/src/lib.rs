#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
//! Octave convolution for the [Burn](https://burn.dev) deep-learning framework.
//!
//! # What it is
//!
//! A natural image is a sum of a slowly varying layout and of fine detail, and so are the feature
//! maps inside a convolutional network. An *octave convolution* (Chen et al., "Drop an Octave",
//! ICCV 2019, [arXiv 1904.05049](https://arxiv.org/abs/1904.05049)) stores the two apart: a share
//! 1 − α of the channels, the *high-frequency* group, keeps the full resolution; the other share
//! α, the *low-frequency* group, is kept one octave below, at half the height and width. With
//! input X = {X^H, X^L} and output Y = {Y^H, Y^L} there are four paths:
//!
//! ```text
//! Y^H = f(X^H; W^{H→H}) + upsample(f(X^L; W^{L→H}), 2)
//! Y^L = f(X^L; W^{L→L}) + f(pool(X^H, 2); W^{H→L})
//! ```
//!
#![doc = include_str!("../octconv.svg")]
//!
//! f is a convolution, pool a 2×2 average pooling with stride 2, upsample nearest-neighbour by 2.
//! The four kernels together are one vanilla kernel cut in four, so the number of parameters does
//! not depend on α; but three of the four products run on a quarter of the pixels, and the kernel
//! of the low group covers twice the extent of the image.
//!
//! # Using it
//!
//! [`OctConv2d`] is a [`Module`](burn::module::Module) like Burn's own
//! [`Conv2d`](burn::nn::conv::Conv2d), built from an [`OctConv2dConfig`]; what flows between the
//! layers is an [`OctFeatures`] instead of a tensor.
//!
//! ```
//! use burn::{module::Module, tensor::{Device, Tensor}};
//! use burn_octconv::{OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig};
//!
//! #[derive(Module, Debug)]
//! struct Net {
//!     first: OctConv2d,
//!     norm: OctBatchNorm,
//!     last: OctConv2d,
//! }
//!
//! impl Net {
//!     fn new(device: &Device) -> Self {
//!         Self {
//!             // A plain tensor comes in …
//!             first: OctConv2dConfig::new([3, 32], [3, 3]).with_alpha_in(0.0).init(device),
//!             norm: OctBatchNormConfig::new(32).init(device),
//!             // … and a plain tensor goes out.
//!             last: OctConv2dConfig::new([32, 64], [3, 3]).with_alpha_out(0.0).init(device),
//!         }
//!     }
//!
//!     fn forward(&self, images: Tensor<4>) -> Tensor<4> {
//!         let x = self.norm.forward(self.first.forward(images)).relu();
//!         self.last.forward(x).into_high()
//!     }
//! }
//!
//! let device = Device::default();
//! let net = Net::new(&device);
//! let output = net.forward(Tensor::zeros([2, 3, 33, 50], &device));
//! assert_eq!(output.dims(), [2, 64, 33, 50]);
//! ```
//!
//! # The rules
//!
//! - The low group has `⌊α · channels⌋` channels, the high group the others; high channels come
//!   first. A group without channels does not exist: no parameters, no path, no tensor. So a
//!   layer with `alpha_in = 0` reads a plain tensor and one with `alpha_out = 0` returns one; with
//!   both zero it is the vanilla convolution.
//! - The low resolution is `⌈height / 2⌉ × ⌈width / 2⌉`. Windows at the border average only the
//!   pixels that exist, and the upsampled map is cropped, so any size works, also odd ones.
//! - With stride 2 both inputs are pooled first and then convolved with stride 1; H→L pools
//!   twice; L→H needs no upsampling. Strided convolutions would shift the two frequencies against
//!   each other (section 3.3 of the paper); `with_strided(true)` has them for comparison.
//! - Padding must keep the size. All four paths have the same `groups`; a depthwise layer
//!   (`groups = in = out`) has no exchange paths. There is one bias per output channel.
//! - The initialisation knows the fan-in of the whole layer, so that the sum of two paths starts
//!   with the variance of one vanilla convolution.
//!
//! # The equations backwards
//!
//! Autodiff needs nothing from the user, but the gradients show why the layer trains fast. With S
//! the sum over 2×2 blocks (the adjoint of upsampling) and U its counterpart for pooling, for
//! stride 1:
//!
//! ```text
//! dX^H = W^{H→H}ᵀ dY^H + U(W^{H→L}ᵀ dY^L)      dW^{H→H} = X^H ⋆ dY^H    dW^{H→L} = pool(X^H) ⋆ dY^L
//! dX^L = W^{L→H}ᵀ S(dY^H) + W^{L→L}ᵀ dY^L      dW^{L→H} = X^L ⋆ S(dY^H) dW^{L→L} = X^L ⋆ dY^L
//! ```
//!
//! Three of the four paths go back at half resolution, too.
//!
//! # From a vanilla network
//!
//! [`OctConv2d::from_conv2d`] cuts a trained kernel in four, [`OctConv2d::to_conv2d`] glues it
//! together again, exact to the bit; [`OctBatchNorm::from_batch_norm`] and
//! [`OctBatchNorm::to_batch_norm`] do the same for batch norms. The last channels become the low
//! ones.
//!
//! ```
//! use burn::{nn::{PaddingConfig2d, conv::Conv2dConfig}, tensor::Device};
//! use burn_octconv::OctConv2d;
//!
//! let vanilla = Conv2dConfig::new([64, 64], [3, 3])
//!     .with_padding(PaddingConfig2d::Same)
//!     .init(&Device::default());
//! let octave = OctConv2d::from_conv2d(&vanilla, 0.25, 0.25)?;
//! let again = octave.to_conv2d();
//! assert_eq!(again.weight.val().into_data(), vanilla.weight.val().into_data());
//! # Ok::<(), burn_octconv::OctConvError>(())
//! ```
//!
//! # Other axes, more frequencies, transposed
//!
//! [`OctConv1d`] and [`OctConv3d`] are for signals, video and volumes, [`MultiOctConv2d`] for images in
//! more than two frequencies or spectrograms, and [`OctConvTranspose1d`], [`OctConvTranspose2d`] and
//! [`OctConvTranspose3d`], the adjoints of the convolutions, for decoders. They take and give an
//! [`OctMaps`]; an [`OctFeatures`] converts to and from it.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use burn_octconv::{OctConv2dConfig, OctConvTranspose2dConfig, OctFeatures, Scale};
//!
//! let device = Device::default();
//! let image = Tensor::<4>::zeros([1, 3, 33, 50], &device);
//! let down = OctConv2dConfig::new([3, 16], [3, 3]).with_alpha_in(0.0).init(&device);
//! let up = OctConvTranspose2dConfig::new([16, 16], [3, 3])
//!     .with_stride([2, 2])
//!     .with_scale(Scale::Mean)
//!     .init(&device);
//! let skip = down.forward(image);
//! // Down, up to the size of the skip, and beside it.
//! let x = up.forward_to(skip.clone().avg_pool2(), skip.size());
//! let x = OctFeatures::try_from(x)?.concat(skip)?;
//! assert_eq!(x.describe(), "high [1, 16, 33, 50] + low [1, 16, 17, 25]");
//! # Ok::<(), burn_octconv::MapsError>(())
//! ```
//!
//! # Choosing α
//!
//! At stride 1 and with the same α on both sides a layer costs `1 − ¾·α(2 − α)` of the vanilla
//! multiply–adds and `1 − ¾·α` of its activation memory ([`relative_cost`]):
//!
//! | α | 0 | 0.125 | 0.25 | 0.5 | 0.75 | 0.875 | 1 |
//! |---|---|---|---|---|---|---|---|
//! | multiply–adds, % | 100 | 82.4 | 67.2 | 43.8 | 29.7 | 26.2 | 25 |
//! | memory, % | 100 | 90.6 | 81.3 | 62.5 | 43.8 | 34.4 | 25 |
//!
//! (Table 1 of the paper rounds to whole percents, and 34.4 to 35.) The last steps save little:
//! beyond 0.5 nearly all of the arithmetic is gone already, and detail goes with it.
//!
//! In the paper α = 0.125 and 0.25 raised ImageNet accuracy of every network tried, and α = 0.5
//! kept it above the vanilla network at less than half the arithmetic. Start with 0.25 for
//! accuracy or 0.5 for speed. Use 0 on maps of a few pixels, as the published networks do in their
//! last stage: half of seven pixels leaves nothing for a 3×3 kernel to see. [`OctConv2dConfig::cost`]
//! says what a layer costs before you build it.
//!
//! # Limits
//!
//! - Strides other than 1 and 2 have no octave form.
//! - With many groups, small α are impossible: 32 groups do not divide 1/8 of 128 channels.
//! - Saved multiply–adds are not automatically saved seconds. On Flex this project's engine
//!   computes layers in f32 with the paper's choices. Everything else (other backends, other types,
//!   the ablations) is composed from Burn's primitive operations, which pay for pooling, upsampling
//!   and summing in memory traffic; on small maps that can cost more than the arithmetic it saves.
//!   Measure on your device.
//! - The engine has up to four frequencies over two axes, and computes [`OctConv1d`], [`OctConv3d`],
//!   [`MultiOctConv2d`] and the transposed layers over one and two axes where they can be seen so.
//! - [`OctFeatures`] is checked where it is made, by a [`FeatureError`] that names both shapes.
//!   `init` and `forward` panic with the text of the error, as Burn's layers do;
//!   [`OctConv2dConfig::try_init`] and [`OctConv2d::check`] return it.
//!
//! # Features
//!
//! `std` (default) and one feature per backend of Burn, none of which is on by default: `flex`,
//! `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`, `rocm`, `cpu`, `tch`. Without `std` the
//! crate needs `alloc` only.

extern crate alloc;

#[cfg(feature = "flex")]
mod blocked;
mod conv;
mod cost;
mod error;
mod features;
mod layers;
mod nd;
pub mod ops;
mod split;

pub use conv::{OctConv2d, OctConv2dConfig, fold_batch_norm};
pub use cost::{Cost, PathMacs, relative_cost};
#[cfg(feature = "flex")]
pub use error::InstructionSetError;
pub use error::{FeatureError, OctConvError};
pub use features::OctFeatures;
pub use layers::*;
pub use nd::{
    MapTensor, MapsError, MultiOctConv2d, MultiOctConv2dConfig, OctConv1d, OctConv1dConfig,
    OctConv3d, OctConv3dConfig, OctConvNd, OctConvTranspose1d, OctConvTranspose1dConfig,
    OctConvTranspose2d, OctConvTranspose2dConfig, OctConvTranspose3d, OctConvTranspose3dConfig,
    OctConvTransposeNd, OctMaps, OctMapsBatchNorm, OctMapsBatchNormConfig, OctMapsNorm,
    OctMapsNormConfig, OctMapsSqueezeExcite, OctMapsSqueezeExciteConfig, Reach, Scale, SharesError,
    relative_cost_of_shares, split_channels,
};
pub use octave_plan::{Downsample, Exchange, Path, Plan, Refusal, Upsample};
pub use split::ChannelSplit;

/// The examples of the README are tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
