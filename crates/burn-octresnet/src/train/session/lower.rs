//! Steps in half precision: copies of the weights, and gradients back in 32 bits.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{FloatDType, Tensor},
};
use serde::{Deserialize, Serialize};

use super::position::Exact;
use crate::{
    model::OctResNet,
    train::{TrainError, evaluate::host, precision::full},
};

/// The network with kernels, classifier and biases in `half` precision. Norms stay as they are and
/// share their running statistics with those of `model`.
pub(super) fn lowered(model: &OctResNet, half: FloatDType) -> OctResNet {
    model.clone().map(&mut Lower {
        half,
        path: Vec::new(),
    })
}

struct Lower {
    half: FloatDType,
    path: Vec<String>,
}

impl ModuleMapper for Lower {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let of_norm = ["gamma", "beta", "running_mean", "running_var"];
        if (self.path.last()).is_some_and(|name| of_norm.contains(&name.as_str())) {
            return param;
        }
        param.map(|tensor| {
            let learns = tensor.is_require_grad();
            let lower = tensor.without_autodiff().cast(self.half);
            Tensor::from_inner(lower).set_require_grad(learns)
        })
    }
}

/// The gradients of a lowered network for `model`: in 32 bits, and divided by `scale`.
pub(super) fn raised(model: &OctResNet, gradients: GradientsParams, scale: f64) -> GradientsParams {
    let mut raise = Raise { gradients, scale };
    model.visit(&mut raise);
    raise.gradients
}

struct Raise {
    gradients: GradientsParams,
    scale: f64,
}

impl ModuleVisitor for Raise {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients
                .register(param.id, full(gradient) / self.scale);
        }
    }
}

/// Whether all gradients, of each device, are numbers.
pub(super) fn all_finite(
    model: &OctResNet,
    gradients: &[GradientsParams],
) -> Result<bool, TrainError> {
    struct Sums<'a>(&'a GradientsParams, Vec<Tensor<1>>);

    impl ModuleVisitor for Sums<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                // Times zero, so that no sum of numbers is too large.
                self.1.push((gradient * 0.0).sum());
            }
        }
    }

    for gradients in gradients {
        let mut sums = Sums(gradients, Vec::new());
        model.visit(&mut sums);
        if !sums.1.is_empty() && !host(Tensor::cat(sums.1, 0))?.iter().all(|s| s.is_finite()) {
            return Ok(false);
        }
    }
    Ok(true)
}

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
