use burn::{
    module::Module,
    nn::{BatchNorm, Linear, conv::Conv2d, pool::MaxPool2d},
    tensor::{Tensor, activation::relu},
};
use burn_octconv::OctFeatures;

use super::Bottleneck;

/// An octave ResNet for image classification, post-activation ("v1").
///
/// The stem is vanilla, the first octave layer enters with α = 0, and the whole last stage has
/// α = 0, so the classifier sees one full-resolution map. Field names follow torchvision's.
/// Built by [`OctResNetConfig`](super::OctResNetConfig).
#[derive(Module, Debug)]
pub struct OctResNet {
    /// Convolution of the stem.
    pub conv1: Conv2d,
    /// Norm of the stem.
    pub bn1: BatchNorm,
    /// Max-pooling of the stem, for large images.
    pub maxpool: Option<MaxPool2d>,
    /// First stage.
    pub layer1: Vec<Bottleneck>,
    /// Second stage, at half the resolution of the first.
    pub layer2: Vec<Bottleneck>,
    /// Third stage.
    pub layer3: Vec<Bottleneck>,
    /// Last stage, without a low frequency.
    pub layer4: Vec<Bottleneck>,
    /// Classifier.
    pub fc: Linear,
}

impl OctResNet {
    /// Computes the logits.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`, normalised as in training
    /// - output: `[batch, num_classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let [_, _, _, last] = self.forward_features(images);
        self.fc.forward(last.global_avg_pool())
    }

    /// Computes the feature maps of the four stages, for detection and segmentation.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`
    /// - output: with the stem for large images, full resolutions of a 4th, 8th, 16th and 32nd of
    ///   the image; the last map has no low frequency
    pub fn forward_features(&self, images: Tensor<4>) -> [OctFeatures; 4] {
        let x = relu(self.bn1.forward(self.conv1.forward(images)));
        let x = match &self.maxpool {
            Some(pool) => pool.forward(x),
            None => x,
        };
        let stage = |blocks: &[Bottleneck], x: OctFeatures| {
            blocks.iter().fold(x, |x, block| block.forward(x))
        };
        let x1 = stage(&self.layer1, x.into());
        let x2 = stage(&self.layer2, x1.clone());
        let x3 = stage(&self.layer3, x2.clone());
        let x4 = stage(&self.layer4, x3.clone());
        [x1, x2, x3, x4]
    }
}
