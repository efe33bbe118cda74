//! Flex's tensors as the engine takes them.

use burn::{
    backend::{
        BackendTensor, DispatchTensorKind,
        flex::{FlexTensor, Layout},
    },
    tensor::{DType, Shape, Tensor},
};

use super::memory;

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

/// A tensor for results, whose values are unspecified.
pub(super) fn unwritten(shape: Shape) -> FlexTensor {
    let floats = memory::floats(shape.num_elements());
    FlexTensor::new(floats, Layout::contiguous(shape), DType::F32)
}

/// A tensor of zeros.
pub(super) fn zeros(shape: Shape) -> FlexTensor {
    let mut tensor = unwritten(shape);
    tensor.storage_mut::<f32>().fill(0.0);
    tensor
}
