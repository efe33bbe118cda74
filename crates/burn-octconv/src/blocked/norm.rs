//! A batch norm as it is at the moment of a call.

use burn::{nn::BatchNorm, tensor::Tensor};

use crate::{conv::Affine, ops::eligibility};

/// The parameters and the running statistics of a norm, `[channels]` each.
#[derive(Clone)]
pub(super) struct Statistics {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    mean: Tensor<1>,
    variance: Tensor<1>,
    pub(super) epsilon: f64,
}

/// Of both groups, by level.
pub(super) type Norm = [Option<Statistics>; 2];

impl Statistics {
    /// Those of a norm that an engine can apply: in f32 on Flex, outside of autodiff.
    pub(super) fn new(norm: &BatchNorm) -> Option<Self> {
        let statistics = Self {
            gamma: norm.gamma.val(),
            beta: norm.beta.val(),
            mean: norm.running_mean.value_sync(),
            variance: norm.running_var.value_sync(),
            epsilon: norm.epsilon,
        };
        let usable = |x: &Tensor<1>| eligibility::tensor(x).is_ok() && !x.device().is_autodiff();
        let all = statistics.tensors().into_iter().all(usable);
        all.then_some(statistics)
    }

    pub(super) fn tensors(&self) -> [&Tensor<1>; 4] {
        [&self.gamma, &self.beta, &self.mean, &self.variance]
    }

    /// The scale and the shift of every channel.
    pub(super) fn affine(&self) -> Affine {
        let [gamma, beta, mean, variance] = self.tensors().map(Clone::clone);
        Affine::from_statistics([gamma, beta, mean, variance], self.epsilon)
    }
}
