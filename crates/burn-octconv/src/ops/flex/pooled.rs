//! Batch normalisation, activation and max-pooling of a training step by the engine, as one
//! operation that keeps its input and which pixels were taken.

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        flex::FlexTensor,
    },
    tensor::Shape,
};
use octave_engine::{
    Isa,
    train::norm::{ForwardPooled, ParameterGradients, Pool, Statistics},
};

use super::{
    norm::{engine, vectors},
    tensor::{contiguous, unwritten},
};
use crate::ops::backend::{MaxPool, NormOperands, NormOptions, Normalized};

fn windows(pool: &MaxPool) -> Pool {
    Pool {
        size: pool.size,
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
    }
}

/// All tensors must be contiguous. The output, which pixels were taken, and the statistics.
fn forward(
    [x, gamma, beta]: &[FlexTensor; 3],
    options: &NormOptions,
    pool: &Pool,
) -> (FlexTensor, Vec<u8>, Statistics) {
    let [images, channels, _, _] = x.shape().dims();
    let [height, width] = pool.out();
    let shape = Shape::from([images, channels, height, width]);
    let mut taken = vec![0; shape.num_elements()];
    let mut y = unwritten(shape);
    let mut statistics = Statistics::default();
    let norm = engine(options, &x.shape(), gamma, beta);
    let output = y.storage_mut();
    norm.forward_pooled(
        Isa::best(),
        pool,
        x.storage(),
        output,
        &mut taken,
        &mut statistics,
    );
    (y, taken, statistics)
}

pub(super) fn batch_norm_max_pool(
    operands: NormOperands<Flex>,
    options: NormOptions,
    pool: MaxPool,
) -> Normalized<Flex> {
    let operands = [operands.x, operands.gamma, operands.beta].map(contiguous);
    let (y, _, statistics) = forward(&operands, &options, &windows(&pool));
    let [mean, variance] = vectors(&statistics);
    Normalized { y, mean, variance }
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
struct Saved {
    operands: [FlexTensor; 3],
    taken: Arc<Vec<u8>>,
    statistics: Statistics,
    options: NormOptions,
    pool: Pool,
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 3> for PoolBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let Saved {
            operands: [x, gamma, beta],
            taken,
            statistics,
            options,
            pool,
        } = ops.state;
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let norm = engine(&options, &x.shape(), &gamma, &beta);
        let mut gradients = [&x, &gamma, &beta].map(|like| unwritten(like.shape()));
        let [dx, d_gamma, d_beta] = gradients.each_mut().map(FlexTensor::storage_mut);
        let to = ParameterGradients {
            gamma: d_gamma,
            beta: d_beta,
        };
        let forward = ForwardPooled {
            pool: &pool,
            taken: &taken,
            statistics: &statistics,
        };
        norm.backward_pooled(Isa::best(), x.storage(), forward, dy.storage(), dx, to);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

pub(super) fn tracked_batch_norm_max_pool<C: CheckpointStrategy>(
    operands: NormOperands<Autodiff<Flex, C>>,
    options: NormOptions,
    pool: MaxPool,
) -> Normalized<Autodiff<Flex, C>> {
    let (pool, operands) = (windows(&pool), [operands.x, operands.gamma, operands.beta]);
    let nodes = operands.each_ref().map(|tensor| tensor.node());
    let operands = operands.map(|tensor| contiguous(tensor.into_primitive()));
    let (y, taken, statistics) = forward(&operands, &options, &pool);
    let [mean, variance] = vectors(&statistics).map(Autodiff::<Flex, C>::from_inner);
    let y = match PoolBackward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let saved = Saved {
                operands,
                taken: Arc::new(taken),
                statistics,
                options,
                pool,
            };
            prepared.finish(saved, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    };
    Normalized { y, mean, variance }
}
