use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Declares [`Arch`] with the name of each architecture, so that no list can miss one.
macro_rules! architectures {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// The registered architectures. Each is an octave network for any α, and at α = 0 the
        /// vanilla network that it is named after.
        ///
        /// In JSON and on the command line they go by [`Arch::name`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum Arch {
            $($(#[$doc])+ $variant,)+
        }

        impl Arch {
            /// Every registered architecture.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name in configurations and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

architectures! {
    /// Oct-ResNet-26, post-activation: stages of 2, 2, 2, 2 bottleneck blocks.
    OctResNet26 = "oct-resnet-26",
    /// Oct-ResNet-50, post-activation: stages of 3, 4, 6, 3 bottleneck blocks.
    OctResNet50 = "oct-resnet-50",
    /// Oct-ResNet-101, post-activation: stages of 3, 4, 23, 3 bottleneck blocks.
    OctResNet101 = "oct-resnet-101",
    /// Oct-ResNet-152, post-activation: stages of 3, 8, 36, 3 bottleneck blocks.
    OctResNet152 = "oct-resnet-152",
    /// Oct-ResNet-200, post-activation: stages of 3, 24, 36, 3 bottleneck blocks.
    OctResNet200 = "oct-resnet-200",
    /// Oct-ResNet-26, pre-activation.
    OctResNet26V2 = "oct-resnet-26-v2",
    /// Oct-ResNet-50, pre-activation.
    OctResNet50V2 = "oct-resnet-50-v2",
    /// Oct-ResNet-101, pre-activation.
    OctResNet101V2 = "oct-resnet-101-v2",
    /// Oct-ResNet-152, pre-activation.
    OctResNet152V2 = "oct-resnet-152-v2",
    /// Oct-ResNet-200, pre-activation.
    OctResNet200V2 = "oct-resnet-200-v2",
    /// Oct-ResNet-152 with a deep stem and the stride in each block's last convolution.
    OctResNet152V1e = "oct-resnet-152-v1e",
    /// Like v1e, with a residual block in place of the stem's max-pooling.
    OctResNet152V1f = "oct-resnet-152-v1f",
    /// Oct-ResNet-152 v1e with squeeze-and-excitation.
    OctSeResNet152V1e = "oct-se-resnet-152-v1e",
    /// Oct-ResNet-152 v1f with squeeze-and-excitation.
    OctSeResNet152V1f = "oct-se-resnet-152-v1f",
    /// Oct-ResNeXt-50 32×4d, post-activation.
    OctResNext50 = "oct-resnext-50",
    /// Oct-ResNeXt-50 32×4d, pre-activation.
    OctResNext50V2 = "oct-resnext-50-v2",
    /// Oct-ResNeXt-101 32×4d, pre-activation.
    OctResNext101V2 = "oct-resnext-101-v2",
    /// Oct-SE-ResNet-50, pre-activation.
    OctSeResNet50V2 = "oct-se-resnet-50-v2",
    /// Oct-DenseNet-121.
    OctDenseNet121 = "oct-densenet-121",
    /// Oct-MobileNet v1, width 1.0.
    OctMobileNetV1 = "oct-mobilenet-v1",
    /// Oct-MobileNet v1, width 0.75.
    OctMobileNetV1W075 = "oct-mobilenet-v1-075",
    /// Oct-MobileNet v2, width 1.0.
    OctMobileNetV2 = "oct-mobilenet-v2",
    /// Oct-MobileNet v2, width 1.125.
    OctMobileNetV2W1125 = "oct-mobilenet-v2-1125",
    /// Oct-ResNet-20 for 32-pixel images: three stages of 3 basic blocks.
    OctResNet20 = "oct-resnet-20",
    /// Oct-ResNet-56 for 32-pixel images: three stages of 9 basic blocks.
    OctResNet56 = "oct-resnet-56",
    /// Oct-Wide-ResNet-28-10 for 32-pixel images: three stages of 4 pre-activation basic blocks.
    OctWideResNet28x10 = "oct-wide-resnet-28-10",
}

impl Arch {
    /// Whether it was designed for images of 32 pixels and ten classes (CIFAR-10) rather than for
    /// 224 pixels and a thousand (ImageNet).
    pub fn is_small(self) -> bool {
        matches!(
            self,
            Self::OctResNet20 | Self::OctResNet56 | Self::OctWideResNet28x10
        )
    }

    /// The image size that its published counts are for, `[height, width]`.
    pub fn image_size(self) -> [usize; 2] {
        [if self.is_small() { 32 } else { 224 }; 2]
    }

    /// The number of classes that its published counts are for.
    pub fn num_classes(self) -> usize {
        if self.is_small() { 10 } else { 1000 }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no architecture has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no architecture '{name}'; use one of {}", Arch::ALL.map(Arch::name).join(", "))]
pub struct UnknownArch {
    /// The name given.
    pub name: String,
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(name: &str) -> Result<Self, UnknownArch> {
        Self::ALL
            .into_iter()
            .find(|arch| arch.name() == name)
            .ok_or_else(|| UnknownArch { name: name.into() })
    }
}

impl TryFrom<String> for Arch {
    type Error = UnknownArch;

    fn try_from(name: String) -> Result<Self, UnknownArch> {
        name.parse()
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> Self {
        arch.name().into()
    }
}
