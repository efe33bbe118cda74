//! The blocks that every network is made of.

mod dense;
mod mobile;
mod residual;
mod shortcut;

use burn::{module::Module, tensor::Device};
use burn_octconv::{MultiOctConv2d, OctConvError};

pub use dense::{DenseLayer, DenseLayerConfig, Transition, TransitionConfig};
pub use mobile::{Inverted, InvertedConfig, Separable, SeparableConfig};
pub use residual::{Order, Projection, Residual, ResidualConfig, Shape, Shortcut, StrideAt};
pub use shortcut::PadShortcut;

use super::{
    Features, OctaveMap,
    layers::Layers,
    wire::{Chain, Wire},
};

/// Declares [`Block`] and [`BlockConfig`]: a kind of block is one file and one line here.
macro_rules! blocks {
    ($($(#[$doc:meta])+ $kind:ident($block:ty, $config:ty),)+) => {
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
            ///
            /// # Panics
            ///
            /// If the block has two frequencies and the input more.
            pub fn forward(&self, input: impl Into<Features>) -> Features {
                let input = input.into();
                match self {
                    $(Self::$kind(block) => block.forward(OctaveMap::of(input)).into(),)+
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
    /// The same in more than two frequencies.
    Many(Residual<MultiOctConv2d>, ResidualConfig),
    /// Of MobileNet v1.
    Separable(Separable, SeparableConfig),
    /// Of MobileNet v2.
    Inverted(Inverted, InvertedConfig),
    /// Of DenseNets.
    Dense(DenseLayer, DenseLayerConfig),
    /// Between the stages of DenseNets.
    Transition(Transition, TransitionConfig),
}

impl BlockConfig {
    /// A residual block, whose layers are those for two frequencies wherever these will do: they are
    /// what engines compute.
    pub fn residual(config: ResidualConfig) -> Self {
        let two = [config.shares_in, config.shares_out]
            .iter()
            .all(|shares| shares.alpha().is_some());
        match two {
            true => Self::Residual(config),
            false => Self::Many(config),
        }
    }

    /// Whether its layers are those for more than two frequencies.
    pub(super) fn is_many(&self) -> bool {
        matches!(self, Self::Many(_))
    }
}
