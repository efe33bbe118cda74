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

use super::{
    layers::Layers,
    wire::{Chain, Wire},
};

/// Declares [`Block`] and [`BlockConfig`]: a kind of block is one file and one line here.
macro_rules! blocks {
    ($($(#[$doc:meta])+ $kind:ident($block:ident, $config:ident),)+) => {
        /// Any block of a network.
        #[derive(Module, Debug)]
        #[allow(
            clippy::large_enum_variant,
            reason = "a network has tens of blocks, and nearly all of its own are of one kind"
        )]
        pub enum Block {
            $($(#[$doc])+ $kind($block),)+
        }

        impl Block {
            /// Applies the block.
            ///
            /// # Shapes
            ///
            /// - full resolution `[height, width]` becomes that of [`BlockConfig::output_size`]
            pub fn forward(&self, input: OctFeatures) -> OctFeatures {
                match self {
                    $(Self::$kind(block) => block.forward(input),)+
                }
            }

            /// Folds every norm that stands directly after a convolution.
            pub fn fold_batch_norm(self) -> Self {
                match self {
                    $(Self::$kind(block) => Self::$kind(block.fold_batch_norm()),)+
                }
            }
        }

        /// Configuration of a [`Block`].
        #[derive(Debug, Clone)]
        pub enum BlockConfig {
            $($(#[$doc])+ $kind($config),)+
        }

        impl BlockConfig {
            pub(super) fn layers(&self) -> Layers {
                match self {
                    $(Self::$kind(block) => block.layers(),)+
                }
            }

            /// The maps within the block.
            pub(super) fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
                match self {
                    $(Self::$kind(block) => block.chain(input),)+
                }
            }

            /// Full resolution of the output for an input of full resolution `size`.
            pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
                match self {
                    $(Self::$kind(block) => block.output_size(size),)+
                }
            }

            /// Builds the block.
            ///
            /// # Errors
            ///
            /// An [`OctConvError`] that names the illegal value.
            pub fn try_init(&self, device: &Device) -> Result<Block, OctConvError> {
                Ok(match self {
                    $(Self::$kind(block) => Block::$kind(block.try_init(device)?),)+
                })
            }
        }
    };
}

blocks! {
    /// Of ResNets, ResNeXts, SE-ResNets and Wide ResNets.
    Residual(Residual, ResidualConfig),
    /// Of MobileNet v1.
    Separable(Separable, SeparableConfig),
    /// Of MobileNet v2.
    Inverted(Inverted, InvertedConfig),
    /// Of DenseNets.
    Dense(DenseLayer, DenseLayerConfig),
    /// Between the stages of DenseNets.
    Transition(Transition, TransitionConfig),
}
