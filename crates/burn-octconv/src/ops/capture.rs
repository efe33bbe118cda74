//! Operations in the form that they are recorded in on a capture device.
//!
//! Nothing is computed there; an exporter writes down what was recorded, and what it has no words
//! for must be said differently. The exporter to ONNX (burn-onnx 0.22) knows no clamping, and no
//! slices of a map whose batch may have any size.

use burn::{
    backend::DispatchDevice,
    tensor::{
        Device, Tensor,
        activation::relu,
        module::interpolate,
        ops::{InterpolateMode, InterpolateOptions},
    },
};

/// Whether operations on `device` are recorded, not computed.
pub(super) fn records(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Capture(_))
}

/// `min(max(x, 0), 6)` as `6 − max(6 − max(x, 0), 0)`: exact from 6 on, and off by no more than
/// the rounding of 6 below.
pub(super) fn relu6(x: Tensor<4>) -> Tensor<4> {
    let below = |x: Tensor<4>| x.neg().add_scalar(6.0);
    below(relu(below(relu(x))))
}

/// Nearest-neighbour interpolation to `size = [height, width]`, which is what doubling and cropping
/// give. Of an odd H, pixel i reads ⌊i·(H + 1)/2H⌋ = ⌊i/2 + i/2H⌋ = ⌊i/2⌋: an odd i is H − 2 at most,
/// so the sum stays 1/H, far more than rounding, below the next whole number.
pub(super) fn upsample_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Nearest)
        .with_align_corners(false)
        .with_output_size(size);
    interpolate(x, options)
}
