use burn::nn::{Initializer, PaddingConfig2d, conv::Conv2dConfig};
use burn_octconv::{Cost, MultiOctConv2dConfig, OctConv2dConfig, OctConvError};

use super::Shares;

/// A convolution of a network: without bias, with a square kernel that keeps the resolution but for the
/// stride. What it is built as depends on the block that it stands in.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvSpec {
    /// Channels in and out, of all frequencies together.
    pub(super) channels: [usize; 2],
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) groups: usize,
    pub(super) shares_in: Shares,
    pub(super) shares_out: Shares,
    /// Whether stride 2 is taken by the convolution rather than by pooling.
    pub(super) strided: bool,
}

/// A plain convolution, `channels = [in, out]`, strided.
pub(super) fn conv(channels: [usize; 2], kernel: usize, stride: usize) -> ConvSpec {
    ConvSpec {
        channels,
        kernel,
        stride,
        groups: 1,
        shares_in: Shares::PLAIN,
        shares_out: Shares::PLAIN,
        strided: true,
    }
}

/// The initialisation of all convolutions: normal with variance 2 / fan-out (He et al.,
/// <https://arxiv.org/abs/1502.01852>).
fn kernel_initializer() -> Initializer {
    Initializer::KaimingNormal {
        gain: std::f64::consts::SQRT_2,
        fan_out_only: true,
    }
}

impl ConvSpec {
    pub(super) fn with_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(super) fn with_shares(self, shares_in: Shares, shares_out: Shares) -> Self {
        Self {
            shares_in,
            shares_out,
            ..self
        }
    }

    pub(super) fn with_alpha(self, alpha: f64) -> Self {
        self.with_alpha_in(alpha).with_alpha_out(alpha)
    }

    pub(super) fn with_alpha_in(self, alpha: f64) -> Self {
        let shares_in = Shares::of_alpha(alpha);
        Self { shares_in, ..self }
    }

    pub(super) fn with_alpha_out(self, alpha: f64) -> Self {
        let shares_out = Shares::of_alpha(alpha);
        Self { shares_out, ..self }
    }

    pub(super) fn with_strided(self, strided: bool) -> Self {
        Self { strided, ..self }
    }

    fn padding(&self) -> PaddingConfig2d {
        // Explicit, since `Same` would pad a strided convolution at the end only.
        let pad = self.kernel / 2;
        PaddingConfig2d::Explicit(pad, pad, pad, pad)
    }

    /// As a layer for two frequencies.
    pub(super) fn octave(&self, alpha_in: f64, alpha_out: f64) -> OctConv2dConfig {
        OctConv2dConfig::new(self.channels, [self.kernel; 2])
            .with_stride([self.stride; 2])
            .with_padding(self.padding())
            .with_groups(self.groups)
            .with_bias(false)
            .with_initializer(kernel_initializer())
            .with_alpha_in(alpha_in)
            .with_alpha_out(alpha_out)
            .with_strided(self.strided)
    }

    /// As a layer for any number of frequencies.
    pub(super) fn many(&self) -> MultiOctConv2dConfig {
        MultiOctConv2dConfig::new(self.channels, [self.kernel; 2])
            .with_stride([self.stride; 2])
            .with_padding(self.padding())
            .with_groups(self.groups)
            .with_bias(false)
            .with_initializer(kernel_initializer())
            .with_shares_in(self.shares_in.as_slice().into())
            .with_shares_out(self.shares_out.as_slice().into())
            .with_strided(self.strided)
    }

    /// As Burn's own layer, which has one frequency.
    pub(super) fn vanilla(&self) -> Conv2dConfig {
        Conv2dConfig::new(self.channels, [self.kernel; 2])
            .with_stride([self.stride; 2])
            .with_padding(self.padding())
            .with_bias(false)
            .with_initializer(kernel_initializer())
    }

    /// Whether filters are one per channel, without exchange between frequencies.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.channels == [self.groups; 2]
    }

    pub(super) fn cost(&self, size: [usize; 2]) -> Result<Cost, OctConvError> {
        match (self.shares_in.alpha(), self.shares_out.alpha()) {
            (Some(alpha_in), Some(alpha_out)) => self.octave(alpha_in, alpha_out).cost(size),
            _ => self.many().cost(size),
        }
    }
}
