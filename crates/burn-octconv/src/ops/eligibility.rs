//! What fused kernels compute: decided here, for all backends that have some.

use burn::{
    nn::{BatchNorm, PaddingConfig2d, conv::Conv2d, pool::MaxPool2d},
    tensor::Tensor,
};
use octave_engine::train::{OctConv, norm::Pool};
use octave_plan::{Exchange, Layer, Padding, Plan, Refusal};

use super::{
    OctKernels,
    backend::{Geometry, MaxPool},
    engine::{readable, untracked},
};
use crate::OctFeatures;

/// How an engine computes a layer whose result can stay in the engine's layout.
pub(super) enum Blocked {
    /// From a map in blocks of channels.
    Map,
    /// From images, whose channels are too few for a block.
    Images,
}

/// Channels from which on a block of sixteen is not mostly padding.
const FEW: usize = 8;

/// Whether an engine computes a layer so that its result can stay in the engine's layout.
pub(super) fn blocked(
    features: &OctFeatures,
    kernels: &OctKernels,
    plan: &Plan<2>,
) -> Result<Blocked, Refusal> {
    features.untracked()?;
    parameters(kernels, untracked, untracked)?;
    let (images, size) = (features.images(), features.size());
    let few = !features.is_blocked() && features.channels().iter().sum::<usize>() < FEW;
    if plan.is_depthwise() {
        depthwise(plan, images, size)?;
        return match few {
            true => Err(Refusal::Layer("a depthwise layer of few channels")),
            false => Ok(Blocked::Map),
        };
    }
    OctConv::new(plan.clone(), images, size)?;
    if !few {
        return Ok(Blocked::Map);
    }
    if plan.input[1] > 0 || plan.groups != 1 || plan.dilation != [1, 1] {
        return Err(Refusal::Layer(
            "a first layer with two frequencies, groups or dilation",
        ));
    }
    Ok(Blocked::Images)
}

/// Whether an engine computes a depthwise layer, whose groups are shared out among the frequencies.
fn depthwise(plan: &Plan<2>, images: usize, size: [usize; 2]) -> Result<(), Refusal> {
    depthwise_padding(plan)?;
    let mut paths = plan.paths.iter();
    if images == 0 || paths.any(|path| plan.conv_size(path, size).contains(&0)) {
        return Err(Refusal::Empty);
    }
    Ok(())
}

/// The padding at the top and at the left of a depthwise layer that an engine has the kernel of.
pub(crate) fn depthwise_padding(plan: &Plan<2>) -> Result<[usize; 2], Refusal> {
    let padding = plan.fused_padding()?;
    if plan.keeps_size() {
        return Ok(padding);
    }
    let padding = plan.padding_at_stride_1();
    Err(Refusal::Misaligned { padding })
}

/// Whether all kernels and biases are what is asked of them.
fn parameters(
    kernels: &OctKernels,
    kernel: impl Fn(&Tensor<4>) -> Result<(), Refusal>,
    bias: impl Fn(&Tensor<1>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let weights = [&kernels.h2h, &kernels.h2l, &kernels.l2h, &kernels.l2l];
    weights.into_iter().flatten().try_for_each(kernel)?;
    let biases = [&kernels.bias_high, &kernels.bias_low];
    biases.into_iter().flatten().try_for_each(bias)
}

/// The geometry of an octave convolution that an engine computes.
pub(super) fn octconv2d(
    features: &OctFeatures,
    kernels: &OctKernels,
    plan: &Plan<2>,
) -> Result<Geometry, Refusal> {
    features.readable()?;
    parameters(kernels, readable, readable)?;
    geometry(plan, features.images(), features.size(), false)
}

/// The geometry of a layer in f32, or of its adjoint, that an engine computes.
pub(crate) fn geometry(
    plan: &Plan<2>,
    images: usize,
    size: [usize; 2],
    transposed: bool,
) -> Result<Geometry, Refusal> {
    let conv = OctConv::new(plan.clone(), images, size)?;
    if transposed && !conv.transposes() {
        return Err(Refusal::Layer(
            "a transposed layer that is depthwise or strided, or has no path to a group",
        ));
    }
    Ok(Geometry {
        plan: plan.clone(),
        images,
        size,
        transposed,
    })
}

/// The plan of a vanilla convolution, if there is one for `x`.
pub(super) fn vanilla(conv: &Conv2d, channels: [usize; 2]) -> Result<Plan<2>, Refusal> {
    let [stride, across] = conv.stride;
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [(0, 0); 2],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        PaddingConfig2d::Same => return Err(Refusal::StridedPadding),
    };
    let [rows, columns, height, width] = conv.weight.dims();
    if stride != across {
        return Err(Refusal::Stride {
            stride: stride.max(across),
        });
    }
    if channels != [columns * conv.groups, 0] {
        return Err(Refusal::Shape);
    }
    let layer = Layer {
        stride,
        strided: true,
        padding: Padding::Explicit(padding),
        dilation: conv.dilation,
        groups: conv.groups,
        ..Layer::new([columns * conv.groups, 0], [rows, 0], [height, width])
    };
    Ok(Plan::new(layer, Exchange::Both))
}

/// Whether an engine computes this norm in training.
pub(super) fn norm(
    norm: &BatchNorm,
    x: &Tensor<4>,
    residual: Option<&Tensor<4>>,
) -> Result<(), Refusal> {
    let [_, channels, ..] = x.dims();
    if x.shape().num_elements() == 0 {
        return Err(Refusal::Empty);
    }
    for parameter in [norm.gamma.val(), norm.beta.val()] {
        readable(&parameter)?;
        if parameter.dims() != [channels] {
            return Err(Refusal::Shape);
        }
    }
    for map in [Some(x), residual].into_iter().flatten() {
        readable(map)?;
        if map.dims() != x.dims() {
            return Err(Refusal::Shape);
        }
    }
    Ok(())
}

/// What an engine is to pool a map of `size` with.
pub(super) fn max_pool(pool: &MaxPool2d, size: [usize; 2]) -> Result<MaxPool, Refusal> {
    let padding = match pool.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if [top, left] == [bottom, right] => {
            [top, left]
        }
        _ => return Err(Refusal::Pooling),
    };
    let windows = Pool {
        size,
        kernel: pool.kernel_size,
        stride: pool.stride,
        padding,
    };
    if pool.dilation != [1, 1] || pool.ceil_mode || windows.unsupported().is_some() {
        return Err(Refusal::Pooling);
    }
    Ok(MaxPool {
        size,
        kernel: pool.kernel_size,
        stride: pool.stride,
        padding,
    })
}

#[cfg(test)]
mod tests;
