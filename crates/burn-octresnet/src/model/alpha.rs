use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Shares;

/// The share of low-frequency channels, for the whole network or stage by stage, or the shares of more
/// than two frequencies. The first octave layer always enters with 0 and the last stage always has 0,
/// so there is nothing else to choose.
///
/// In JSON a number, three, or shares: `0.5`, `[0.5, 0.25, 0.25]`, `{"shares": [0.5, 0.25, 0.25]}`,
/// `{"shares": [[0.5, 0.25, 0.25], [0.5, 0.5], [1]]}`; on the command line `0.5` and `0.5,0.25,0.25` after
/// `--alpha`, `0.5,0.25,0.25` and `0.5,0.25,0.25;0.5,0.5;1` after `--shares`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Alpha {
    /// The same share in all stages but the last; 0 is the vanilla network.
    Uniform(f64),
    /// A share for each of the first three stages. The stages of a MobileNet are its resolutions:
    /// up to a quarter of the image, an eighth, a sixteenth. In a network of three stages, the
    /// third share is that of the last stage and must be 0.
    PerStage([f64; 3]),
    /// More than two frequencies, in each of the first three stages. Made by [`Alpha::of_shares`], since
    /// two frequencies are an α.
    Shares([Shares; 3]),
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
    /// Shares of channels at the resolutions 1, ½, ¼, … in each of the first three stages. Where none
    /// has more than two frequencies it is the α that says the same.
    pub fn of_shares(stages: [Shares; 3]) -> Self {
        match stages.map(Shares::legal_alpha) {
            [Some(a), Some(b), Some(c)] if a == b && b == c => Self::Uniform(a),
            [Some(a), Some(b), Some(c)] => Self::PerStage([a, b, c]),
            _ => Self::Shares(stages),
        }
    }

    /// The shares that each of four stages leaves with.
    pub fn stages(self) -> [Shares; 4] {
        let [a, b, c] = match self {
            Self::Uniform(a) => [Shares::of_alpha(a); 3],
            Self::PerStage(stages) => stages.map(Shares::of_alpha),
            Self::Shares(stages) => stages,
        };
        [a, b, c, Shares::PLAIN]
    }

    /// Whether there is no low frequency anywhere: the vanilla network.
    pub fn is_vanilla(self) -> bool {
        self.stages().iter().all(|s| s.alpha() == Some(0.0))
    }

    /// Whether some stage has more than two frequencies.
    pub fn has_shares(self) -> bool {
        matches!(self, Self::Shares(_))
    }

    /// Reads what follows `--shares`: shares separated by commas, for all stages or, separated by
    /// semicolons, for each of the first three.
    ///
    /// # Errors
    ///
    /// Says what is wrong with `text`.
    pub fn parse_shares(text: &str) -> Result<Self, String> {
        let numbers = |stage: &str| -> Option<Vec<f64>> {
            stage.split(',').map(|s| s.trim().parse().ok()).collect()
        };
        let stages: Option<Vec<Vec<f64>>> = text.split(';').map(numbers).collect();
        let stages = stages.ok_or_else(|| {
            format!("shares '{text}' are not numbers separated by commas, such as 0.5,0.25,0.25")
        })?;
        Self::of_written(match <[Vec<f64>; 3]>::try_from(stages) {
            Ok(stages) => StageShares::Three(stages),
            Err(stages) if stages.len() == 1 => StageShares::One(stages.concat()),
            Err(stages) => {
                return Err(format!(
                    "shares '{text}' are those of {} stages: give them once, or for three stages separated by semicolons",
                    stages.len()
                ));
            }
        })
    }

    fn of_written(shares: StageShares) -> Result<Self, String> {
        let of = |given: &Vec<f64>| {
            Shares::of(given).ok_or_else(|| {
                format!(
                    "shares are {given:?}: give 1 to {} of them, one for each resolution 1, ½, ¼, …",
                    Shares::MOST
                )
            })
        };
        Ok(Self::of_shares(match &shares {
            StageShares::One(given) => [of(given)?; 3],
            StageShares::Three([a, b, c]) => [of(a)?, of(b)?, of(c)?],
        }))
    }
}

/// What stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number, a list of three, or shares, such as 0.5, [0.5, 0.25, 0.25] or {\"shares\": [0.5, 0.25, 0.25]}"
)]
enum Written {
    Uniform(f64),
    PerStage([f64; 3]),
    Shares { shares: StageShares },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StageShares {
    One(Vec<f64>),
    Three([Vec<f64>; 3]),
}

impl From<Alpha> for Written {
    fn from(alpha: Alpha) -> Self {
        let [a, b, c] = match alpha {
            Alpha::Uniform(alpha) => return Self::Uniform(alpha),
            Alpha::PerStage(alphas) => return Self::PerStage(alphas),
            Alpha::Shares(stages) => stages.map(|shares| shares.as_slice().to_vec()),
        };
        let shares = match a == b && b == c {
            true => StageShares::One(a),
            false => StageShares::Three([a, b, c]),
        };
        Self::Shares { shares }
    }
}

impl TryFrom<Written> for Alpha {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Uniform(alpha) => Ok(Self::Uniform(alpha)),
            Written::PerStage(alphas) => Ok(Self::PerStage(alphas)),
            Written::Shares { shares } => Self::of_written(shares),
        }
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(a) => write!(f, "{a}"),
            Self::PerStage([a, b, c]) => write!(f, "{a},{b},{c}"),
            Self::Shares([a, b, c]) if a == b && b == c => write!(f, "shares {a}"),
            Self::Shares([a, b, c]) => write!(f, "shares {a};{b};{c}"),
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
