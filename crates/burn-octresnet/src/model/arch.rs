use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The registered architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// Oct-ResNet-26, post-activation: stages of 2, 2, 2, 2 bottleneck blocks.
    #[serde(rename = "oct-resnet-26")]
    OctResNet26,
    /// Oct-ResNet-50, post-activation: stages of 3, 4, 6, 3 bottleneck blocks.
    #[serde(rename = "oct-resnet-50")]
    OctResNet50,
}

impl Arch {
    /// Every registered architecture.
    pub const ALL: [Self; 2] = [Self::OctResNet26, Self::OctResNet50];

    /// The name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OctResNet26 => "oct-resnet-26",
            Self::OctResNet50 => "oct-resnet-50",
        }
    }

    /// Bottleneck blocks of the four stages (Chen et al., section 4; He et al.,
    /// <https://arxiv.org/abs/1512.03385>, table 1).
    pub fn blocks(self) -> [usize; 4] {
        match self {
            Self::OctResNet26 => [2, 2, 2, 2],
            Self::OctResNet50 => [3, 4, 6, 3],
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no architecture has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no architecture '{name}'; use one of {}", Arch::ALL.map(Arch::name).join(", "))]
pub struct UnknownArch {
    /// The name given.
    pub name: String,
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(name: &str) -> Result<Self, UnknownArch> {
        Self::ALL
            .into_iter()
            .find(|arch| arch.name() == name)
            .ok_or_else(|| UnknownArch { name: name.into() })
    }
}
