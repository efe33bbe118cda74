use burn::{
    module::ParamGroup,
    optim::{
        AdamWConfig, ModuleOptimizer, Optimizer, SgdConfig, decay::WeightDecayConfig,
        momentum::MomentumConfig,
    },
};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// How gradients become steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Peak learning rate; the schedule does the rest.
        #[serde(default = "defaults::sgd_lr")]
        lr: f64,
        /// Share of the last step that goes into the next; 0 for none.
        #[serde(default = "defaults::momentum")]
        momentum: f64,
        /// Whether the gradient is taken as if the momentum had been applied already.
        #[serde(default = "defaults::nesterov")]
        nesterov: bool,
        /// L2 penalty on the weights.
        #[serde(default = "defaults::weight_decay")]
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay.
    AdamW {
        /// Peak learning rate; the schedule does the rest.
        #[serde(default = "defaults::adam_lr")]
        lr: f64,
        /// Decay of the gradients' mean.
        #[serde(default = "defaults::momentum")]
        beta1: f64,
        /// Decay of the gradients' mean square.
        #[serde(default = "defaults::beta2")]
        beta2: f64,
        /// Keeps the division finite.
        #[serde(default = "defaults::epsilon")]
        epsilon: f64,
        /// Decay of the weights, per step and learning rate.
        #[serde(default = "defaults::adam_weight_decay")]
        weight_decay: f64,
    },
}

mod defaults {
    pub(crate) fn sgd_lr() -> f64 {
        0.1
    }
    pub(crate) fn adam_lr() -> f64 {
        0.001
    }
    pub(crate) fn momentum() -> f64 {
        0.9
    }
    pub(crate) fn nesterov() -> bool {
        true
    }
    pub(crate) fn weight_decay() -> f64 {
        1e-4
    }
    pub(crate) fn beta2() -> f64 {
        0.999
    }
    pub(crate) fn epsilon() -> f64 {
        1e-8
    }
    pub(crate) fn adam_weight_decay() -> f64 {
        0.05
    }
}

impl OptimizerConfig {
    /// The peak learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd { lr, .. } | Self::AdamW { lr, .. } => *lr,
        }
    }

    /// Sets the peak learning rate.
    pub fn set_lr(&mut self, rate: f64) {
        match self {
            Self::Sgd { lr, .. } | Self::AdamW { lr, .. } => *lr = rate,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let check = |good, field, value: f64, expected| {
            TrainError::check(good, &format!("optimizer.{field}"), value, expected)
        };
        let share = |field, value| {
            let good = (0.0..1.0).contains(&value);
            check(good, field, value, "at least 0 and below 1")
        };
        let positive = |value: f64| value.is_finite() && value > 0.0;
        check(
            positive(self.lr()),
            "lr",
            self.lr(),
            "a positive number, such as 0.1",
        )?;
        let decay = match self {
            Self::Sgd {
                momentum,
                weight_decay,
                ..
            } => {
                share("momentum", *momentum)?;
                *weight_decay
            }
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..
            } => {
                share("beta1", *beta1)?;
                share("beta2", *beta2)?;
                check(
                    positive(*epsilon),
                    "epsilon",
                    *epsilon,
                    "a small positive number",
                )?;
                *weight_decay
            }
        };
        let good = decay.is_finite() && decay >= 0.0;
        check(good, "weight_decay", decay, "0 or a small positive number")
    }

    /// Makes the optimizer. It does not decay the parameters in `undecayed`.
    pub fn init(&self, undecayed: Option<ParamGroup>) -> ModuleOptimizer {
        match *self {
            Self::Sgd {
                momentum,
                nesterov,
                weight_decay,
                ..
            } => {
                let momentum = (momentum > 0.0).then(|| {
                    // Burn's default damps the gradient by 0.1, which nobody else does.
                    MomentumConfig::new()
                        .with_momentum(momentum)
                        .with_dampening(0.0)
                        .with_nesterov(nesterov)
                });
                let decay = weight_decay as f32;
                let sgd = SgdConfig::new().with_momentum(momentum);
                let plain = sgd.build();
                let decay = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
                grouped(sgd.with_weight_decay(decay).init(), undecayed, plain)
            }
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
                weight_decay,
                ..
            } => {
                let adam = AdamWConfig::new()
                    .with_beta_1(beta1 as f32)
                    .with_beta_2(beta2 as f32)
                    .with_epsilon(epsilon as f32);
                let plain = adam.clone().with_weight_decay(0.0).build();
                let decayed = adam.with_weight_decay(weight_decay as f32);
                grouped(decayed.init(), undecayed, plain)
            }
        }
    }

    /// Tensors that it keeps per parameter.
    pub(crate) fn states(&self) -> u64 {
        match self {
            Self::Sgd { momentum, .. } => u64::from(*momentum > 0.0),
            Self::AdamW { .. } => 2,
        }
    }
}

fn grouped<O: Optimizer>(
    optimizer: ModuleOptimizer,
    group: Option<ParamGroup>,
    other: O,
) -> ModuleOptimizer {
    match group {
        Some(group) => optimizer.with_group(group, other, None),
        None => optimizer,
    }
}
