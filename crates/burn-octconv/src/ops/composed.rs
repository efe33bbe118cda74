//! The octave convolution written with Burn's primitive operations: works on every backend, is
//! differentiated by Burn's autodiff and can be captured as a graph.

use burn::tensor::{Tensor, module::conv2d, ops::ConvOptions};
use octave_plan::{Path, Plan};

use super::{OctKernels, resample};
use crate::{Downsample, OctFeatures, Upsample};

/// See [`ops::octconv2d`](super::octconv2d).
pub fn octconv2d(features: OctFeatures, kernels: OctKernels, plan: &Plan<2>) -> OctFeatures {
    let size = features.size();
    let out_size = plan.output_size(size);
    let (high, low) = features.into_parts();
    // Pooled once for all paths that read the pooled map.
    let group = |x: Option<Tensor<4>>| {
        let pooled = x.clone().filter(|_| plan.pools()).map(resample::avg_pool);
        [x, pooled]
    };
    let inputs = [group(high), group(low)];

    let convolve = |path: &Path, bias: Option<Tensor<1>>| {
        let x = inputs[path.from][path.pool]
            .clone()
            .expect("the group that a path reads");
        let kernel = kernels.get(path).expect("the kernel of a path").clone();
        let x = (0..path.down).fold(x, |x, _| match plan.downsample {
            Downsample::Max => resample::max_pool(x),
            _ => resample::avg_pool(x),
        });
        let groups = x.dims()[1] / kernel.dims()[1];
        let (stride, padding) = (plan.stride_of(path), plan.padding_of(path, size));
        let options = ConvOptions::new_with_padding(stride, padding, plan.dilation, groups);
        let y = conv2d(x, kernel, bias, options);
        (path.to..path.to + path.up).rev().fold(y, |y, level| {
            let size = plan.level_size(out_size, level);
            match plan.upsample {
                Upsample::Nearest => resample::upsample_nearest(y, size),
                Upsample::Bilinear => resample::upsample_bilinear(y, size),
            }
        })
    };
    // The group's own path carries the bias, or else the first. Upsampling keeps constants.
    let sum = |to: usize, mut bias: Option<Tensor<1>>| {
        let own = plan.path(to, to);
        let others = plan.into_group(to).filter(|path| path.from != to);
        let parts = own.into_iter().chain(others);
        parts
            .map(|path| convolve(path, bias.take()))
            .reduce(|sum, y| sum + y)
    };
    let (high, low) = (
        sum(0, kernels.bias_high.clone()),
        sum(1, kernels.bias_low.clone()),
    );
    OctFeatures::try_new(high, low, out_size).unwrap_or_else(|e| panic!("{e}"))
}
