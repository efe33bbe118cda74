//! The op boundary: the one place that decides how an octave convolution is computed.
//!
//! [`octconv2d`] takes features, kernels and options and may hand them to an engine written for
//! the backend at hand. Where there is none, [`composed::octconv2d`] computes the same from Burn's
//! primitive operations; it is also the reference that every engine is tested against, and the
//! form in which graph capture sees the layer. [`without_engine`] asks for it by hand.

#[cfg(feature = "capture")]
mod capture;
pub mod composed;
mod engine;
#[cfg(feature = "flex")]
mod flex;
pub mod norm;
pub mod resample;

pub use engine::{uses_engine, without_engine};

#[cfg(feature = "flex")]
use burn::nn::PaddingConfig2d;
use burn::{nn::conv::Conv2d, tensor::Tensor};

use crate::{Downsample, OctFeatures, Upsample};
#[cfg(feature = "flex")]
use octave_engine::train::OctConv;

/// The kernels and biases of one octave convolution. A path without a kernel does not exist.
#[derive(Debug, Clone, Default)]
pub struct OctKernels {
    /// H→H, `[channels_high_out, channels_high_in / groups, kernel_height, kernel_width]`.
    pub h2h: Option<Tensor<4>>,
    /// H→L, `[channels_low_out, channels_high_in / groups, kernel_height, kernel_width]`.
    pub h2l: Option<Tensor<4>>,
    /// L→H, `[channels_high_out, channels_low_in / groups, kernel_height, kernel_width]`.
    pub l2h: Option<Tensor<4>>,
    /// L→L, `[channels_low_out, channels_low_in / groups, kernel_height, kernel_width]`.
    pub l2l: Option<Tensor<4>>,
    /// Bias of the high output, `[channels_high_out]`.
    pub bias_high: Option<Tensor<1>>,
    /// Bias of the low output, `[channels_low_out]`.
    pub bias_low: Option<Tensor<1>>,
}

/// How an octave convolution is to be computed; the hyper-parameters of the layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OctConvOptions {
    /// 1 or 2, on both axes.
    pub stride: usize,
    /// Whether stride 2 is taken by the convolutions themselves (`true`) or by average-pooling
    /// both inputs first (`false`, the paper's choice).
    pub strided: bool,
    /// Zero padding `[(top, bottom), (left, right)]` of the convolutions with stride 1.
    pub padding: [(usize, usize); 2],
    /// Whether strided convolutions choose their own padding, so that the output is
    /// `⌈input / stride⌉`, as Burn's `PaddingConfig2d::Same` does.
    pub same: bool,
    /// Spacing between kernel elements, `[height, width]`.
    pub dilation: [usize; 2],
    /// How H→L goes down one octave.
    pub downsample: Downsample,
    /// How L→H goes up one octave.
    pub upsample: Upsample,
}

impl OctConvOptions {
    /// Whether both inputs are average-pooled before everything else.
    pub fn pools(&self) -> bool {
        self.stride == 2 && !self.strided
    }
}

/// Computes an octave convolution:
///
/// ```text
/// Y^H = f(X^H; W^{H→H}) + upsample(f(X^L; W^{L→H}), 2) + b^H
/// Y^L = f(X^L; W^{L→L}) + f(pool(X^H, 2); W^{H→L}) + b^L
/// ```
///
/// (Chen et al., equation 2 and section 3.3, <https://arxiv.org/abs/1904.05049>.) With stride 2
/// both inputs are pooled first, H→L pools twice, and L→H needs no upsampling, since X^L already
/// has the output's high resolution.
///
/// # Panics
///
/// If the kernels do not fit the features; [`OctConv2d`](crate::OctConv2d) checks this with a
/// message of its own.
pub fn octconv2d(
    features: OctFeatures,
    kernels: OctKernels,
    options: &OctConvOptions,
) -> OctFeatures {
    #[cfg(feature = "flex")]
    if let Some(geometry) = flex::geometry(&features, &kernels, options) {
        return flex::octconv2d(features, kernels, &geometry);
    }
    composed::octconv2d(features, kernels, options)
}

/// Computes a vanilla convolution: what [`Conv2d::forward`] computes, by an engine where there is
/// one.
///
/// # Panics
///
/// Where [`Conv2d::forward`] panics.
pub fn conv2d(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some((features, kernels, geometry)) = by_engine(conv, &x) {
        return flex::octconv2d(features, kernels, &geometry).into_high();
    }
    conv.forward(x)
}

/// A convolution as an octave convolution without low frequencies, if the engine computes it.
#[cfg(feature = "flex")]
fn by_engine(conv: &Conv2d, x: &Tensor<4>) -> Option<(OctFeatures, OctKernels, OctConv)> {
    let options = vanilla_options(conv)?;
    if x.dims()[1] != conv.weight.dims()[1] * conv.groups {
        return None;
    }
    let features = OctFeatures::from_high(x.clone());
    let kernels = OctKernels {
        h2h: Some(conv.weight.val()),
        bias_high: conv.bias.as_ref().map(|bias| bias.val()),
        ..OctKernels::default()
    };
    let geometry = flex::geometry(&features, &kernels, &options)?;
    Some((features, kernels, geometry))
}

/// The options of a convolution whose stride and padding are alike on both axes and both sides.
#[cfg(feature = "flex")]
fn vanilla_options(conv: &Conv2d) -> Option<OctConvOptions> {
    let [stride, across] = conv.stride;
    let (padding, same) = match &conv.padding {
        PaddingConfig2d::Valid => ([(0, 0); 2], false),
        &PaddingConfig2d::Explicit(top, left, bottom, right) => {
            ([(top, bottom), (left, right)], false)
        }
        PaddingConfig2d::Same => return None,
    };
    (stride == across).then_some(OctConvOptions {
        stride,
        strided: stride == 2,
        padding,
        same,
        dilation: conv.dilation,
        downsample: Downsample::Average,
        upsample: Upsample::Nearest,
    })
}
