use alloc::format;

use burn::{
    config::Config,
    nn::{Initializer, PaddingConfig2d},
};

use octave_plan::{Downsample, Exchange, Layer, Padding, Plan, Upsample};

use crate::{ChannelSplit, OctConvError};

/// Configuration of an [`OctConv2d`](crate::OctConv2d), in the manner of Burn's
/// [`Conv2dConfig`](burn::nn::conv::Conv2dConfig).
///
/// ```
/// use burn::tensor::Device;
/// use burn_octconv::OctConv2dConfig;
///
/// let device = Device::default();
/// // The first octave layer of a network reads a plain tensor …
/// let first = OctConv2dConfig::new([64, 128], [3, 3]).with_alpha_in(0.0).init(&device);
/// // … those in between have the same share on both sides …
/// let middle = OctConv2dConfig::new([128, 128], [3, 3]).with_alpha(0.5).init(&device);
/// // … and the last one returns to a plain tensor.
/// let last = OctConv2dConfig::new([128, 256], [1, 1]).with_alpha_out(0.0).init(&device);
/// ```
#[derive(Config, Debug)]
pub struct OctConv2dConfig {
    /// The number of channels of both frequencies together, `[in, out]`.
    pub channels: [usize; 2],
    /// The size of the kernel, `[height, width]`.
    pub kernel_size: [usize; 2],
    /// The stride, `[1, 1]` or `[2, 2]`.
    #[config(default = "[1, 1]")]
    pub stride: [usize; 2],
    /// Spacing between kernel elements, `[height, width]`.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// Groups of every path; they must divide the channels of each frequency. With
    /// `groups = in = out` the layer is depthwise and has no exchange paths.
    #[config(default = "1")]
    pub groups: usize,
    /// The padding. Anything but `Same` (or its explicit equal) would misalign the two
    /// resolutions and is refused, unless only one path exists.
    #[config(default = "PaddingConfig2d::Same")]
    pub padding: PaddingConfig2d,
    /// If a bias should be added to the output: one per output channel.
    #[config(default = true)]
    pub bias: bool,
    /// The initialisation, with fan-in and fan-out of the whole vanilla layer, so that the sum of
    /// two paths has the variance of one vanilla convolution.
    #[config(
        default = "Initializer::KaimingUniform { gain: 0.577_350_269_189_625_8, fan_out_only: false }"
    )]
    pub initializer: Initializer,
    /// Share of low-frequency input channels, in `[0, 1]`; 0 for the first octave layer.
    #[config(default = "0.5")]
    pub alpha_in: f64,
    /// Share of low-frequency output channels, in `[0, 1]`; 0 for the last octave layer.
    #[config(default = "0.5")]
    pub alpha_out: f64,
    /// With stride 2, whether the convolutions themselves are strided. By default (`false`) both
    /// inputs are average-pooled and then convolved with stride 1, as the paper does.
    #[config(default = false)]
    pub strided: bool,
    /// How H→L goes down one octave.
    #[config(default = "Downsample::Average")]
    pub downsample: Downsample,
    /// How L→H goes up one octave.
    #[config(default = "Upsample::Nearest")]
    pub upsample: Upsample,
    /// Which exchange paths exist.
    #[config(default = "Exchange::Both")]
    pub exchange: Exchange,
}

impl OctConv2dConfig {
    /// Sets the same share of low-frequency channels on both sides.
    pub fn with_alpha(self, alpha: f64) -> Self {
        self.with_alpha_in(alpha).with_alpha_out(alpha)
    }

    /// Whether the layer is depthwise: one filter per channel, no exchange paths.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == [self.groups; 2]
    }

    /// Checks the configuration without building the layer.
    ///
    /// # Errors
    ///
    /// The first [`OctConvError`] found.
    pub fn validate(&self) -> Result<(), OctConvError> {
        self.plan().map(drop)
    }

    /// The paths of the layer: what everything that computes, counts or shows it reads.
    ///
    /// # Errors
    ///
    /// The first [`OctConvError`] found in the configuration.
    pub fn plan(&self) -> Result<Plan<2>, OctConvError> {
        self.check_sizes()?;
        self.check_magnitudes()?;
        check_initializer(&self.initializer, self.bias)?;
        let input = ChannelSplit::named(self.channels[0], self.alpha_in, "alpha_in")?;
        let output = ChannelSplit::named(self.channels[1], self.alpha_out, "alpha_out")?;
        if !self.is_depthwise() {
            self.check_groups(input, output)?;
        } else if input != output {
            return Err(OctConvError::Depthwise {
                channels: self.groups,
                alpha_in: self.alpha_in,
                alpha_out: self.alpha_out,
            });
        }
        let plan = Plan::new(self.layer(input, output), self.exchange);
        self.check_reachable(&plan)?;
        self.check_padding(&plan)?;
        Ok(plan)
    }

    fn check_sizes(&self) -> Result<(), OctConvError> {
        let sizes = [
            ("channels", &self.channels),
            ("kernel_size", &self.kernel_size),
            ("dilation", &self.dilation),
        ];
        for (name, value) in sizes {
            if value.contains(&0) {
                let value = format!("{value:?}");
                return Err(OctConvError::Zero { name, value });
            }
        }
        if self.groups == 0 {
            return Err(OctConvError::Zero {
                name: "groups",
                value: "0".into(),
            });
        }
        match self.stride {
            [1, 1] | [2, 2] => Ok(()),
            stride => Err(OctConvError::Stride { stride }),
        }
    }

    /// Refuses what would overflow later on: afterwards the number of weights in bytes, the extent
    /// of the kernel and sums of paddings all fit `isize`.
    fn check_magnitudes(&self) -> Result<(), OctConvError> {
        const LIMIT: usize = isize::MAX as usize / 8;
        let fits = |factors: &[usize]| {
            let product = factors.iter().try_fold(1usize, |p, &f| p.checked_mul(f));
            product.is_some_and(|product| product <= LIMIT)
        };
        let too_large = |name, value| Err(OctConvError::TooLarge { name, value });
        let [channels_in, channels_out] = self.channels;
        let [height, width] = self.kernel_size;
        let per_group = channels_in.div_ceil(self.groups);
        if !fits(&[per_group, channels_out, height, width]) {
            let value = format!("{:?} with kernel_size {height}×{width}", self.channels);
            return too_large("channels", value);
        }
        if !(fits(&[height, self.dilation[0]]) && fits(&[width, self.dilation[1]])) {
            let value = format!("{:?} with kernel_size {height}×{width}", self.dilation);
            return too_large("dilation", value);
        }
        if let PaddingConfig2d::Explicit(top, left, bottom, right) = self.padding
            && ![top, left, bottom, right].iter().all(|&p| fits(&[p, 2]))
        {
            return too_large("padding", format!("{:?}", self.padding));
        }
        Ok(())
    }

    fn check_groups(&self, input: ChannelSplit, output: ChannelSplit) -> Result<(), OctConvError> {
        let counts = [input.high, input.low, output.high, output.low];
        if counts.iter().all(|c| c.is_multiple_of(self.groups)) {
            return Ok(());
        }
        Err(OctConvError::Groups {
            groups: self.groups,
            high_in: input.high,
            low_in: input.low,
            high_out: output.high,
            low_out: output.low,
        })
    }

    fn check_reachable(&self, plan: &Plan<2>) -> Result<(), OctConvError> {
        for (to, (group, path)) in [("high", "L→H"), ("low", "H→L")].into_iter().enumerate() {
            if plan.output[to] > 0 && plan.into_group(to).next().is_none() {
                return Err(OctConvError::Unreachable {
                    group,
                    path,
                    alpha_in: self.alpha_in,
                    alpha_out: self.alpha_out,
                });
            }
        }
        Ok(())
    }

    fn check_padding(&self, plan: &Plan<2>) -> Result<(), OctConvError> {
        let same = plan.same_at_stride_1();
        let padding = plan.padding_at_stride_1();
        if padding == same || plan.paths.len() == 1 {
            return Ok(());
        }
        Err(OctConvError::Padding {
            padding,
            same,
            kernel_size: self.kernel_size,
            dilation: self.dilation,
        })
    }

    fn layer(&self, input: ChannelSplit, output: ChannelSplit) -> Layer<2> {
        Layer {
            stride: self.stride[0],
            strided: self.strided,
            padding: match self.padding {
                PaddingConfig2d::Same => Padding::Same,
                PaddingConfig2d::Valid => Padding::Explicit([(0, 0); 2]),
                PaddingConfig2d::Explicit(top, left, bottom, right) => {
                    Padding::Explicit([(top, bottom), (left, right)])
                }
            },
            dilation: self.dilation,
            groups: self.groups,
            downsample: self.downsample,
            upsample: self.upsample,
            ..Layer::new(
                [input.high, input.low],
                [output.high, output.low],
                self.kernel_size,
            )
        }
    }
}

/// Refuses what Burn's initialisation would panic on, and that only when the weights are
/// first read.
pub(crate) fn check_initializer(initializer: &Initializer, bias: bool) -> Result<(), OctConvError> {
    let reason = match *initializer {
        Initializer::Constant { .. } | Initializer::Ones | Initializer::Zeros => return Ok(()),
        Initializer::Uniform { min, max } => {
            let (min, max) = (min as f32, max as f32);
            if min < max && (max - min).is_finite() {
                return Ok(());
            }
            "min must be less than max, and both finite in f32"
        }
        Initializer::Normal { mean, std } => {
            if (mean as f32).is_finite() && (std as f32).is_finite() && std >= 0.0 {
                return Ok(());
            }
            "mean and std must be finite in f32, and std not negative"
        }
        // Burn draws between two f32, which must differ. Whatever the fan, they do for gains of
        // this range.
        Initializer::KaimingUniform { gain, .. } | Initializer::XavierUniform { gain } => {
            if (1e-30..=1e30).contains(&gain) {
                return Ok(());
            }
            "the gain must lie between 1e-30 and 1e30"
        }
        Initializer::KaimingNormal { gain, .. } | Initializer::XavierNormal { gain } => {
            if (0.0..=1e30).contains(&gain) {
                return Ok(());
            }
            "the gain must lie between 0 and 1e30"
        }
        Initializer::Orthogonal { .. } => {
            if !bias {
                return Ok(());
            }
            "only matrices can be orthogonal: use with_bias(false)"
        }
    };
    Err(OctConvError::Initializer {
        initializer: format!("{:?}", initializer),
        reason,
    })
}
