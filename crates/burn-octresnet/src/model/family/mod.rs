//! The blueprint of each architecture, family by family.

mod densenet;
mod mobilenet;
mod resnet;

use super::{Arch, ModelError, OctResNetConfig, block::BlockConfig, stem::StemConfig};

/// What follows the last stage, whose output is a plain map.
#[derive(Debug, Clone)]
pub(super) enum Tail {
    /// Nothing.
    None,
    /// A norm and an activation, as after pre-activation blocks.
    Norm,
    /// A 1×1 convolution to this many channels, with a norm and an activation.
    Conv(usize),
}

/// A whole network, from which it is built and its cost is counted.
#[derive(Debug, Clone)]
pub(super) struct Blueprint {
    pub(super) stem: StemConfig,
    /// Three or four stages.
    pub(super) stages: Vec<Vec<BlockConfig>>,
    /// Channels after the last stage.
    pub(super) channels: usize,
    pub(super) tail: Tail,
}

impl OctResNetConfig {
    /// The blueprint of the network. The caller has checked width, α and stem.
    pub(super) fn blueprint(&self) -> Result<Blueprint, ModelError> {
        if let Some(net) = self.arch.residual() {
            return self.resnet(&net);
        }
        match self.arch {
            Arch::OctDenseNet121 => self.densenet_121(),
            Arch::OctMobileNetV1 => self.mobilenet_v1(1.0),
            Arch::OctMobileNetV1W075 => self.mobilenet_v1(0.75),
            Arch::OctMobileNetV2 => self.mobilenet_v2(1.0),
            _ => self.mobilenet_v2(1.125),
        }
    }
}
