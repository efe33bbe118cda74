use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Alpha;

/// How the stages take stride 2; the stem is vanilla in any case.
///
/// Neither parameters nor multiply–adds depend on it, so weights fit both. The function differs.
///
/// Source: Chen et al., section 3.3, <https://arxiv.org/abs/1904.05049>: strided convolutions would
/// misalign the two frequencies, so the octave networks pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stride {
    /// As the paper has it: strided in the vanilla network, pooled in all others.
    #[default]
    Auto,
    /// An average pooling by 2, then a convolution of stride 1.
    Pooled,
    /// A convolution of stride 2.
    Strided,
}

impl Stride {
    /// Whether a network of this α takes stride 2 by strided convolutions.
    pub fn is_strided(self, alpha: Alpha) -> bool {
        match self {
            Self::Auto => alpha.is_vanilla(),
            Self::Pooled => false,
            Self::Strided => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pooled => "pooled",
            Self::Strided => "strided",
        }
    }
}

impl fmt::Display for Stride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stride {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Auto, Self::Pooled, Self::Strided]
            .into_iter()
            .find(|stride| stride.name() == name)
            .ok_or_else(|| format!("there is no stride '{name}': use auto, pooled or strided"))
    }
}
