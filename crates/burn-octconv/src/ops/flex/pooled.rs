//! Batch normalisation, activation and max-pooling of a training step by the engine, as one
//! operation that keeps its input and which pixels were taken.

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    nn::{BatchNorm, PaddingConfig2d, pool::MaxPool2d},
    tensor::{Shape, Tensor},
};

use super::{
    contiguous,
    norm::{Normalized, Options, vectors},
    zeros,
};
use crate::ops::norm::{Activation, BatchStatistics};
use octave_engine::{
    Isa,
    train::norm::{ForwardPooled, ParameterGradients, Pool, Statistics},
};

/// What the engine is to pool a map of `size` with, if it can.
pub(in crate::ops) fn geometry(pool: &MaxPool2d, size: [usize; 2]) -> Option<Pool> {
    let padding = match pool.padding {
        PaddingConfig2d::Valid => [0, 0],
        PaddingConfig2d::Explicit(top, left, bottom, right) if [top, left] == [bottom, right] => {
            [top, left]
        }
        _ => return None,
    };
    let plain = pool.dilation == [1, 1] && !pool.ceil_mode;
    let pool = Pool {
        size,
        kernel: pool.kernel_size,
        stride: pool.stride,
        padding,
    };
    (plain && pool.unsupported().is_none()).then_some(pool)
}

/// Normalises with the statistics of the batch, which it returns, too, and pools.
pub(in crate::ops) fn batch_norm_max_pool(
    norm: &BatchNorm,
    x: Tensor<4>,
    activation: Activation,
    pool: Pool,
) -> (Tensor<4>, BatchStatistics) {
    let normalized = <burn::backend::Dispatch as PoolBackend>::batch_norm_max_pool_train(
        x.into_dispatch(),
        norm.gamma.val().into_dispatch(),
        norm.beta.val().into_dispatch(),
        Options::new(norm, activation),
        pool,
    );
    normalized.into_tensors()
}

/// The operation that a backend with an engine provides.
#[backend_extension(Autodiff, Flex)]
pub trait PoolBackend: Backend {
    /// Normalises by the statistics of the batch, bounds the result and pools it.
    fn batch_norm_max_pool_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: Options,
        pool: Pool,
    ) -> Normalized<Self>;
}

/// All tensors must be contiguous. The output, which pixels were taken, and the statistics.
fn forward(
    [x, gamma, beta]: &[FlexTensor; 3],
    options: &Options,
    pool: &Pool,
) -> (FlexTensor, Vec<u8>, Statistics) {
    let [images, channels, _, _] = x.shape().dims();
    let [height, width] = pool.out();
    let shape = Shape::from([images, channels, height, width]);
    let mut taken = vec![0; shape.num_elements()];
    let mut y = zeros(shape);
    let mut statistics = Statistics::default();
    let norm = options.norm(&x.shape(), gamma, beta);
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

impl PoolBackend for Flex {
    fn batch_norm_max_pool_train(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        options: Options,
        pool: Pool,
    ) -> Normalized<Self> {
        let (y, _, statistics) = forward(&[x, gamma, beta].map(contiguous), &options, &pool);
        let [mean, variance] = vectors(&statistics);
        Normalized { y, mean, variance }
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Debug, Clone)]
struct Saved {
    operands: [FlexTensor; 3],
    taken: Arc<Vec<u8>>,
    statistics: Statistics,
    options: Options,
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
        let norm = options.norm(&x.shape(), &gamma, &beta);
        let mut gradients = [&x, &gamma, &beta].map(|like| zeros(like.shape()));
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

impl<C: CheckpointStrategy> PoolBackend for Autodiff<Flex, C> {
    fn batch_norm_max_pool_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: Options,
        pool: Pool,
    ) -> Normalized<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let operands = [x, gamma, beta].map(|tensor| contiguous(tensor.into_primitive()));
        let (y, taken, statistics) = forward(&operands, &options, &pool);
        let [mean, variance] = vectors(&statistics).map(Self::from_inner);
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
}
