//! The blueprint of each architecture, family by family.

mod densenet;
mod mobilenet;
mod resnet;

use super::{Alpha, Arch, ModelError, OctNetConfig, Shares, block::BlockConfig, stem::StemConfig};

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

impl OctNetConfig {
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

impl Alpha {
    /// The shares that each stage of a network of `stages` stages (three or four) leaves with.
    pub(super) fn of_stages(self, arch: Arch, stages: usize) -> Result<[Shares; 4], ModelError> {
        let mut shares = self.stages();
        let uniform = shares[0] == shares[1] && shares[1] == shares[2];
        let third = shares[2];
        if stages == 3
            && third.alpha() != Some(0.0)
            && (!uniform || matches!(self, Self::PerStage(_)))
        {
            let third = Self::of_shares([third; 3]);
            let third = Box::new(third);
            return Err(ModelError::LastStage { arch, third });
        }
        shares[stages - 1..].fill(Shares::PLAIN);
        Ok(shares)
    }

    /// The α of each stage of a network whose blocks have no more than two frequencies.
    pub(super) fn alphas(self, arch: Arch, stages: usize) -> Result<[f64; 4], ModelError> {
        let shares = self.of_stages(arch, stages)?;
        let more = |shares: &Shares| shares.alpha().is_none();
        match shares.into_iter().find(more) {
            Some(shares) => {
                let shares = Box::new(shares);
                Err(ModelError::Frequencies { arch, shares })
            }
            None => Ok(shares.map(|shares| shares.alpha().unwrap_or(0.0))),
        }
    }
}
