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
use octave_engine::train::LEVELS;
use octave_plan::{Activation, Plan};

use super::OctKernels;
use crate::OctFeatures;

/// What fused kernels compute in training; a backend also goes back through it.
#[backend_extension(Autodiff, Flex)]
pub trait OctBackend: Backend {
    /// Computes the output groups of an octave convolution, or of a transposed one.
    fn octconv2d(#[extension_type] operands: Operands<Self>, geometry: Geometry) -> Levels<Self>;

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
    /// The full resolution of the input, `[height, width]`; of the output of a transposed layer.
    pub size: [usize; 2],
    /// Whether to compute the adjoint: inputs are then those that the plan calls outputs.
    pub transposed: bool,
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

/// A tensor of each level of resolution.
#[derive(ExtensionType)]
pub struct Levels<B: Backend> {
    /// At the full resolution: X^H of two frequencies.
    #[extension_type]
    pub full: Operand<B>,
    /// At a half of it: X^L.
    #[extension_type]
    pub half: Operand<B>,
    /// At a quarter.
    #[extension_type]
    pub quarter: Operand<B>,
    /// At an eighth.
    #[extension_type]
    pub eighth: Operand<B>,
}

impl<B: Backend> Levels<B> {
    pub(super) fn new(levels: [Option<FloatTensor<B>>; LEVELS]) -> Self {
        let [full, half, quarter, eighth] = levels.map(Operand::new);
        Self {
            full,
            half,
            quarter,
            eighth,
        }
    }

    pub(super) fn get(self) -> [Option<FloatTensor<B>>; LEVELS] {
        [self.full, self.half, self.quarter, self.eighth].map(Operand::get)
    }
}

impl<const D: usize> From<[Option<Tensor<D>>; LEVELS]> for Levels<Dispatch> {
    fn from(levels: [Option<Tensor<D>>; LEVELS]) -> Self {
        Self::new(levels.map(|tensor| tensor.map(Tensor::into_dispatch)))
    }
}

/// What an octave convolution is computed from.
#[derive(ExtensionType)]
pub struct Operands<B: Backend> {
    /// The inputs.
    #[extension_type]
    pub inputs: Levels<B>,
    /// The kernels of the paths from the full resolution, by the level that they lead to.
    #[extension_type]
    pub from_full: Levels<B>,
    /// Those of the paths from a half of it.
    #[extension_type]
    pub from_half: Levels<B>,
    /// From a quarter.
    #[extension_type]
    pub from_quarter: Levels<B>,
    /// From an eighth.
    #[extension_type]
    pub from_eighth: Levels<B>,
    /// The biases of the outputs.
    #[extension_type]
    pub biases: Levels<B>,
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

/// The tensors of each level, where there are some.
pub(crate) type ByLevel<const D: usize> = [Option<Tensor<D>>; LEVELS];

/// Computes a layer by the fused kernels. The kernels are listed by the level that they lead from and
/// then by the one that they lead to, those of a transposed layer as those of its convolution.
pub(crate) fn convolve(
    inputs: ByLevel<4>,
    kernels: [ByLevel<4>; LEVELS],
    biases: ByLevel<1>,
    geometry: Geometry,
) -> ByLevel<4> {
    let [from_full, from_half, from_quarter, from_eighth] = kernels.map(Levels::from);
    let operands = Operands {
        inputs: Levels::from(inputs),
        from_full,
        from_half,
        from_quarter,
        from_eighth,
        biases: Levels::from(biases),
    };
    let outputs = <Dispatch as OctBackend>::octconv2d(operands, geometry).get();
    outputs.map(|group| group.map(Tensor::from_dispatch))
}

/// Computes an octave convolution of two frequencies by the fused kernels.
pub(super) fn octconv2d(
    features: OctFeatures,
    kernels: OctKernels,
    geometry: Geometry,
) -> OctFeatures {
    let size = geometry.plan.output_size(geometry.size);
    let (high, low) = features.into_parts();
    let from_high = [kernels.h2h, kernels.h2l, None, None];
    let from_low = [kernels.l2h, kernels.l2l, None, None];
    let none = || [const { None }; LEVELS];
    let biases = [kernels.bias_high, kernels.bias_low, None, None];
    let inputs = [high, low, None, None];
    let kernels = [from_high, from_low, none(), none()];
    let [high, low, ..] = convolve(inputs, kernels, biases, geometry);
    OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
}
