use std::{fmt, str::FromStr};

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

/// In which floats the forward and the backward pass of training compute.
///
/// Below 32 bits that is done with copies of the weights; the weights themselves, the norms and
/// their statistics, the loss and the optimizer stay in 32 bits (Micikevicius et al., "Mixed
/// Precision Training", <https://arxiv.org/abs/1710.03740>). Validation is in 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits with a smaller range. The loss is scaled, so that small gradients do not vanish.
    F16,
}

impl Precision {
    /// The lower precision, if it is one.
    pub(crate) fn half(self) -> Option<FloatDType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(FloatDType::BF16),
            Self::F16 => Some(FloatDType::F16),
        }
    }

    /// Whether all of `devices` compute in it.
    pub(crate) fn is_supported(self, devices: &[Device]) -> bool {
        let half = self.half();
        half.is_none_or(|half| devices.iter().all(|device| device.supports_dtype(half)))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::F32, Self::Bf16, Self::F16];
        let found = all
            .into_iter()
            .find(|precision| precision.to_string() == text);
        found.ok_or_else(|| "use f32, bf16 or f16".into())
    }
}
