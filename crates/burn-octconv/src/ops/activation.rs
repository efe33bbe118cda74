use burn::tensor::{Tensor, activation::relu};
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
