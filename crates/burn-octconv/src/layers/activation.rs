use burn::{
    module::Module,
    nn::{
        Dropout, DropoutConfig,
        activation::{Activation, ActivationConfig},
    },
    tensor::Device,
};

use crate::{OctFeatures, ops::norm};

impl OctFeatures {
    /// Rectified linear unit on both groups.
    pub fn relu(self) -> Self {
        self.activate(norm::Activation::Relu)
    }
}

/// Any of Burn's activations, on both groups.
///
/// ```
/// use burn::{nn::activation::ActivationConfig, tensor::{Device, Tensor}};
/// use burn_octconv::{OctActivation, OctFeatures};
///
/// let device = Device::default();
/// let gelu = OctActivation::new(&ActivationConfig::Gelu, &device);
/// let x = OctFeatures::split(Tensor::ones([1, 8, 6, 6], &device), 0.5);
/// assert_eq!(gelu.forward(x).channels(), [4, 4]);
/// ```
#[derive(Module, Debug)]
pub struct OctActivation {
    /// The activation, shared by both groups.
    pub activation: Activation,
}

impl OctActivation {
    /// Builds the layer. An activation with a parameter per channel does not fit two groups of
    /// different width; give it a single parameter.
    pub fn new(config: &ActivationConfig, device: &Device) -> Self {
        Self {
            activation: config.init(device),
        }
    }

    /// Applies the activation; shapes do not change.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        match &self.activation {
            Activation::Relu(_) => input.relu(),
            activation => input.map(|x| activation.forward(x)),
        }
    }
}

/// Dropout on both groups, drawn independently. Active in training only.
#[derive(Module, Debug)]
pub struct OctDropout {
    /// Burn's dropout, applied to each group.
    pub dropout: Dropout,
}

impl OctDropout {
    /// A layer that zeroes each element with probability `prob` and scales the others by
    /// `1 / (1 − prob)`.
    pub fn new(prob: f64) -> Self {
        Self {
            dropout: DropoutConfig::new(prob).init(),
        }
    }

    /// Applies the dropout; shapes do not change.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        input.map(|x| self.dropout.forward(x))
    }
}
