//! Batch normalisation of a training step by the engine, with the residual sum and the activation
//! that follow it: one operation that keeps its input and its output, and computes all gradients
//! in place.

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, ExtensionType, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    nn::BatchNorm,
    tensor::{DType, Shape, Tensor, TensorData},
};

use super::{Operand, contiguous, zeros};
use crate::ops::{
    norm::{Activation, BatchStatistics},
    uses_engine,
};
use octave_engine::{
    Isa,
    train::norm::{Forward, Norm, ParameterGradients, Residual, Statistics},
};

/// Whether the engine computes this: in f32, on Flex.
pub(in crate::ops) fn applies(
    norm: &BatchNorm,
    x: &Tensor<4>,
    residual: Option<&Tensor<4>>,
) -> bool {
    let by_engine = |dtype, device| dtype == DType::F32 && uses_engine(&device);
    let parameters = [norm.gamma.val(), norm.beta.val()];
    let [_, channels, ..] = x.dims();
    x.shape().num_elements() > 0
        && parameters
            .iter()
            .all(|p| p.dims() == [channels] && by_engine(p.dtype(), p.device()))
        && [Some(x), residual]
            .into_iter()
            .flatten()
            .all(|t| t.dims() == x.dims() && by_engine(t.dtype(), t.device()))
}

/// Normalises with the statistics of the batch, which it returns, too.
pub(in crate::ops) fn batch_norm(
    norm: &BatchNorm,
    x: Tensor<4>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> (Tensor<4>, BatchStatistics) {
    let operands = NormOperands {
        x: x.into_dispatch(),
        gamma: norm.gamma.val().into_dispatch(),
        beta: norm.beta.val().into_dispatch(),
        residual: Operand::from(residual),
    };
    let options = Options::new(norm, activation);
    <burn::backend::Dispatch as NormBackend>::batch_norm_train_with(operands, options)
        .into_tensors()
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

/// The result, and the statistics of the batch.
#[derive(ExtensionType)]
pub struct Normalized<B: Backend> {
    /// The result.
    pub y: FloatTensor<B>,
    /// Mean of each channel.
    pub mean: FloatTensor<B>,
    /// Biased variance of each channel.
    pub variance: FloatTensor<B>,
}

impl Normalized<burn::backend::Dispatch> {
    pub(super) fn into_tensors(self) -> (Tensor<4>, BatchStatistics) {
        let statistics = BatchStatistics {
            mean: Tensor::from_dispatch(self.mean),
            variance: Tensor::from_dispatch(self.variance),
        };
        (Tensor::from_dispatch(self.y), statistics)
    }
}

/// The hyper-parameters.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    epsilon: f32,
    bounds: [f32; 2],
}

impl Options {
    pub(super) fn new(norm: &BatchNorm, activation: Activation) -> Self {
        Self {
            epsilon: norm.epsilon as f32,
            bounds: activation.bounds(),
        }
    }

    pub(super) fn norm<'a>(
        &self,
        shape: &Shape,
        gamma: &'a FlexTensor,
        beta: &'a FlexTensor,
    ) -> Norm<'a> {
        let [images, channels, height, width] = shape.dims();
        Norm {
            dims: [images, channels, height * width],
            gamma: gamma.storage(),
            beta: beta.storage(),
            epsilon: self.epsilon,
            bounds: self.bounds,
        }
    }

    fn bounded(&self) -> bool {
        self.bounds != Activation::Identity.bounds()
    }

    /// All tensors must be contiguous. Writes over the residual if nobody else holds it.
    fn forward(
        &self,
        x: &FlexTensor,
        gamma: &FlexTensor,
        beta: &FlexTensor,
        residual: Option<FlexTensor>,
    ) -> (FlexTensor, Statistics) {
        let norm = self.norm(&x.shape(), gamma, beta);
        let mut statistics = Statistics::default();
        let fresh = || zeros(x.shape());
        let (mut y, residual) = match residual {
            Some(residual) if residual.is_unique() => (residual, Residual::Output),
            Some(ref residual) => (fresh(), Residual::Tensor(residual.storage())),
            None => (fresh(), Residual::None),
        };
        let output = y.storage_mut();
        norm.forward(Isa::best(), x.storage(), residual, output, &mut statistics);
        (y, statistics)
    }
}

/// Mean and variance of each channel, as tensors.
pub(super) fn vectors(statistics: &Statistics) -> [FlexTensor; 2] {
    let vector = |values: &[f32]| TensorData::new(values.to_vec(), [values.len()]);
    [&statistics.mean, &statistics.variance].map(|values| FlexTensor::from_data(vector(values)))
}

/// The operation that a backend with an engine provides.
#[backend_extension(Autodiff, Flex)]
pub trait NormBackend: Backend {
    /// Normalises by the statistics of the batch, adds the residual, and bounds the result.
    fn batch_norm_train_with(
        #[extension_type] operands: NormOperands<Self>,
        options: Options,
    ) -> Normalized<Self>;
}

impl NormBackend for Flex {
    fn batch_norm_train_with(operands: NormOperands<Self>, options: Options) -> Normalized<Self> {
        let residual = operands.residual.get().map(contiguous);
        let [x, gamma, beta] = [operands.x, operands.gamma, operands.beta].map(contiguous);
        let (y, statistics) = options.forward(&x, &gamma, &beta, residual);
        let [mean, variance] = vectors(&statistics);
        Normalized { y, mean, variance }
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
struct Saved {
    x: FlexTensor,
    /// The output, where it was bounded.
    y: Option<FlexTensor>,
    gamma: FlexTensor,
    beta: FlexTensor,
    statistics: Statistics,
    options: Options,
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 4> for NormBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved {
            mut x,
            y,
            gamma,
            beta,
            statistics,
            options,
        } = ops.state;
        let mut dy = contiguous(grads.consume::<Flex>(&ops.node));
        let norm = options.norm(&x.shape(), &gamma, &beta);
        let forward = Forward {
            y: y.as_ref().map(FlexTensor::storage),
            statistics: &statistics,
        };
        let parameter = |like: &FlexTensor| zeros(like.shape());
        let (mut d_gamma, mut d_beta) = (parameter(&gamma), parameter(&beta));
        let to = ParameterGradients {
            gamma: d_gamma.storage_mut(),
            beta: d_beta.storage_mut(),
        };
        let [of_x, of_gamma, of_beta, of_residual] = ops.parents;
        let isa = Isa::best();
        // Both gradients take memory that nobody needs any more; where someone does, Flex copies.
        let (dx, dz) = if of_residual.is_some() {
            norm.backward_with_residual(isa, x.storage_mut(), forward, dy.storage_mut(), to);
            (x, Some(dy))
        } else {
            norm.backward(isa, x.storage(), forward, dy.storage_mut(), to);
            (dy, None)
        };
        let gradients = [
            (of_x, Some(dx)),
            (of_gamma, Some(d_gamma)),
            (of_beta, Some(d_beta)),
            (of_residual, dz),
        ];
        for (parent, gradient) in gradients {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> NormBackend for Autodiff<Flex, C> {
    fn batch_norm_train_with(operands: NormOperands<Self>, options: Options) -> Normalized<Self> {
        let NormOperands {
            x,
            gamma,
            beta,
            residual,
        } = operands;
        let residual = residual.get();
        // An operation has a fixed number of parents; a constant stands for a missing residual.
        let residual_node = match &residual {
            Some(residual) => residual.node(),
            None => Self::from_inner(gamma.primitive().clone()).node(),
        };
        let nodes = [x.node(), gamma.node(), beta.node(), residual_node];
        let contiguous = |tensor: FloatTensor<Self>| contiguous(tensor.into_primitive());
        let residual = residual.map(contiguous);
        let [x, gamma, beta] = [x, gamma, beta].map(contiguous);
        let (y, statistics) = options.forward(&x, &gamma, &beta, residual);
        let [mean, variance] = vectors(&statistics).map(Self::from_inner);
        let y = match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let saved = Saved {
                    x,
                    y: options.bounded().then(|| y.clone()),
                    gamma,
                    beta,
                    statistics,
                    options,
                };
                prepared.finish(saved, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        };
        Normalized { y, mean, variance }
    }
}
