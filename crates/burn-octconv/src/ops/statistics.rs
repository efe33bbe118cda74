use burn::{nn::BatchNorm, tensor::Tensor};

/// The parameters and the running statistics of a norm, `[channels]` each, as they are at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    /// γ, β, μ and σ².
    pub(crate) tensors: [Tensor<1>; 4],
    pub(crate) epsilon: f64,
}

impl Statistics {
    pub(crate) fn new(norm: &BatchNorm) -> Self {
        let [mean, variance] =
            [&norm.running_mean, &norm.running_var].map(|state| state.value_sync());
        Self {
            tensors: [norm.gamma.val(), norm.beta.val(), mean, variance],
            epsilon: norm.epsilon,
        }
    }
}
