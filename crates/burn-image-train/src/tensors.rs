use burn::tensor::{DType, FloatDType, Tensor};

use crate::error::TrainError;

/// A tensor's values on this side.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let values = tensor.try_into_vec_as::<f32>();
    values.map_err(TrainError::stopped)
}

/// A tensor in at least 32 bits.
pub(crate) fn full<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.cast(FloatDType::F32),
        _ => tensor,
    }
}
