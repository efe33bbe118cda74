use std::{fmt, str::FromStr};

use burn::{
    config::Config,
    nn::{
        BatchNormConfig, LinearConfig, PaddingConfig2d, conv::Conv2dConfig, pool::MaxPool2dConfig,
    },
    tensor::Device,
};
use burn_octconv::{ChannelSplit, Cost, OctConv2dConfig, OctConvError};
use serde::{Deserialize, Serialize};

use super::{Arch, BottleneckConfig, OctResNet, block::kernel_initializer};

/// The share of low-frequency channels, for the whole network or for each of the first three
/// stages. The first octave layer always enters with 0 and the last stage always has 0, so there
/// is nothing else to choose.
///
/// In JSON and on the command line a number or three: `0.5`, `[0.5, 0.25, 0.25]`, `0.5,0.25,0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Alpha {
    /// The same share in the first three stages; 0 is the vanilla network.
    Uniform(f64),
    /// A share for each of the first three stages.
    PerStage([f64; 3]),
}

impl Alpha {
    /// The share that each of the four stages leaves with.
    pub fn stages(self) -> [f64; 4] {
        match self {
            Self::Uniform(a) => [a, a, a, 0.0],
            Self::PerStage([a, b, c]) => [a, b, c, 0.0],
        }
    }

    /// Whether there is no low frequency anywhere: the vanilla network, with strided convolutions.
    pub fn is_vanilla(self) -> bool {
        self.stages().iter().all(|&a| a == 0.0)
    }
}

impl fmt::Display for Alpha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(a) => write!(f, "{a}"),
            Self::PerStage([a, b, c]) => write!(f, "{a},{b},{c}"),
        }
    }
}

impl FromStr for Alpha {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shares: Result<Vec<f64>, _> = text.split(',').map(|s| s.trim().parse()).collect();
        match shares.as_deref() {
            Ok([a]) => Ok(Self::Uniform(*a)),
            Ok(&[a, b, c]) => Ok(Self::PerStage([a, b, c])),
            _ => Err(format!(
                "alpha '{text}' is neither one number nor three separated by commas, such as 0.5 or 0.5,0.25,0.25"
            )),
        }
    }
}

/// The layers before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// For images of about 224 pixels: 7×7 convolution with stride 2, then 3×3 max-pooling with
    /// stride 2.
    Imagenet,
    /// For images of 32 to 64 pixels: 3×3 convolution with stride 1, no pooling.
    Small,
}

/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// An illegal octave convolution, mostly an α outside `[0, 1]`.
    #[error(transparent)]
    OctConv(#[from] OctConvError),
    /// A network that cannot tell anything apart.
    #[error("num_classes is {0}: a classifier needs at least 1 class")]
    Classes(usize),
    /// A width that is no positive number.
    #[error("width is {0}: the width multiplier must be a positive number, such as 1.0")]
    Width(f64),
}

/// Configuration of an [`OctResNet`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_octresnet::model::{Alpha, Arch, OctResNetConfig};
///
/// let device = Device::default();
/// let mut config = OctResNetConfig::new(Arch::OctResNet26, 10);
/// config.alpha = Alpha::Uniform(0.25);
/// config.width = 0.25;
/// let model = config.init(&device)?;
/// let logits = model.forward(Tensor::zeros([1, 3, 64, 64], &device));
/// assert_eq!(logits.dims(), [1, 10]);
/// # Ok::<(), burn_octresnet::model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OctResNetConfig {
    /// Which network of the family.
    pub arch: Arch,
    /// Classes of the classifier.
    pub num_classes: usize,
    /// Share of low-frequency channels.
    pub alpha: Alpha,
    /// The layers before the first stage.
    pub stem: Stem,
    /// Factor on all channel counts, rounded to the nearest integer.
    pub width: f64,
    /// Whether the γ of the last norm of every block starts at zero, so that every block starts
    /// as the identity (Goyal et al., <https://arxiv.org/abs/1706.02677>, section 5.1).
    pub zero_init_residual: bool,
}

impl Default for OctResNetConfig {
    fn default() -> Self {
        Self::new(Arch::OctResNet50, 1000)
    }
}

impl Config for OctResNetConfig {}

/// What one layer of a network costs, per image.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerCost {
    /// Where the layer stands in the network, such as `layer2.0.conv3`.
    pub name: String,
    /// Its cost. Norms add parameters but no multiply–adds, as the literature counts.
    pub cost: Cost,
}

impl OctResNetConfig {
    /// The network with α = 0.5, the stem for 224-pixel images and width 1.
    pub fn new(arch: Arch, num_classes: usize) -> Self {
        Self {
            arch,
            num_classes,
            alpha: Alpha::Uniform(0.5),
            stem: Stem::Imagenet,
            width: 1.0,
            zero_init_residual: false,
        }
    }

    /// The vanilla network beside this one.
    pub fn vanilla(&self) -> Self {
        Self {
            alpha: Alpha::Uniform(0.0),
            ..self.clone()
        }
    }

    /// Builds the network with random weights.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn init(&self, device: &Device) -> Result<OctResNet, ModelError> {
        self.validate()?;
        let mut stages = self.stages().into_iter().map(|blocks| {
            let blocks = blocks.iter().map(|block| block.try_init(device));
            blocks.collect::<Result<Vec<_>, _>>()
        });
        let mut stage = || stages.next().expect("there are four stages");
        Ok(OctResNet {
            conv1: self.stem_conv().init(device),
            bn1: BatchNormConfig::new(self.stem_channels()).init(device),
            maxpool: (self.stem == Stem::Imagenet).then(|| {
                MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init()
            }),
            layer1: stage()?,
            layer2: stage()?,
            layer3: stage()?,
            layer4: stage()?,
            fc: LinearConfig::new(self.head_channels(), self.num_classes).init(device),
        })
    }

    /// Checks the configuration without building the network.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn validate(&self) -> Result<(), ModelError> {
        if self.num_classes == 0 {
            return Err(ModelError::Classes(0));
        }
        if !(self.width.is_finite() && self.width > 0.0) {
            return Err(ModelError::Width(self.width));
        }
        for alpha in self.alpha.stages() {
            ChannelSplit::new(1, alpha)?;
        }
        Ok(())
    }

    /// Parameters and multiply–adds of every layer for images of `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn layer_costs(&self, size: [usize; 2]) -> Result<Vec<LayerCost>, ModelError> {
        self.validate()?;
        let stem = OctConv2dConfig::new([3, self.stem_channels()], self.stem_conv().kernel_size)
            .with_stride(self.stem_conv().stride)
            .with_bias(false)
            .with_alpha(0.0);
        let mut layers = vec![
            layer("conv1", stem.cost(size)?),
            layer("bn1", norm_cost(self.stem_channels())),
        ];
        let mut size = stem.output_size(size);
        if self.stem == Stem::Imagenet {
            size = size.map(|s| s.div_ceil(2));
        }
        for (stage, blocks) in self.stages().iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                let prefix = format!("layer{}.{index}", stage + 1);
                for (name, conv) in block.convolutions() {
                    let input = if name == "conv3" {
                        block.output_size(size)
                    } else {
                        size
                    };
                    let (conv_name, norm_name) = match name.strip_prefix("conv") {
                        Some(n) => (format!("{prefix}.conv{n}"), format!("{prefix}.bn{n}")),
                        None => (
                            format!("{prefix}.{name}.conv"),
                            format!("{prefix}.{name}.bn"),
                        ),
                    };
                    layers.push(layer(conv_name, conv.cost(input)?));
                    layers.push(layer(norm_name, norm_cost(conv.channels[1])));
                }
                size = block.output_size(size);
            }
        }
        let (from, to) = (self.head_channels() as u64, self.num_classes as u64);
        layers.push(layer(
            "fc",
            Cost::plain(from * to + to, from * to, from, to),
        ));
        Ok(layers)
    }

    /// Parameters and multiply–adds for images of `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn cost(&self, size: [usize; 2]) -> Result<Cost, ModelError> {
        Ok(self
            .layer_costs(size)?
            .into_iter()
            .map(|layer| layer.cost)
            .sum())
    }

    fn stem_conv(&self) -> Conv2dConfig {
        let channels = [3, self.stem_channels()];
        let (kernel, stride, pad) = match self.stem {
            Stem::Imagenet => (7, 2, 3),
            Stem::Small => (3, 1, 1),
        };
        Conv2dConfig::new(channels, [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false)
            .with_initializer(kernel_initializer())
    }

    fn stem_channels(&self) -> usize {
        self.channels(64)
    }

    fn head_channels(&self) -> usize {
        BottleneckConfig::EXPANSION * self.channels(512)
    }

    fn channels(&self, base: usize) -> usize {
        ((base as f64 * self.width).round() as usize).max(1)
    }

    /// The blocks of the four stages.
    fn stages(&self) -> [Vec<BottleneckConfig>; 4] {
        let alphas = self.alpha.stages();
        let strided = self.alpha.is_vanilla();
        std::array::from_fn(|stage| {
            let middle = self.channels(64 << stage);
            let output = BottleneckConfig::EXPANSION * middle;
            (0..self.arch.blocks()[stage])
                .map(|index| {
                    let (input, alpha_in) = match (stage, index) {
                        (0, 0) => (self.stem_channels(), 0.0),
                        (_, 0) => (
                            BottleneckConfig::EXPANSION * self.channels(64 << (stage - 1)),
                            alphas[stage - 1],
                        ),
                        _ => (output, alphas[stage]),
                    };
                    BottleneckConfig {
                        input,
                        middle,
                        stride: if stage > 0 && index == 0 { 2 } else { 1 },
                        alpha_in,
                        alpha_out: alphas[stage],
                        project: index == 0,
                        strided,
                        zero_init: self.zero_init_residual,
                    }
                })
                .collect()
        })
    }
}

fn layer(name: impl Into<String>, cost: Cost) -> LayerCost {
    LayerCost {
        name: name.into(),
        cost,
    }
}

fn norm_cost(channels: usize) -> Cost {
    Cost {
        params: 2 * channels as u64,
        ..Cost::default()
    }
}
