use burn::{module::Module, nn::pool::AvgPool2dConfig, tensor::Device};
use burn_octconv::{
    ChannelSplit, OctAvgPool2d, OctBatchNorm, OctConv2d, OctConvError, OctFeatures,
    ops::norm::Activation,
};

use crate::model::{
    Shares,
    conv::conv,
    layers::{Layer, Layers, fold, normalize_with},
    wire::{Chain, Wire},
};

/// A share of low-frequency channels that splits `split.total()` channels into exactly `split`.
/// Concatenation adds up splits, and a sum of floors is not the floor of the sum.
fn share(split: ChannelSplit) -> f64 {
    let total = split.total() as f64;
    match (split.high, split.low) {
        (_, 0) => 0.0,
        (0, _) => 1.0,
        (_, low) if (low as f64 / total * total) as usize == low => low as f64 / total,
        (_, low) => (low as f64 + 0.5) / total,
    }
}

/// Configuration of a [`DenseLayer`].
#[derive(Debug, Clone, PartialEq)]
pub struct DenseLayerConfig {
    /// Input channels by frequency.
    pub input: ChannelSplit,
    /// Channels between the two convolutions.
    pub middle: usize,
    /// Channels that the layer adds.
    pub growth: usize,
    /// Share of low-frequency channels of those.
    pub alpha: f64,
}

impl DenseLayerConfig {
    pub(super) fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let middle = Wire::new(self.middle, Shares::of_alpha(self.alpha), 1)?;
        let new = Wire::new(self.growth, Shares::of_alpha(self.alpha), 1)?;
        let output = input.appended(&new);
        Ok(Chain {
            output,
            ..Chain::new([input, middle, new], true)
        })
    }

    pub(in crate::model) fn layers(&self) -> Layers {
        let (channels, alpha_in) = (self.input.total(), share(self.input));
        let (middle, alpha) = (self.middle, self.alpha);
        let squeeze = conv([channels, middle], 1, 1)
            .with_alpha_in(alpha_in)
            .with_alpha_out(alpha);
        let grow = conv([middle, self.growth], 3, 1).with_alpha(alpha);
        let norm = |channels: usize, alpha: f64| Layer::Norm {
            channels,
            shares: Shares::of_alpha(alpha),
        };
        let mut layers = Layers::default();
        layers.push("norm1", 1, norm(channels, alpha_in));
        layers.push("conv1", 1, Layer::Conv(squeeze));
        layers.push("norm2", 1, norm(middle, alpha));
        layers.push("conv2", 1, Layer::Conv(grow));
        layers
    }

    pub(super) fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        size
    }

    /// Output channels by frequency.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Alpha`] if the share is illegal.
    pub fn output(&self) -> Result<ChannelSplit, OctConvError> {
        let new = ChannelSplit::new(self.growth, self.alpha)?;
        Ok(ChannelSplit {
            high: self.input.high + new.high,
            low: self.input.low + new.low,
        })
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<DenseLayer, OctConvError> {
        let mut parts = self.layers().build(device);
        let block = DenseLayer {
            norm1: parts.norm::<OctConv2d>("norm1")?,
            conv1: parts.conv("conv1")?,
            norm2: Some(parts.norm::<OctConv2d>("norm2")?),
            conv2: parts.conv("conv2")?,
        };
        parts.finish();
        Ok(block)
    }
}

/// A layer of a dense block: pre-activation 1×1 and 3×3 convolutions, whose output is appended to
/// the input, each frequency to its own.
///
/// Source: Huang et al., <https://arxiv.org/abs/1608.06993>, section 3 (DenseNet-BC).
#[derive(Module, Debug)]
pub struct DenseLayer {
    /// Norm before `conv1`.
    pub norm1: OctBatchNorm,
    /// 1×1 convolution.
    pub conv1: OctConv2d,
    /// Norm before `conv2`; none once it is folded into `conv1`.
    pub norm2: Option<OctBatchNorm>,
    /// 3×3 convolution to the new channels.
    pub conv2: OctConv2d,
}

impl DenseLayer {
    /// Applies the layer.
    ///
    /// # Shapes
    ///
    /// - the resolution stays; each frequency gains its share of the new channels
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let norm_relu = |norm: &OctBatchNorm, x| norm.forward_with(x, None, Activation::Relu);
        let x = norm_relu(&self.norm1, input.clone());
        let x = self.conv1.forward(x);
        let x = normalize_with::<OctConv2d>(&self.norm2, x, None, Activation::Relu);
        let x = self.conv2.forward(x);
        input.concat(x).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Folds the norm between the convolutions into the first; the one that reads the input stays.
    pub fn fold_batch_norm(mut self) -> Self {
        fold(&mut self.conv1, &mut self.norm2);
        self
    }
}

/// Configuration of a [`Transition`].
#[derive(Debug, Clone, PartialEq)]
pub struct TransitionConfig {
    /// Input channels by frequency.
    pub input: ChannelSplit,
    /// Output channels.
    pub output: usize,
    /// Share of low-frequency channels at the output.
    pub alpha_out: f64,
    /// Whether the network is vanilla, in which pooling drops the last row or column of an odd
    /// size, where an octave network averages what there is.
    pub vanilla: bool,
}

impl TransitionConfig {
    pub(super) fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let output = Wire::new(self.output, Shares::of_alpha(self.alpha_out), 1)?;
        Ok(Chain::new([input, output], true))
    }

    pub(in crate::model) fn layers(&self) -> Layers {
        let (channels, alpha_in) = (self.input.total(), share(self.input));
        let convolution = conv([channels, self.output], 1, 1)
            .with_alpha_in(alpha_in)
            .with_alpha_out(self.alpha_out);
        let norm = Layer::Norm {
            channels,
            shares: Shares::of_alpha(alpha_in),
        };
        let mut layers = Layers::default();
        layers.push("norm", 1, norm);
        layers.push("conv", 1, Layer::Conv(convolution));
        layers
    }

    pub(super) fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|s| if self.vanilla { s / 2 } else { s.div_ceil(2) })
    }

    /// Builds the block.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<Transition, OctConvError> {
        let pool = AvgPool2dConfig::new([2, 2])
            .with_strides([2, 2])
            .with_ceil_mode(!self.vanilla)
            .with_count_include_pad(false);
        let mut parts = self.layers().build(device);
        let block = Transition {
            norm: parts.norm::<OctConv2d>("norm")?,
            conv: parts.conv("conv")?,
            pool: OctAvgPool2d::from(pool.init()),
        };
        parts.finish();
        Ok(block)
    }
}

/// The passage between two dense blocks: norm, ReLU, 1×1 convolution and 2×2 average pooling of
/// each frequency.
///
/// Source: Huang et al., <https://arxiv.org/abs/1608.06993>, section 3.
#[derive(Module, Debug)]
pub struct Transition {
    /// Norm before `conv`.
    pub norm: OctBatchNorm,
    /// 1×1 convolution, to half the channels.
    pub conv: OctConv2d,
    /// 2×2 average pooling.
    pub pool: OctAvgPool2d,
}

impl Transition {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / 2⌉, ⌈width / 2⌉]`, rounded down in
    ///   a vanilla network
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let x = self
            .conv
            .forward(self.norm.forward_with(input, None, Activation::Relu));
        self.pool.forward(x)
    }

    /// Nothing to fold: the norm reads the input.
    pub(super) fn fold_batch_norm(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_gives_back_its_split() {
        for total in 1..400 {
            for low in 0..=total {
                let split = ChannelSplit {
                    high: total - low,
                    low,
                };
                assert_eq!(ChannelSplit::new(total, share(split)), Ok(split));
            }
        }
    }
}
