//! The operations of a backend that has fused kernels for what this crate computes.
//!
//! A backend implements [`OctBackend`]; [`eligibility`](super::eligibility) says what it is asked
//! to compute. All else is composed by the public functions, not by a default body of the trait:
//! such a body would see tensors of one backend only, and Burn's layers know the [`Tensor`] of
//! all backends.

use burn::{
    backend::{Backend, Dispatch, ExtensionType, backend_extension, tensor::FloatTensor},
    nn::BatchNorm,
    tensor::Tensor,
};
use octave_plan::{Activation, Plan};

use super::OctKernels;
use crate::OctFeatures;

/// What fused kernels compute in training; a backend also goes back through it.
#[backend_extension(Autodiff, Flex)]
pub trait OctBackend: Backend {
    /// Computes the output groups of an octave convolution.
    fn octconv2d(#[extension_type] operands: Operands<Self>, geometry: Geometry) -> Outputs<Self>;

    /// Normalises by the statistics of the batch, adds the residual, and applies the activation.
    fn batch_norm_train_with(
        #[extension_type] operands: NormOperands<Self>,
        options: NormOptions,
    ) -> Normalized<Self>;

    /// Normalises by the statistics of the batch, applies the activation and pools. There is no
    /// residual.
    fn batch_norm_max_pool_train(
        #[extension_type] operands: NormOperands<Self>,
        options: NormOptions,
        pool: MaxPool,
    ) -> Normalized<Self>;
}

/// An octave convolution in f32 for inputs of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// What the layer computes.
    pub plan: Plan<2>,
    /// Images.
    pub images: usize,
    /// The full resolution of the input, `[height, width]`.
    pub size: [usize; 2],
}

/// The hyper-parameters of a norm.
#[derive(Debug, Clone, Copy)]
pub struct NormOptions {
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied to the result.
    pub activation: Activation,
}

/// Max-pooling over windows that lie within a map or reach over its border.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    /// Height and width of the input.
    pub size: [usize; 2],
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Distance between windows, per axis.
    pub stride: [usize; 2],
    /// How far the first window reaches over the border, per axis.
    pub padding: [usize; 2],
}

/// A tensor that may be missing.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    /// It is there.
    Given(FloatTensor<B>),
    /// It is not.
    Absent,
}

impl<const D: usize> From<Option<Tensor<D>>> for Operand<Dispatch> {
    fn from(tensor: Option<Tensor<D>>) -> Self {
        Self::new(tensor.map(Tensor::into_dispatch))
    }
}

impl<B: Backend> Operand<B> {
    pub(super) fn new(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Absent, Self::Given)
    }

    pub(super) fn get(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

/// What an octave convolution is computed from.
#[derive(ExtensionType)]
pub struct Operands<B: Backend> {
    /// X^H.
    #[extension_type]
    pub high: Operand<B>,
    /// X^L.
    #[extension_type]
    pub low: Operand<B>,
    /// Kernel H→H.
    #[extension_type]
    pub h2h: Operand<B>,
    /// Kernel H→L.
    #[extension_type]
    pub h2l: Operand<B>,
    /// Kernel L→H.
    #[extension_type]
    pub l2h: Operand<B>,
    /// Kernel L→L.
    #[extension_type]
    pub l2l: Operand<B>,
    /// Bias of the high output.
    #[extension_type]
    pub bias_high: Operand<B>,
    /// Bias of the low output.
    #[extension_type]
    pub bias_low: Operand<B>,
}

/// Y^H and Y^L.
#[derive(ExtensionType)]
pub struct Outputs<B: Backend> {
    /// Y^H.
    #[extension_type]
    pub high: Operand<B>,
    /// Y^L.
    #[extension_type]
    pub low: Operand<B>,
}

/// What is normalised, and with what.
#[derive(ExtensionType)]
pub struct NormOperands<B: Backend> {
    /// The input.
    pub x: FloatTensor<B>,
    /// Scale.
    pub gamma: FloatTensor<B>,
    /// Shift.
    pub beta: FloatTensor<B>,
    /// Added to the normalised input.
    #[extension_type]
    pub residual: Operand<B>,
}

impl NormOperands<Dispatch> {
    pub(super) fn new(norm: &BatchNorm, x: Tensor<4>, residual: Option<Tensor<4>>) -> Self {
        Self {
            x: x.into_dispatch(),
            gamma: norm.gamma.val().into_dispatch(),
            beta: norm.beta.val().into_dispatch(),
            residual: Operand::from(residual),
        }
    }
}

/// The result, and the statistics of the batch.
#[derive(ExtensionType)]
pub struct Normalized<B: Backend> {
    /// The result.
    pub y: FloatTensor<B>,
    /// Mean of each channel.
    pub mean: FloatTensor<B>,
    /// Biased variance of each channel: divided by the number of values.
    pub variance: FloatTensor<B>,
}

/// Computes an octave convolution by the fused kernels.
pub(super) fn octconv2d(
    features: OctFeatures,
    kernels: OctKernels,
    geometry: Geometry,
) -> OctFeatures {
    let size = geometry.plan.output_size(geometry.size);
    let (high, low) = features.into_parts();
    let operands = Operands {
        high: Operand::from(high),
        low: Operand::from(low),
        h2h: Operand::from(kernels.h2h),
        h2l: Operand::from(kernels.h2l),
        l2h: Operand::from(kernels.l2h),
        l2l: Operand::from(kernels.l2l),
        bias_high: Operand::from(kernels.bias_high),
        bias_low: Operand::from(kernels.bias_low),
    };
    let Outputs { high, low } = <Dispatch as OctBackend>::octconv2d(operands, geometry);
    let [high, low] = [high, low].map(|group| group.get().map(Tensor::from_dispatch));
    OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
}
