use burn::{module::Module, tensor::Device};
use burn_octconv::{OctBatchNorm, OctConv2d, OctConvError, OctFeatures, ops::norm::Activation};

use super::residual::zero_gamma;
use crate::model::{
    Shares,
    conv::{ConvSpec, conv},
    layers::{Layer, Layers, fold, normalize_with},
    wire::{Chain, Wire},
};

/// A depthwise 3×3 convolution: one filter per channel of each frequency.
fn depthwise(channels: usize, stride: usize, alpha: f64, strided: bool) -> ConvSpec {
    conv([channels; 2], 3, stride)
        .with_groups(channels)
        .with_alpha(alpha)
        .with_strided(strided)
}

/// Configuration of a [`Separable`] block.
#[derive(Debug, Clone, PartialEq)]
pub struct SeparableConfig {
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Share of low-frequency channels of the depthwise convolution.
    pub alpha_in: f64,
    /// Share of low-frequency channels at the output.
    pub alpha_out: f64,
    /// Whether stride 2 is taken by a strided convolution, as in a vanilla network.
    pub strided: bool,
}

impl SeparableConfig {
    pub(super) fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let output = Wire::new(self.output, Shares::of_alpha(self.alpha_out), 1)?;
        Ok(Chain::new([input.clone(), input, output], false))
    }

    pub(in crate::model) fn layers(&self) -> Layers {
        let spatial = depthwise(self.input, self.stride, self.alpha_in, self.strided);
        let pointwise = conv([self.input, self.output], 1, 1)
            .with_alpha_in(self.alpha_in)
            .with_alpha_out(self.alpha_out);
        let norm = |channels: usize, alpha: f64| Layer::Norm {
            channels,
            shares: Shares::of_alpha(alpha),
        };
        let mut layers = Layers::default();
        layers.push("conv1", 1, Layer::Conv(spatial));
        layers.push("bn1", 1, norm(self.input, self.alpha_in));
        layers.push("conv2", self.stride, Layer::Conv(pointwise));
        layers.push("bn2", self.stride, norm(self.output, self.alpha_out));
        layers
    }

    pub(super) fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|s| s.div_ceil(self.stride))
    }

    /// Builds the block.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<Separable, OctConvError> {
        let mut parts = self.layers().build(device);
        let block = Separable {
            conv1: parts.conv("conv1")?,
            bn1: Some(parts.norm::<OctConv2d>("bn1")?),
            conv2: parts.conv("conv2")?,
            bn2: Some(parts.norm::<OctConv2d>("bn2")?),
        };
        parts.finish();
        Ok(block)
    }
}

/// A depthwise separable convolution: 3×3 within each channel, then 1×1 across them, each with a
/// norm and ReLU. Only the 1×1 exchanges information between the frequencies.
///
/// Source: Howard et al., <https://arxiv.org/abs/1704.04861>, section 3.1.
#[derive(Module, Debug)]
pub struct Separable {
    /// Depthwise 3×3 convolution, with the block's stride.
    pub conv1: OctConv2d,
    /// Norm after `conv1`; none once it is folded.
    pub bn1: Option<OctBatchNorm>,
    /// Pointwise 1×1 convolution.
    pub conv2: OctConv2d,
    /// Norm after `conv2`; none once it is folded.
    pub bn2: Option<OctBatchNorm>,
}

impl Separable {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / stride⌉, ⌈width / stride⌉]`
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let x = self.conv1.forward(input);
        let x = normalize_with::<OctConv2d>(&self.bn1, x, None, Activation::Relu);
        normalize_with::<OctConv2d>(&self.bn2, self.conv2.forward(x), None, Activation::Relu)
    }

    /// Folds both norms into the convolutions.
    pub fn fold_batch_norm(mut self) -> Self {
        fold(&mut self.conv1, &mut self.bn1);
        fold(&mut self.conv2, &mut self.bn2);
        self
    }
}

/// Configuration of an [`Inverted`] block.
#[derive(Debug, Clone, PartialEq)]
pub struct InvertedConfig {
    /// Input channels.
    pub input: usize,
    /// Channels of the depthwise convolution per input channel.
    pub expansion: usize,
    /// Output channels.
    pub output: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Share of low-frequency channels inside; input and output are plain.
    pub alpha: f64,
    /// Whether stride 2 is taken by a strided convolution, as in a vanilla network.
    pub strided: bool,
    /// Whether the γ of the last norm starts at zero, if the block has a shortcut.
    pub zero_init: bool,
}

impl InvertedConfig {
    fn has_shortcut(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }

    pub(super) fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let middle = Wire::new(self.input * self.expansion, Shares::of_alpha(self.alpha), 1)?;
        let output = Wire::new(self.output, Shares::PLAIN, 1)?;
        Ok(Chain::new([input, middle.clone(), middle, output], false))
    }

    pub(in crate::model) fn layers(&self) -> Layers {
        let middle = self.input * self.expansion;
        let expand = conv([self.input, middle], 1, 1).with_alpha_out(self.alpha);
        let project = conv([middle, self.output], 1, 1).with_alpha_in(self.alpha);
        let spatial = depthwise(middle, self.stride, self.alpha, self.strided);
        let norm = |channels: usize, alpha: f64| Layer::Norm {
            channels,
            shares: Shares::of_alpha(alpha),
        };
        let mut layers = Layers::default();
        layers.push("conv1", 1, Layer::Conv(expand));
        layers.push("bn1", 1, norm(middle, self.alpha));
        layers.push("conv2", 1, Layer::Conv(spatial));
        layers.push("bn2", self.stride, norm(middle, self.alpha));
        layers.push("conv3", self.stride, Layer::Conv(project));
        layers.push("bn3", self.stride, norm(self.output, 0.0));
        layers
    }

    pub(super) fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|s| s.div_ceil(self.stride))
    }

    /// Builds the block.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<Inverted, OctConvError> {
        let mut parts = self.layers().build(device);
        let mut block = Inverted {
            conv1: parts.conv("conv1")?,
            bn1: Some(parts.norm::<OctConv2d>("bn1")?),
            conv2: parts.conv("conv2")?,
            bn2: Some(parts.norm::<OctConv2d>("bn2")?),
            conv3: parts.conv("conv3")?,
            bn3: Some(parts.norm::<OctConv2d>("bn3")?),
            shortcut: self.has_shortcut(),
        };
        parts.finish();
        if self.zero_init && self.has_shortcut() {
            zero_gamma::<OctConv2d>(block.bn3.as_mut());
        }
        Ok(block)
    }
}

/// An inverted residual with a linear bottleneck: 1×1 expansion and depthwise 3×3, each with a
/// norm and ReLU6, then a 1×1 projection with a norm only. Just the expanded inside has two
/// frequencies, so the sum is one of plain maps.
///
/// Source: Sandler et al., <https://arxiv.org/abs/1801.04381>, section 3; the first block keeps
/// its 1×1 convolution, as the octave authors' code does.
#[derive(Module, Debug)]
pub struct Inverted {
    /// 1×1 convolution to the expanded width.
    pub conv1: OctConv2d,
    /// Norm after `conv1`; none once it is folded.
    pub bn1: Option<OctBatchNorm>,
    /// Depthwise 3×3 convolution, with the block's stride.
    pub conv2: OctConv2d,
    /// Norm after `conv2`; none once it is folded.
    pub bn2: Option<OctBatchNorm>,
    /// 1×1 convolution to the output width.
    pub conv3: OctConv2d,
    /// Norm after `conv3`; none once it is folded.
    pub bn3: Option<OctBatchNorm>,
    /// Whether the input is added to the output.
    #[module(skip)]
    pub shortcut: bool,
}

impl Inverted {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, channels_in, height, width]`, no low group
    /// - output: `[batch, channels_out, ⌈height / stride⌉, ⌈width / stride⌉]`, no low group
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let x = self.conv1.forward(input.clone());
        let x = normalize_with::<OctConv2d>(&self.bn1, x, None, Activation::Relu6);
        let x =
            normalize_with::<OctConv2d>(&self.bn2, self.conv2.forward(x), None, Activation::Relu6);
        let shortcut = self.shortcut.then_some(input);
        let x = self.conv3.forward(x);
        normalize_with::<OctConv2d>(&self.bn3, x, shortcut, Activation::Identity)
    }

    /// Folds the three norms into the convolutions.
    pub fn fold_batch_norm(mut self) -> Self {
        fold(&mut self.conv1, &mut self.bn1);
        fold(&mut self.conv2, &mut self.bn2);
        fold(&mut self.conv3, &mut self.bn3);
        self
    }
}
