use alloc::{format, string::String};

use burn::{
    module::{Content, DisplaySettings, Module, ModuleDisplay, Param},
    tensor::{Device, Tensor},
};
use octave_plan::{Path, Plan};

use super::OctConv2dConfig;
#[cfg(feature = "flex")]
use crate::ops::PackedKernels;
use crate::{
    ChannelSplit, FeatureError, OctConvError, OctFeatures,
    ops::{self, kernels::OctKernels},
};

/// Octave convolution over a multi-frequency feature map.
///
/// The four kernels together are one vanilla kernel
/// `[channels_out, channels_in / groups, kernel_height, kernel_width]` cut in four, so the number
/// of parameters does not depend on α. A path whose group has no channels has no kernel.
///
/// ```text
/// Y^H = f(X^H; W^{H→H}) + upsample(f(X^L; W^{L→H}), 2)
/// Y^L = f(X^L; W^{L→L}) + f(pool(X^H, 2); W^{H→L})
/// ```
///
/// Source: Chen et al., "Drop an Octave", equation 2, <https://arxiv.org/abs/1904.05049>.
/// Built by [`OctConv2dConfig`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct OctConv2d {
    /// H→H kernel, `[channels_high_out, channels_high_in / groups, kernel_height, kernel_width]`.
    pub h2h: Option<Param<Tensor<4>>>,
    /// H→L kernel, `[channels_low_out, channels_high_in / groups, kernel_height, kernel_width]`.
    pub h2l: Option<Param<Tensor<4>>>,
    /// L→H kernel, `[channels_high_out, channels_low_in / groups, kernel_height, kernel_width]`.
    pub l2h: Option<Param<Tensor<4>>>,
    /// L→L kernel, `[channels_low_out, channels_low_in / groups, kernel_height, kernel_width]`.
    pub l2l: Option<Param<Tensor<4>>>,
    /// Bias of the high output, `[channels_high_out]`.
    pub bias_high: Option<Param<Tensor<1>>>,
    /// Bias of the low output, `[channels_low_out]`.
    pub bias_low: Option<Param<Tensor<1>>>,
    /// How the layer is computed, path by path.
    #[module(skip)]
    pub plan: Plan<2>,
    /// The kernels as the engine reads them, from call to call.
    #[cfg(feature = "flex")]
    #[module(skip)]
    pub packed: PackedKernels,
}

impl OctConv2dConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If the configuration is invalid; [`OctConv2dConfig::try_init`] returns the error instead.
    pub fn init(&self, device: &Device) -> OctConv2d {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// The first [`OctConvError`] found in the configuration.
    pub fn try_init(&self, device: &Device) -> Result<OctConv2d, OctConvError> {
        Ok(OctConv2d::from_plan(self, self.plan()?, device))
    }
}

impl OctConv2d {
    fn from_plan(config: &OctConv2dConfig, plan: Plan<2>, device: &Device) -> Self {
        let [channels_in, channels_out] = config.channels;
        let [height, width] = config.kernel_size;
        let fan = |channels: usize| Some(channels / config.groups * height * width);
        let (fan_in, fan_out) = (fan(channels_in), fan(channels_out));
        let kernel = |from: usize, to: usize| {
            let [rows, columns] = plan.weight_dims(plan.path(from, to)?);
            let shape = [rows, columns, height, width];
            Some(config.initializer.init_with(shape, fan_in, fan_out, device))
        };
        let bias = |channels: usize| {
            (config.bias && channels > 0).then(|| {
                config
                    .initializer
                    .init_with([channels], fan_in, fan_out, device)
            })
        };
        Self {
            h2h: kernel(0, 0),
            h2l: kernel(0, 1),
            l2h: kernel(1, 0),
            l2l: kernel(1, 1),
            bias_high: bias(plan.output[0]),
            bias_low: bias(plan.output[1]),
            plan,
            #[cfg(feature = "flex")]
            packed: PackedKernels::default(),
        }
    }

    /// Input channels by frequency.
    pub fn input(&self) -> ChannelSplit {
        ChannelSplit::from_groups(&self.plan.input)
    }

    /// Output channels by frequency.
    pub fn output(&self) -> ChannelSplit {
        ChannelSplit::from_groups(&self.plan.output)
    }

    /// Applies the convolution. A plain tensor is a feature map without a low group.
    ///
    /// # Shapes
    ///
    /// - input: high `[batch, channels_high_in, height, width]`,
    ///   low `[batch, channels_low_in, ⌈height / 2⌉, ⌈width / 2⌉]`
    /// - output: high `[batch, channels_high_out, ⌈height / stride⌉, ⌈width / stride⌉]`, low one
    ///   octave below
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for, or a map is smaller
    /// than the kernel; [`OctConv2d::check`] returns the error instead.
    pub fn forward(&self, input: impl Into<OctFeatures>) -> OctFeatures {
        let input = input.into();
        self.check(&input).unwrap_or_else(|e| panic!("{e}"));
        ops::octconv2d(input, self.kernels(), &self.plan)
    }

    /// Whether the layer is depthwise: one filter per channel, no exchange paths.
    pub fn is_depthwise(&self) -> bool {
        self.plan.is_depthwise()
    }

    /// The device that holds the kernels.
    pub fn device(&self) -> Device {
        let kernels = [&self.h2h, &self.h2l, &self.l2h, &self.l2l];
        let kernel = kernels.into_iter().flatten().next();
        kernel.expect("a layer has at least one path").device()
    }

    /// Whether the layer can be applied to `input`.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Channels`] if `input` does not have the channels that the layer was built
    /// for, [`FeatureError::TooSmall`] if a path reads a map smaller than its kernel.
    pub fn check(&self, input: &OctFeatures) -> Result<(), FeatureError> {
        let [high, low] = input.channels();
        let expected = self.input();
        if [high, low] != [expected.high, expected.low] {
            return Err(FeatureError::Channels {
                expected_high: expected.high,
                expected_low: expected.low,
                high,
                low,
            });
        }
        self.check_size(input.size())
    }

    fn check_size(&self, size: [usize; 2]) -> Result<(), FeatureError> {
        let plan = &self.plan;
        for path in &plan.paths {
            if plan.conv_size(path, size).contains(&0) {
                return Err(FeatureError::TooSmall {
                    path: name(path),
                    map: plan.read_size(path, size),
                    padding: plan.padding_at_stride_1(),
                    extent: plan.extent(),
                });
            }
        }
        Ok(())
    }

    /// The kernel parameter of a path.
    pub(super) fn kernel_mut(&mut self, path: &Path) -> Option<&mut Param<Tensor<4>>> {
        let kernel = match (path.from, path.to) {
            (0, 0) => &mut self.h2h,
            (0, 1) => &mut self.h2l,
            (1, 0) => &mut self.l2h,
            _ => &mut self.l2l,
        };
        kernel.as_mut()
    }

    /// The kernels and biases as tensors.
    pub fn kernels(&self) -> OctKernels {
        let value = |param: &Option<Param<Tensor<4>>>| param.as_ref().map(Param::val);
        let bias = |param: &Option<Param<Tensor<1>>>| param.as_ref().map(Param::val);
        OctKernels {
            h2h: value(&self.h2h),
            h2l: value(&self.h2l),
            l2h: value(&self.l2h),
            l2l: value(&self.l2l),
            bias_high: bias(&self.bias_high),
            bias_low: bias(&self.bias_low),
            #[cfg(feature = "flex")]
            packed: self.packed.share(),
        }
    }
}

/// What messages call a path.
fn name(path: &Path) -> &'static str {
    match (path.from, path.to) {
        (0, 0) => "H→H",
        (0, 1) => "H→L",
        (1, 0) => "L→H",
        _ => "L→L",
    }
}

impl ModuleDisplay for OctConv2d {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let split = |s: ChannelSplit| format!("{} ({} high + {} low)", s.total(), s.high, s.low);
        let plan = &self.plan;
        let stride = match (plan.stride, plan.strided) {
            (1, _) => String::from("1"),
            (_, false) => String::from("2 (pooled)"),
            (_, true) => String::from("2 (strided)"),
        };
        content
            .add("ch_in", &split(self.input()))
            .add("ch_out", &split(self.output()))
            .add("kernel_size", &format!("{:?}", plan.kernel_size))
            .add("stride", &stride)
            .add("dilation", &format!("{:?}", plan.dilation))
            .add("groups", &plan.groups)
            .add("padding", &format!("{:?}", plan.padding_at_stride_1()))
            .optional()
    }
}
