//! Flex's tensors as the engine takes them.

use burn::{
    backend::{BackendTensor, DispatchTensorKind, flex::FlexTensor},
    tensor::{Shape, Tensor, TensorData},
};

/// The tensor of Flex behind one of floats, if it is there and outside of autodiff.
pub(crate) fn flex_tensor<const D: usize>(tensor: Tensor<D>) -> Option<FlexTensor> {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// The engine reads whole buffers, so views are copied.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// A tensor for results. Not [`FlexTensor::empty`], which allocates large tensors twice and copies
/// one to the other for the sake of alignment.
pub(super) fn zeros(shape: Shape) -> FlexTensor {
    let floats = vec![0.0f32; shape.num_elements()];
    FlexTensor::from_data(TensorData::new(floats, shape))
}
