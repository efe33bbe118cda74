//! Batch normalisation of a training step by the engine, with the residual sum and the activation
//! that follow it: one operation that keeps its input and its output, and computes all gradients
//! in place.

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::{Shape, TensorData},
};
use octave_engine::{
    Isa,
    train::norm::{Forward, Norm, ParameterGradients, Residual, Statistics},
};
use octave_plan::Activation;

use super::tensor::{contiguous, unwritten};
use crate::ops::backend::{NormOperands, NormOptions, Normalized};

/// The engine's form of a norm of a map of this shape.
pub(super) fn engine<'a>(
    options: &NormOptions,
    shape: &Shape,
    gamma: &'a FlexTensor,
    beta: &'a FlexTensor,
) -> Norm<'a> {
    let [images, channels, height, width] = shape.dims();
    Norm {
        dims: [images, channels, height * width],
        gamma: gamma.storage(),
        beta: beta.storage(),
        epsilon: options.epsilon,
        bounds: options.activation.bounds(),
    }
}

/// All tensors must be contiguous. Writes over the residual if nobody else holds it.
fn forward(
    options: &NormOptions,
    [x, gamma, beta]: [&FlexTensor; 3],
    residual: Option<FlexTensor>,
) -> (FlexTensor, Statistics) {
    let norm = engine(options, &x.shape(), gamma, beta);
    let mut statistics = Statistics::default();
    let fresh = || unwritten(x.shape());
    let (mut y, residual) = match residual {
        Some(residual) if residual.is_unique() => (residual, Residual::Output),
        Some(ref residual) => (fresh(), Residual::Tensor(residual.storage())),
        None => (fresh(), Residual::None),
    };
    let output = y.storage_mut();
    norm.forward(Isa::best(), x.storage(), residual, output, &mut statistics);
    (y, statistics)
}

/// Mean and variance of each channel, as tensors.
pub(super) fn vectors(statistics: &Statistics) -> [FlexTensor; 2] {
    let vector = |values: &[f32]| TensorData::new(values.to_vec(), [values.len()]);
    [&statistics.mean, &statistics.variance].map(|values| FlexTensor::from_data(vector(values)))
}

pub(super) fn batch_norm(operands: NormOperands<Flex>, options: NormOptions) -> Normalized<Flex> {
    let residual = operands.residual.get().map(contiguous);
    let [x, gamma, beta] = [operands.x, operands.gamma, operands.beta].map(contiguous);
    let (y, statistics) = forward(&options, [&x, &gamma, &beta], residual);
    let [mean, variance] = vectors(&statistics);
    Normalized { y, mean, variance }
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
    options: NormOptions,
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
        let norm = engine(&options, &x.shape(), &gamma, &beta);
        let forward = Forward {
            y: y.as_ref().map(FlexTensor::storage),
            statistics: &statistics,
        };
        let parameter = |like: &FlexTensor| unwritten(like.shape());
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

pub(super) fn tracked_batch_norm<C: CheckpointStrategy>(
    operands: NormOperands<Autodiff<Flex, C>>,
    options: NormOptions,
) -> Normalized<Autodiff<Flex, C>> {
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
        None => Autodiff::<Flex, C>::from_inner(gamma.primitive().clone()).node(),
    };
    let nodes = [x.node(), gamma.node(), beta.node(), residual_node];
    let contiguous = |tensor: FloatTensor<Autodiff<Flex, C>>| contiguous(tensor.into_primitive());
    let residual = residual.map(contiguous);
    let [x, gamma, beta] = [x, gamma, beta].map(contiguous);
    let (y, statistics) = forward(&options, [&x, &gamma, &beta], residual);
    let [mean, variance] = vectors(&statistics).map(Autodiff::<Flex, C>::from_inner);
    let y = match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let saved = Saved {
                x,
                y: (options.activation != Activation::Identity).then(|| y.clone()),
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
