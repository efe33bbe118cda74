//! The octave convolution written with Burn's primitive operations: works on every backend, is
//! differentiated by Burn's autodiff and can be captured as a graph.

use burn::tensor::{Tensor, module::conv2d, ops::ConvOptions};

use super::{OctConvOptions, OctKernels, resample};
use crate::{Downsample, OctFeatures, Upsample, features::half};

/// See [`ops::octconv2d`](super::octconv2d).
pub fn octconv2d(
    features: OctFeatures,
    kernels: OctKernels,
    options: &OctConvOptions,
) -> OctFeatures {
    let full = features.size();
    let (high, low) = features.into_parts();

    // With stride 2 the pooled inputs take the place of the inputs, and all convolutions but the
    // strided ones have stride 1. L→H always reads the low input as it is.
    let pools = options.pools();
    let stride = if pools { 1 } else { options.stride };
    let l2h_input = low.clone();
    let (high, low) = if pools {
        (high.map(resample::avg_pool), low.map(resample::avg_pool))
    } else {
        (high, low)
    };

    // The first path into an output carries the bias. For L→H that is before the upsampling,
    // which keeps constants.
    let (mut bias_high, mut bias_low) = (kernels.bias_high, kernels.bias_low);
    let conv = |x, kernel, bias, stride| convolve(x, kernel, bias, stride, options);
    let h2h = high.clone().zip(kernels.h2h);
    let h2h = h2h.map(|(x, w)| conv(x, w, bias_high.take(), stride));
    let l2l = low.zip(kernels.l2l);
    let l2l = l2l.map(|(x, w)| conv(x, w, bias_low.take(), stride));
    let l2h = l2h_input.zip(kernels.l2h);
    let l2h = l2h.map(|(x, w)| conv(x, w, bias_high.take(), 1));
    let h2l = high.zip(kernels.h2l).map(|(x, w)| {
        let (x, stride) = match options.downsample {
            Downsample::Average => (resample::avg_pool(x), stride),
            Downsample::Max => (resample::max_pool(x), stride),
            Downsample::Strided => (x, 2 * stride),
        };
        conv(x, w, bias_low.take(), stride)
    });

    // What exists at all has the aligned size, except where a single path with a padding of its
    // own decides the size.
    let l2h = match (l2h, &h2h) {
        (Some(y), _) if options.stride == 2 => Some(y),
        (Some(y), h2h) => {
            let size = match h2h {
                Some(h2h) => spatial(h2h),
                None => upsampled_size(full, spatial(&y)),
            };
            Some(match options.upsample {
                Upsample::Nearest => resample::upsample_nearest(y, size),
                Upsample::Bilinear => resample::upsample_bilinear(y, size),
            })
        }
        (None, _) => None,
    };
    let high = sum(h2h, l2h);
    let low = sum(l2l, h2l);

    let size = match (&high, &low) {
        (Some(high), _) => spatial(high),
        (None, Some(low)) => {
            let full = if options.stride == 2 {
                half(full)
            } else {
                full
            };
            upsampled_size(full, spatial(low))
        }
        (None, None) => panic!("an octave convolution needs at least one path"),
    };
    OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
}

/// The full resolution over a low map of size `low`: `full` where the padding keeps sizes, and
/// twice the low size where it does not (possible with a single path only).
fn upsampled_size(full: [usize; 2], low: [usize; 2]) -> [usize; 2] {
    if half(full) == low {
        full
    } else {
        low.map(|s| 2 * s)
    }
}

fn spatial(x: &Tensor<4>) -> [usize; 2] {
    let [_, _, height, width] = x.dims();
    [height, width]
}

fn sum(a: Option<Tensor<4>>, b: Option<Tensor<4>>) -> Option<Tensor<4>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn convolve(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    options: &OctConvOptions,
) -> Tensor<4> {
    let [_, channels_per_group, kernel_height, kernel_width] = kernel.dims();
    let groups = x.dims()[1] / channels_per_group;
    let padding = if options.same {
        let [height, width] = spatial(&x);
        [
            same_padding(kernel_height, options.dilation[0], stride, height),
            same_padding(kernel_width, options.dilation[1], stride, width),
        ]
    } else {
        options.padding
    };
    let options = ConvOptions::new_with_padding([stride; 2], padding, options.dilation, groups);
    conv2d(x, kernel, bias, options)
}

/// Padding `(begin, end)` with which a convolution's output has `⌈size / stride⌉` elements; an
/// odd remainder goes to the end. The rule of Burn's `PaddingConfig2d::Same`, extended to
/// dilated kernels.
pub(crate) fn same_padding(
    kernel: usize,
    dilation: usize,
    stride: usize,
    size: usize,
) -> (usize, usize) {
    let extent = dilation * (kernel - 1) + 1;
    let covered = (size.div_ceil(stride) - 1) * stride + extent;
    let total = covered.saturating_sub(size);
    (total / 2, total - total / 2)
}
