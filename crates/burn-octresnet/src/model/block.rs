use burn::{
    module::{Module, Param},
    nn::{BatchNorm, Initializer},
    tensor::Device,
};
use burn_octconv::{
    OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig, OctConvError, OctFeatures,
};

/// The initialisation of all convolutions: normal with variance 2 / fan-out (He et al.,
/// <https://arxiv.org/abs/1502.01852>).
pub(super) fn kernel_initializer() -> Initializer {
    Initializer::KaimingNormal {
        gain: std::f64::consts::SQRT_2,
        fan_out_only: true,
    }
}

/// A bottleneck block: 1×1, 3×3 (which takes the stride) and 1×1 convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct BottleneckConfig {
    /// Input channels.
    pub input: usize,
    /// Channels of the 3×3 convolution; the block's output has four times as many.
    pub middle: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Share of low-frequency channels at the input.
    pub alpha_in: f64,
    /// Share of low-frequency channels inside and at the output.
    pub alpha_out: f64,
    /// Whether the shortcut is a 1×1 convolution.
    pub project: bool,
    /// Whether stride 2 is taken by strided convolutions, as in a vanilla network.
    pub strided: bool,
    /// Whether the last γ starts at zero.
    pub zero_init: bool,
}

impl BottleneckConfig {
    /// Output channels per channel of the 3×3 convolution.
    pub const EXPANSION: usize = 4;

    /// The block's convolutions by name, in the order of computation; the projection last.
    pub fn convolutions(&self) -> Vec<(&'static str, OctConv2dConfig)> {
        let output = Self::EXPANSION * self.middle;
        let (outer, inner) = (self.alpha_in, self.alpha_out);
        let conv = |channels: [usize; 2], kernel: usize, stride: usize, alpha_in: f64| {
            // Explicit, since `Same` would pad a strided convolution at the end only.
            let pad = kernel / 2;
            OctConv2dConfig::new(channels, [kernel; 2])
                .with_stride([stride; 2])
                .with_padding(burn::nn::PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .with_bias(false)
                .with_initializer(kernel_initializer())
                .with_alpha_in(alpha_in)
                .with_alpha_out(inner)
                .with_strided(self.strided)
        };
        let mut convolutions = vec![
            ("conv1", conv([self.input, self.middle], 1, 1, outer)),
            ("conv2", conv([self.middle; 2], 3, self.stride, inner)),
            ("conv3", conv([self.middle, output], 1, 1, inner)),
        ];
        if self.project {
            convolutions.push((
                "downsample",
                conv([self.input, output], 1, self.stride, outer),
            ));
        }
        convolutions
    }

    /// Full resolution of the output for an input of full resolution `size`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|s| s.div_ceil(self.stride))
    }

    /// Builds the block.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<Bottleneck, OctConvError> {
        let norm = |channels: usize| {
            OctBatchNormConfig::new(channels)
                .with_alpha(self.alpha_out)
                .try_init(device)
        };
        let mut convs = Vec::new();
        for (_, conv) in self.convolutions() {
            convs.push((conv.try_init(device)?, norm(conv.channels[1])?));
        }
        let mut convs = convs.into_iter();
        let mut next = || convs.next();
        let (Some((conv1, bn1)), Some((conv2, bn2)), Some((conv3, mut bn3))) =
            (next(), next(), next())
        else {
            unreachable!("a bottleneck has three convolutions");
        };
        if self.zero_init {
            for norm in [&mut bn3.high, &mut bn3.low].into_iter().flatten() {
                zero_gamma(norm);
            }
        }
        Ok(Bottleneck {
            conv1,
            bn1,
            conv2,
            bn2,
            conv3,
            bn3,
            downsample: next().map(|(conv, bn)| Projection { conv, bn }),
        })
    }
}

fn zero_gamma(norm: &mut BatchNorm) {
    norm.gamma = Param::from_tensor(norm.gamma.val().zeros_like());
}

/// A bottleneck block, post-activation ("v1"), with the stride in the 3×3 convolution.
///
/// Source: He et al., <https://arxiv.org/abs/1512.03385>, figure 5; the octave form is Chen et
/// al., <https://arxiv.org/abs/1904.05049>, section 4.1.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// 1×1 convolution to the middle width.
    pub conv1: OctConv2d,
    /// Norm after `conv1`.
    pub bn1: OctBatchNorm,
    /// 3×3 convolution, with the block's stride.
    pub conv2: OctConv2d,
    /// Norm after `conv2`.
    pub bn2: OctBatchNorm,
    /// 1×1 convolution to the output width.
    pub conv3: OctConv2d,
    /// Norm after `conv3`.
    pub bn3: OctBatchNorm,
    /// The shortcut where its input does not have the output's shape.
    pub downsample: Option<Projection>,
}

/// A 1×1 convolution with a norm: the shortcut of a stage's first block.
#[derive(Module, Debug)]
pub struct Projection {
    /// 1×1 convolution, with the block's stride.
    pub conv: OctConv2d,
    /// Norm after it.
    pub bn: OctBatchNorm,
}

impl Bottleneck {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / stride⌉, ⌈width / stride⌉]`
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let x = self.bn1.forward(self.conv1.forward(input.clone())).relu();
        let x = self.bn2.forward(self.conv2.forward(x)).relu();
        let x = self.bn3.forward(self.conv3.forward(x));
        let shortcut = match &self.downsample {
            Some(projection) => projection.bn.forward(projection.conv.forward(input)),
            None => input,
        };
        (x + shortcut).relu()
    }
}
