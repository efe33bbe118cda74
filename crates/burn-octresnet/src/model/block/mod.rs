//! The blocks that every network is made of.

mod dense;
mod mobile;
mod residual;
mod shortcut;

use burn::{module::Module, tensor::Device};
use burn_octconv::{OctConvError, OctFeatures};

pub use dense::{DenseLayer, DenseLayerConfig, Transition, TransitionConfig};
pub use mobile::{Inverted, InvertedConfig, Separable, SeparableConfig};
pub use residual::{Order, Projection, Residual, ResidualConfig, Shape, Shortcut, StrideAt};
pub use shortcut::PadShortcut;

use super::layers::Layers;

/// Any block of a network.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a network has tens of blocks, and nearly all of its own are of one kind"
)]
pub enum Block {
    /// Of ResNets, ResNeXts, SE-ResNets and Wide ResNets.
    Residual(Residual),
    /// Of MobileNet v1.
    Separable(Separable),
    /// Of MobileNet v2.
    Inverted(Inverted),
    /// Of DenseNets.
    Dense(DenseLayer),
    /// Between the stages of DenseNets.
    Transition(Transition),
}

impl Block {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / stride⌉, ⌈width / stride⌉]`
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        match self {
            Self::Residual(block) => block.forward(input),
            Self::Separable(block) => block.forward(input),
            Self::Inverted(block) => block.forward(input),
            Self::Dense(block) => block.forward(input),
            Self::Transition(block) => block.forward(input),
        }
    }

    /// Folds every norm that stands directly after a convolution.
    pub fn fold_batch_norm(self) -> Self {
        match self {
            Self::Residual(block) => Self::Residual(block.fold_batch_norm()),
            Self::Separable(block) => Self::Separable(block.fold_batch_norm()),
            Self::Inverted(block) => Self::Inverted(block.fold_batch_norm()),
            Self::Dense(block) => Self::Dense(block.fold_batch_norm()),
            // Its norm reads the input.
            Self::Transition(block) => Self::Transition(block),
        }
    }
}

/// Configuration of a [`Block`].
#[derive(Debug, Clone)]
pub enum BlockConfig {
    /// Of a [`Residual`] block.
    Residual(ResidualConfig),
    /// Of a [`Separable`] block.
    Separable(SeparableConfig),
    /// Of an [`Inverted`] block.
    Inverted(InvertedConfig),
    /// Of a [`DenseLayer`].
    Dense(DenseLayerConfig),
    /// Of a [`Transition`].
    Transition(TransitionConfig),
}

impl BlockConfig {
    pub(super) fn layers(&self) -> Layers {
        match self {
            Self::Residual(block) => block.layers(),
            Self::Separable(block) => block.layers(),
            Self::Inverted(block) => block.layers(),
            Self::Dense(block) => block.layers(),
            Self::Transition(block) => block.layers(),
        }
    }

    /// Full resolution of the output for an input of full resolution `size`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        let stride = match self {
            Self::Residual(block) => block.stride,
            Self::Separable(block) => block.stride,
            Self::Inverted(block) => block.stride,
            Self::Dense(_) => 1,
            Self::Transition(block) => return block.output_size(size),
        };
        size.map(|s| s.div_ceil(stride))
    }

    /// Builds the block.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<Block, OctConvError> {
        Ok(match self {
            Self::Residual(block) => Block::Residual(block.try_init(device)?),
            Self::Separable(block) => Block::Separable(block.try_init(device)?),
            Self::Inverted(block) => Block::Inverted(block.try_init(device)?),
            Self::Dense(block) => Block::Dense(block.try_init(device)?),
            Self::Transition(block) => Block::Transition(block.try_init(device)?),
        })
    }
}
