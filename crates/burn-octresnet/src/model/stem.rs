use std::fmt;

use burn_octconv::ops::norm::Activation;
use serde::{Deserialize, Serialize};

use super::{
    Arch, Shares,
    block::ResidualConfig,
    conv::conv,
    layers::{Layer, Layers},
};

/// The layers before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// For images of about 224 pixels, as the architecture has it: mostly a 7×7 convolution with
    /// stride 2, then 3×3 max-pooling with stride 2.
    Imagenet,
    /// For images of 32 to 64 pixels: 3×3 convolution with stride 1, no pooling.
    Small,
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Imagenet => "imagenet",
            Self::Small => "small",
        })
    }
}

impl Arch {
    /// The stem that the architecture was designed with.
    pub fn default_stem(self) -> Stem {
        if self.is_small() {
            Stem::Small
        } else {
            Stem::Imagenet
        }
    }

    /// Whether the architecture has this stem. That of a MobileNet or of a ResNet v1e or v1f is
    /// part of what defines it, and networks for small images have no other.
    pub fn has_stem(self, stem: Stem) -> bool {
        let own = matches!(
            self,
            Self::OctMobileNetV1
                | Self::OctMobileNetV1W075
                | Self::OctMobileNetV2
                | Self::OctMobileNetV2W1125
                | Self::OctResNet152V1e
                | Self::OctResNet152V1f
                | Self::OctSeResNet152V1e
                | Self::OctSeResNet152V1f
        );
        stem == self.default_stem() || !(own || self.is_small())
    }
}

/// What ends a stem.
#[derive(Debug, Clone)]
pub(super) enum StemPool {
    /// Nothing.
    None,
    /// 3×3 max-pooling with stride 2.
    Max,
    /// A residual block with stride 2 in place of the max-pooling.
    Residual(ResidualConfig),
}

/// The vanilla layers before the first stage.
#[derive(Debug, Clone)]
pub(super) struct StemConfig {
    /// Kernel size, output channels and stride of each convolution.
    pub(super) convs: Vec<(usize, usize, usize)>,
    /// Whether each convolution is followed by a norm and an activation.
    pub(super) norm: bool,
    pub(super) activation: Activation,
    pub(super) pool: StemPool,
}

impl StemConfig {
    /// One convolution, with a norm and ReLU.
    pub(super) fn single(kernel: usize, channels: usize, stride: usize, pool: StemPool) -> Self {
        Self {
            convs: vec![(kernel, channels, stride)],
            norm: true,
            activation: Activation::Relu,
            pool,
        }
    }

    /// The stem of ResNets and DenseNets.
    pub(super) fn plain(stem: Stem, channels: usize) -> Self {
        match stem {
            Stem::Imagenet => Self::single(7, channels, 2, StemPool::Max),
            Stem::Small => Self::single(3, channels, 1, StemPool::None),
        }
    }

    /// The layers of the convolutions: `conv1`, `bn1`, and `deep.…` for those of a deep stem.
    pub(super) fn layers(&self) -> Layers {
        let mut layers = Layers::default();
        let (mut channels, mut reduction) = (3, 1);
        for (index, &(kernel, output, stride)) in self.convs.iter().enumerate() {
            let (conv_name, norm_name) = Self::names(index);
            let convolution = conv([channels, output], kernel, stride);
            layers.push(conv_name, reduction, Layer::Conv(convolution));
            (channels, reduction) = (output, reduction * stride);
            let norm = Layer::Norm {
                channels,
                shares: Shares::PLAIN,
            };
            if self.norm {
                layers.push(norm_name, reduction, norm);
            }
        }
        layers
    }

    /// Names of a convolution and its norm.
    pub(super) fn names(index: usize) -> (String, String) {
        match index {
            0 => ("conv1".into(), "bn1".into()),
            _ => (
                format!("deep.{}.conv", index - 1),
                format!("deep.{}.bn", index - 1),
            ),
        }
    }

    /// The resolution after the convolutions.
    pub(super) fn conv_size(&self, size: [usize; 2]) -> [usize; 2] {
        let stride: usize = self.convs.iter().map(|&(.., stride)| stride).product();
        size.map(|s| s.div_ceil(stride))
    }
}
