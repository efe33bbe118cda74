//! Batch normalisation, with what follows it in a network: the residual sum and the activation.

use burn::{
    nn::{BatchNorm, pool::MaxPool2d},
    tensor::{DType, Tensor},
};

#[cfg(feature = "flex")]
use super::{
    backend::{NormOperands, NormOptions, Normalized, OctBackend},
    eligibility,
    engine::untracked,
    statistics::Statistics,
};
#[cfg(feature = "flex")]
use burn::{backend::Dispatch, tensor::Device};

pub use super::activation::{Activation, activate};
use crate::OctFeatures;

/// Computes `activation(norm(x) + residual)`: what [`BatchNorm::forward`], a sum and an activation
/// compute one after the other, running statistics included. In training on Flex it is one
/// operation, which reads and keeps less memory.
///
/// A norm in 32 bits computes in 32 bits also where the input has 16, and the result has 16.
///
/// # Shapes
///
/// - input, residual and output: `[batch, channels, height, width]`, no low group
///
/// # Panics
///
/// Where [`BatchNorm::forward`] panics, and if the residual does not fit the input.
pub fn batch_norm(
    norm: &BatchNorm,
    x: impl Into<OctFeatures>,
    residual: Option<OctFeatures>,
    activation: Activation,
) -> OctFeatures {
    let x = x.into();
    #[cfg(feature = "flex")]
    if let Some(norms) = noted([Some(norm), None], &x) {
        return note(norms, x, residual, activation);
    }
    let residual = residual.map(OctFeatures::into_high);
    normalize(norm, x.into_high(), residual, activation).into()
}

/// The running statistics of norms that can be left to be computed with the map that they read.
#[cfg(feature = "flex")]
pub(crate) fn noted(
    norms: [Option<&BatchNorm>; 2],
    x: &OctFeatures,
) -> Option<[Option<Statistics>; 2]> {
    if !x.is_blocked() {
        return None;
    }
    let norms = norms.map(|norm| norm.map(Statistics::new));
    let fits = |(norm, channels): (&Option<Statistics>, usize)| match norm {
        Some(Statistics { tensors, .. }) => {
            let reads = |x: &Tensor<1>| untracked(x).is_ok();
            tensors[0].dims() == [channels] && tensors.iter().all(reads)
        }
        None => channels == 0,
    };
    norms.iter().zip(x.channels()).all(fits).then_some(norms)
}

/// Leaves `activation(norm(x) + residual)` to be computed with the map.
#[cfg(feature = "flex")]
pub(crate) fn note(
    norms: [Option<Statistics>; 2],
    x: OctFeatures,
    residual: Option<OctFeatures>,
    activation: Activation,
) -> OctFeatures {
    let size = x.size();
    let y = OctFeatures::from_blocked(x.blocked().normalize(norms), size);
    let y = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    y.activate(activation)
}

/// [`batch_norm`] of a plain tensor.
pub(crate) fn normalize(
    norm: &BatchNorm,
    x: Tensor<4>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let dtype = x.dtype();
    if matches!(dtype, DType::F16 | DType::BF16) && norm.gamma.dtype() == DType::F32 {
        let full = |x: Tensor<4>| x.cast(DType::F32);
        return normalize(norm, full(x), residual.map(full), activation).cast(dtype);
    }
    #[cfg(feature = "flex")]
    if trains(norm, &x.device()) && eligibility::norm(norm, &x, residual.as_ref()).is_ok() {
        let operands = NormOperands::new(norm, x, residual);
        let options = options(norm, activation);
        return update_running(norm, Dispatch::batch_norm_train_with(operands, options));
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
/// - input: `[batch, channels, height, width]`, no low group
/// - output: that of [`MaxPool2d::forward`], no low group
///
/// # Panics
///
/// Where the layers panic.
pub fn batch_norm_max_pool(
    norm: &BatchNorm,
    x: impl Into<OctFeatures>,
    activation: Activation,
    pool: &MaxPool2d,
) -> OctFeatures {
    let x = x.into();
    #[cfg(feature = "flex")]
    let x = match trains(norm, &x.device()) {
        true => {
            let x = x.into_high();
            if eligibility::norm(norm, &x, None).is_ok()
                && let Ok(pool) = eligibility::max_pool(pool, [x.dims()[2], x.dims()[3]])
            {
                let operands = NormOperands::new(norm, x, None);
                let options = options(norm, activation);
                let normalized = Dispatch::batch_norm_max_pool_train(operands, options, pool);
                return update_running(norm, normalized).into();
            }
            x.into()
        }
        false => x,
    };
    batch_norm(norm, x, None, activation).max_pool(pool)
}

/// Whether the norm takes the statistics of the batch.
#[cfg(feature = "flex")]
fn trains(norm: &BatchNorm, device: &Device) -> bool {
    device.is_autodiff() && norm.training.is_enabled()
}

#[cfg(feature = "flex")]
fn options(norm: &BatchNorm, activation: Activation) -> NormOptions {
    NormOptions {
        epsilon: norm.epsilon as f32,
        activation,
    }
}

/// Moves the running statistics towards those of the batch, as [`BatchNorm::forward`] does, and
/// hands out the result.
#[cfg(feature = "flex")]
fn update_running(norm: &BatchNorm, normalized: Normalized<Dispatch>) -> Tensor<4> {
    let momentum = norm.momentum;
    for (running, batch) in [
        (&norm.running_mean, normalized.mean),
        (&norm.running_var, normalized.variance),
    ] {
        let batch = Tensor::<1>::from_dispatch(batch);
        let old = running.value_sync().to_device(&batch.device());
        let new = old.mul_scalar(1.0 - momentum) + batch.detach().mul_scalar(momentum);
        running.update(new.detach());
    }
    Tensor::from_dispatch(normalized.y)
}
