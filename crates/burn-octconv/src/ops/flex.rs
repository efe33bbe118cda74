//! The bridge from Burn's Flex backend to the CPU engine, forward and backward: backend extensions
//! with a gradient of their own.

mod conv;
pub(super) mod norm;
pub(super) mod pooled;
#[cfg(test)]
mod tests;

pub(super) use conv::octconv2d;

use burn::{
    backend::{Backend, ExtensionType, flex::FlexTensor, tensor::FloatTensor},
    tensor::{DType, Shape, Tensor, TensorData},
};

use super::{OctKernels, uses_engine};
use crate::{Downsample, OctFeatures, Upsample};
use octave_engine::train::OctConv;
use octave_plan::{Padding, Plan};

/// What the engine is to compute, or `None` where it does not apply: on another backend, inside of
/// [`without_engine`](super::without_engine), in another precision than f32, or with options that
/// only the composed form has.
pub(super) fn geometry(
    features: &OctFeatures,
    kernels: &OctKernels,
    options: &Plan<2>,
) -> Option<OctConv> {
    let present = [&kernels.h2h, &kernels.h2l, &kernels.l2h, &kernels.l2l];
    let tensors = [features.high(), features.low()];
    let tensors = tensors.into_iter().chain(present.map(Option::as_ref));
    let biases = [&kernels.bias_high, &kernels.bias_low]
        .into_iter()
        .flatten();
    let f32_on_flex = tensors
        .flatten()
        .all(|x| x.dtype() == DType::F32 && uses_engine(&x.device()))
        && biases.into_iter().all(|x| x.dtype() == DType::F32);
    let alone = kernels.h2l.is_none() && kernels.l2h.is_none() && kernels.l2l.is_none();
    let default_resampling =
        options.downsample == Downsample::Average && options.upsample == Upsample::Nearest;
    let strided = options.strided && options.stride == 2;
    if !f32_on_flex || !(alone || default_resampling) || (strided && !alone) {
        return None;
    }

    let kernel = options.kernel_size;
    let reach = options.extent().map(|extent| extent - 1);
    // `same` with a strided convolution depends on the size and may pad at the end only.
    let padding = options.padding_at_stride_1();
    let symmetric = padding.iter().all(|(begin, end)| begin == end);
    if !symmetric || (strided && options.padding == Padding::Same && reach != [0, 0]) {
        return None;
    }
    let padding = padding.map(|(begin, _)| begin);
    // A single path from or to the low group may have a padding that changes its size, and then
    // the full resolution is not that of the input.
    let keeps_size = [0, 1].iter().all(|&axis| 2 * padding[axis] == reach[axis]);
    if !(keeps_size || alone) {
        return None;
    }

    let [channels_high, channels_low] = features.channels();
    let out = |a: &Option<Tensor<4>>, b: &Option<Tensor<4>>| {
        a.as_ref()
            .or(b.as_ref())
            .map_or(0, |kernel| kernel.dims()[0])
    };
    // Groups are left to the composed form: where they are narrower than a channel block, the
    // engine multiplies zeros, which costs time and spreads a NaN to channels that never read it.
    let grouped = [
        (&kernels.h2h, channels_high),
        (&kernels.h2l, channels_high),
        (&kernels.l2h, channels_low),
        (&kernels.l2l, channels_low),
    ]
    .into_iter()
    .any(|(kernel, channels)| {
        kernel
            .as_ref()
            .is_some_and(|kernel| kernel.dims()[1] != channels)
    });
    let batch = features.high().or(features.low())?.dims()[0];
    let geometry = OctConv {
        images: batch,
        size: features.size(),
        c_in: [channels_high, channels_low],
        c_out: [
            out(&kernels.h2h, &kernels.l2h),
            out(&kernels.l2l, &kernels.h2l),
        ],
        kernel,
        stride: options.stride,
        strided,
        padding,
        dilation: options.dilation,
        groups: 1,
    };
    let paths = present.map(Option::is_some);
    let supported = geometry.unsupported(paths).is_none();
    (!grouped && batch > 0 && supported).then_some(geometry)
}

/// The engine reads whole buffers, so views are copied.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// A tensor for results. Not [`FlexTensor::empty`], which allocates large tensors twice and copies
/// one to the other for the sake of alignment.
fn zeros(shape: Shape) -> FlexTensor {
    let floats = vec![0.0f32; shape.num_elements()];
    FlexTensor::from_data(TensorData::new(floats, shape))
}

/// A tensor that may be missing.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    /// It is there.
    Given(FloatTensor<B>),
    /// It is not.
    Absent,
}

impl<const D: usize> From<Option<Tensor<D>>> for Operand<burn::backend::Dispatch> {
    fn from(tensor: Option<Tensor<D>>) -> Self {
        Self::new(tensor.map(Tensor::into_dispatch))
    }
}

impl<B: Backend> Operand<B> {
    fn new(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Absent, Self::Given)
    }

    fn get(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}
