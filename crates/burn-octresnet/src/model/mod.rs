//! The backbones: one family of octave networks, each of them vanilla at α = 0.
//!
//! An [`Arch`] names a network, an [`OctNetConfig`] chooses classes, α, stem and width, and
//! [`OctNetConfig::init`] builds an [`OctNet`], whichever its blocks are. Networks and their
//! costs come from the same description, so [`OctNetConfig::cost`] counts exactly what is built.
//!
//! ```
//! use burn_octresnet::model::{Alpha, Arch, OctNetConfig};
//!
//! let arch: Arch = "oct-resnet-50-v2".parse()?;
//! let config = OctNetConfig::new(arch, 1000);
//! let (octave, vanilla) = (config.cost([224, 224])?, config.vanilla().cost([224, 224])?);
//! assert_eq!(octave.params, vanilla.params);
//! assert_eq!(octave.macs.total() * 100 / vanilla.macs.total(), 57);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source of the octave networks: Chen et al., "Drop an Octave",
//! <https://arxiv.org/abs/1904.05049>, and the authors' code,
//! <https://github.com/facebookresearch/OctConv>.

mod alpha;
mod arch;
mod block;
mod config;
mod conv;
mod cut;
mod error;
mod family;
mod features;
mod kind;
mod layers;
mod network;
mod shares;
mod stem;
mod stride;
mod wire;

pub use alpha::Alpha;
pub use arch::{Arch, UnknownArch};
pub use block::{
    Block, BlockConfig, DenseLayer, DenseLayerConfig, Inverted, InvertedConfig, Order, PadShortcut,
    Projection, Residual, ResidualConfig, Separable, SeparableConfig, Shape, Shortcut, StrideAt,
    Transition, TransitionConfig,
};
pub use config::OctNetConfig;
pub use conv::ConvSpec;
pub(crate) use cut::Piece;
pub use error::ModelError;
pub use features::{Features, OctaveMap};
pub use kind::Kind;
pub use layers::{ConvNorm, LayerCost};
pub use network::OctNet;
pub use shares::Shares;
pub use stem::Stem;
pub use stride::Stride;
