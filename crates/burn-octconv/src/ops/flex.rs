//! The CPU engine under Burn's Flex backend, forward and backward.

mod conv;
mod memory;
mod norm;
mod pooled;
pub(crate) mod tensor;

use burn::backend::{Autodiff, Flex, autodiff::checkpoint::strategy::CheckpointStrategy};

use super::backend::{
    Geometry, Levels, MaxPool, NormOperands, NormOptions, Normalized, OctBackend, Operands,
};

/// Gives the memory that is kept between calls back to the system.
pub(super) fn release_memory() {
    memory::release();
    conv::WORKSPACES.clear();
}

impl OctBackend for Flex {
    fn octconv2d(operands: Operands<Self>, geometry: Geometry) -> Levels<Self> {
        conv::octconv2d(operands, geometry)
    }

    fn batch_norm_train_with(
        operands: NormOperands<Self>,
        options: NormOptions,
    ) -> Normalized<Self> {
        norm::batch_norm(operands, options)
    }

    fn batch_norm_max_pool_train(
        operands: NormOperands<Self>,
        options: NormOptions,
        pool: MaxPool,
    ) -> Normalized<Self> {
        pooled::batch_norm_max_pool(operands, options, pool)
    }
}

impl<C: CheckpointStrategy> OctBackend for Autodiff<Flex, C> {
    fn octconv2d(operands: Operands<Self>, geometry: Geometry) -> Levels<Self> {
        conv::tracked_octconv2d(operands, geometry)
    }

    fn batch_norm_train_with(
        operands: NormOperands<Self>,
        options: NormOptions,
    ) -> Normalized<Self> {
        norm::tracked_batch_norm(operands, options)
    }

    fn batch_norm_max_pool_train(
        operands: NormOperands<Self>,
        options: NormOptions,
        pool: MaxPool,
    ) -> Normalized<Self> {
        pooled::tracked_batch_norm_max_pool(operands, options, pool)
    }
}
