use serde::{Deserialize, Serialize};

use crate::exact::Exact;

/// The factor on the loss that keeps gradients in the range of 16-bit floats: halved whenever
/// they are not, and doubled after many steps in which they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossScale {
    factor: Exact,
    /// Batches since the factor was changed.
    batches: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            factor: Exact(65_536.0),
            batches: 0,
        }
    }
}

impl LossScale {
    /// Batches without an overflow before the factor is doubled.
    const PATIENCE: usize = 2_000;

    pub(crate) fn factor(&self) -> f64 {
        self.factor.0
    }

    /// Batches since the factor was changed.
    pub(crate) fn batches(&self) -> usize {
        self.batches
    }

    /// Takes note of a batch whose gradients were numbers.
    pub(crate) fn went_well(&mut self) {
        self.batches += 1;
        if self.batches == Self::PATIENCE {
            self.batches = 0;
            // A greater one would leave no room for the loss itself.
            self.factor.0 = (2.0 * self.factor.0).min(16_777_216.0);
        }
    }

    /// Takes note of a batch whose gradients were not; false if the factor is no reason for it.
    #[must_use]
    pub(crate) fn overflowed(&mut self) -> bool {
        self.batches = 0;
        self.factor.0 /= 2.0;
        self.factor.0 >= 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_scale_follows_the_gradients() {
        let mut scale = LossScale::default();
        assert!(scale.overflowed());
        assert_eq!(scale.factor(), 32_768.0);
        for _ in 0..LossScale::PATIENCE {
            scale.went_well();
        }
        assert_eq!(scale.factor(), 65_536.0);
        // Down to a factor of one, then it must be something else.
        assert_eq!((0..100).take_while(|_| scale.overflowed()).count(), 17);
    }
}
