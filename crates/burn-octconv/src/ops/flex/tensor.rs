//! Flex's tensors as the engine takes them.

use burn::{
    backend::flex::FlexTensor,
    tensor::{Shape, TensorData},
};

/// The engine reads whole buffers, so views are copied.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// A tensor for results. Not [`FlexTensor::empty`], which allocates large tensors twice and copies
/// one to the other for the sake of alignment.
pub(super) fn zeros(shape: Shape) -> FlexTensor {
    let floats = vec![0.0f32; shape.num_elements()];
    FlexTensor::from_data(TensorData::new(floats, shape))
}
