//! Batch normalisation, with what follows it in a network: the residual sum and the activation.

use burn::{
    nn::{BatchNorm, pool::MaxPool2d},
    tensor::{DType, Tensor, activation::relu},
};
pub use octave_plan::Activation;

/// Applies an activation.
pub fn activate(activation: Activation, x: Tensor<4>) -> Tensor<4> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
        #[cfg(feature = "capture")]
        Activation::Relu6 if super::capture::records(&x.device()) => super::capture::relu6(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

/// Statistics of a batch, `[channels]` each.
#[cfg(feature = "flex")]
pub(super) struct BatchStatistics {
    pub(super) mean: Tensor<1>,
    /// Biased: divided by the number of values.
    pub(super) variance: Tensor<1>,
}

/// Computes `activation(norm(x) + residual)`: what [`BatchNorm::forward`], a sum and an activation
/// compute one after the other, running statistics included. In training on Flex it is one
/// operation, which reads and keeps less memory.
///
/// A norm in 32 bits computes in 32 bits also where the input has 16, and the result has 16.
///
/// # Shapes
///
/// - input, residual and output: `[batch, channels, height, width]`
///
/// # Panics
///
/// Where [`BatchNorm::forward`] panics, and if the residual does not fit the input.
pub fn batch_norm(
    norm: &BatchNorm,
    x: Tensor<4>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let dtype = x.dtype();
    if matches!(dtype, DType::F16 | DType::BF16) && norm.gamma.dtype() == DType::F32 {
        let full = |x: Tensor<4>| x.cast(DType::F32);
        return batch_norm(norm, full(x), residual.map(full), activation).cast(dtype);
    }
    #[cfg(feature = "flex")]
    if trains(norm, &x) && super::flex::norm::applies(norm, &x, residual.as_ref()) {
        let (y, batch) = super::flex::norm::batch_norm(norm, x, residual, activation);
        update_running(norm, batch);
        return y;
    }
    let y = norm.forward(x);
    let y = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    activate(activation, y)
}

/// Computes `pool(activation(norm(x)))`, as the stem of a network ends: what the layers compute
/// one after the other, running statistics included. In training on Flex it is one operation,
/// which never keeps the map between norm and pooling.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: that of [`MaxPool2d::forward`]
///
/// # Panics
///
/// Where the layers panic.
pub fn batch_norm_max_pool(
    norm: &BatchNorm,
    x: Tensor<4>,
    activation: Activation,
    pool: &MaxPool2d,
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if trains(norm, &x) && super::flex::norm::applies(norm, &x, None) {
        let [_, _, height, width] = x.dims();
        if let Some(pool) = super::flex::pooled::geometry(pool, [height, width]) {
            let (y, batch) = super::flex::pooled::batch_norm_max_pool(norm, x, activation, pool);
            update_running(norm, batch);
            return y;
        }
    }
    pool.forward(batch_norm(norm, x, None, activation))
}

/// Whether the norm takes the statistics of the batch.
#[cfg(feature = "flex")]
fn trains(norm: &BatchNorm, x: &Tensor<4>) -> bool {
    x.device().is_autodiff() && norm.training.is_enabled()
}

/// Moves the running statistics towards those of the batch, as [`BatchNorm::forward`] does.
#[cfg(feature = "flex")]
fn update_running(norm: &BatchNorm, batch: BatchStatistics) {
    let momentum = norm.momentum;
    let device = batch.mean.device();
    for (running, batch) in [
        (&norm.running_mean, batch.mean),
        (&norm.running_var, batch.variance),
    ] {
        let old = running.value_sync().to_device(&device);
        let new = old.mul_scalar(1.0 - momentum) + batch.detach().mul_scalar(momentum);
        running.update(new.detach());
    }
}
