use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Arch, ModelError};

/// The share of low-frequency channels, for the whole network or stage by stage. The first octave
/// layer always enters with 0 and the last stage always has 0, so there is nothing else to choose.
///
/// In JSON and on the command line a number or three: `0.5`, `[0.5, 0.25, 0.25]`, `0.5,0.25,0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number or a list of three, such as 0.5 or [0.5, 0.25, 0.25]"
)]
pub enum Alpha {
    /// The same share in all stages but the last; 0 is the vanilla network.
    Uniform(f64),
    /// A share for each of the first three stages. The stages of a MobileNet are its resolutions:
    /// up to a quarter of the image, an eighth, a sixteenth. In a network of three stages, the
    /// third share is that of the last stage and must be 0.
    PerStage([f64; 3]),
}

impl From<f64> for Alpha {
    fn from(alpha: f64) -> Self {
        Self::Uniform(alpha)
    }
}

impl From<[f64; 3]> for Alpha {
    fn from(shares: [f64; 3]) -> Self {
        Self::PerStage(shares)
    }
}

impl Alpha {
    /// The share that each of four stages leaves with.
    pub fn stages(self) -> [f64; 4] {
        match self {
            Self::Uniform(a) => [a, a, a, 0.0],
            Self::PerStage([a, b, c]) => [a, b, c, 0.0],
        }
    }

    /// The share that each stage of a network of `stages` stages (three or four) leaves with.
    pub(super) fn of_stages(self, arch: Arch, stages: usize) -> Result<[f64; 4], ModelError> {
        let mut shares = self.stages();
        match self {
            Self::PerStage([.., third]) if stages == 3 && third != 0.0 => {
                return Err(ModelError::LastStage { arch, third });
            }
            _ => shares[stages - 1..].fill(0.0),
        }
        Ok(shares)
    }

    /// Whether there is no low frequency anywhere: the vanilla network, with strided convolutions.
    pub fn is_vanilla(self) -> bool {
        self.stages().iter().all(|&a| a == 0.0)
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(a) => write!(f, "{a}"),
            Self::PerStage([a, b, c]) => write!(f, "{a},{b},{c}"),
        }
    }
}

impl FromStr for Alpha {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shares: Result<Vec<f64>, _> = text.split(',').map(|s| s.trim().parse()).collect();
        match shares.as_deref() {
            Ok([a]) => Ok(Self::Uniform(*a)),
            Ok(&[a, b, c]) => Ok(Self::PerStage([a, b, c])),
            _ => Err(format!(
                "alpha '{text}' is neither one number nor three separated by commas, such as 0.5 or 0.5,0.25,0.25"
            )),
        }
    }
}
