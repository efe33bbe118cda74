//! The two kinds of layers that blocks are made of: for two frequencies, and for any number.

use burn::{
    module::{Module, ModuleDisplay},
    nn::BatchNorm,
    tensor::Device,
};
use burn_octconv::{
    MultiOctConv2d, OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConvError, OctFeatures,
    OctMaps, OctMapsBatchNorm, OctMapsBatchNormConfig, OctMapsSqueezeExcite,
    OctMapsSqueezeExciteConfig, OctSqueezeExcite, OctSqueezeExciteConfig, ops::norm::Activation,
};

use super::{Shares, conv::ConvSpec, features::OctaveMap};

/// A kind of octave convolution, with the norm and the gate for its maps: [`OctConv2d`], which has two
/// frequencies and which engines compute, or [`MultiOctConv2d`], which has any number.
///
/// A block is written once over it.
pub trait Kind: Module + ModuleDisplay {
    /// What its layers take and give.
    type Map: OctaveMap;
    /// Batch norm over such maps.
    type Norm: Module + ModuleDisplay;
    /// Squeeze-and-excitation over such maps.
    type SqueezeExcite: Module + ModuleDisplay;

    /// Builds a convolution.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    fn build(spec: &ConvSpec, device: &Device) -> Result<Self, OctConvError>;

    /// Builds a norm.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    fn norm(channels: usize, shares: Shares, device: &Device) -> Result<Self::Norm, OctConvError>;

    /// Builds a gate.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    fn squeeze_excite(
        channels: usize,
        shares: Shares,
        device: &Device,
    ) -> Result<Self::SqueezeExcite, OctConvError>;

    /// Convolves.
    fn convolve(&self, x: Self::Map) -> Self::Map;

    /// Normalises, adds a shortcut and applies an activation.
    fn normalize(
        norm: &Self::Norm,
        x: Self::Map,
        shortcut: Option<Self::Map>,
        activation: Activation,
    ) -> Self::Map;

    /// Scales every channel.
    fn gate(se: &Self::SqueezeExcite, x: Self::Map) -> Self::Map;

    /// The norms of the groups.
    fn groups(norm: &mut Self::Norm) -> Vec<&mut BatchNorm>;

    /// The convolution with the norm behind it folded in.
    fn folded(&self, norm: &Self::Norm) -> Self;

    /// The convolution with the norm before it folded in, if that can be.
    fn folded_input(&self, norm: &Self::Norm) -> Option<Self>;
}

/// α of a map that has two frequencies.
fn alpha(shares: Shares) -> f64 {
    let alpha = shares.alpha();
    alpha.unwrap_or_else(|| panic!("{shares} are the shares of more than two frequencies"))
}

impl Kind for OctConv2d {
    type Map = OctFeatures;
    type Norm = OctBatchNorm;
    type SqueezeExcite = OctSqueezeExcite;

    fn build(spec: &ConvSpec, device: &Device) -> Result<Self, OctConvError> {
        spec.octave(alpha(spec.shares_in), alpha(spec.shares_out))
            .try_init(device)
    }

    fn norm(channels: usize, shares: Shares, device: &Device) -> Result<Self::Norm, OctConvError> {
        OctBatchNormConfig::new(channels)
            .with_alpha(alpha(shares))
            .try_init(device)
    }

    fn squeeze_excite(
        channels: usize,
        shares: Shares,
        device: &Device,
    ) -> Result<Self::SqueezeExcite, OctConvError> {
        OctSqueezeExciteConfig::new(channels)
            .with_alpha(alpha(shares))
            .try_init(device)
    }

    fn convolve(&self, x: OctFeatures) -> OctFeatures {
        self.forward(x)
    }

    fn normalize(
        norm: &Self::Norm,
        x: OctFeatures,
        shortcut: Option<OctFeatures>,
        activation: Activation,
    ) -> OctFeatures {
        norm.forward_with(x, shortcut, activation)
    }

    fn gate(se: &Self::SqueezeExcite, x: OctFeatures) -> OctFeatures {
        se.forward(x)
    }

    fn groups(norm: &mut Self::Norm) -> Vec<&mut BatchNorm> {
        [&mut norm.high, &mut norm.low]
            .into_iter()
            .flatten()
            .collect()
    }

    fn folded(&self, norm: &Self::Norm) -> Self {
        self.fold_batch_norm(norm)
    }

    fn folded_input(&self, norm: &Self::Norm) -> Option<Self> {
        self.fold_input_batch_norm(norm)
    }
}

impl Kind for MultiOctConv2d {
    type Map = OctMaps<2, 4>;
    type Norm = OctMapsBatchNorm;
    type SqueezeExcite = OctMapsSqueezeExcite;

    fn build(spec: &ConvSpec, device: &Device) -> Result<Self, OctConvError> {
        spec.many().try_init(device)
    }

    fn norm(channels: usize, shares: Shares, device: &Device) -> Result<Self::Norm, OctConvError> {
        OctMapsBatchNormConfig::new(channels)
            .with_shares(shares.as_slice().into())
            .try_init(device)
    }

    fn squeeze_excite(
        channels: usize,
        shares: Shares,
        device: &Device,
    ) -> Result<Self::SqueezeExcite, OctConvError> {
        OctMapsSqueezeExciteConfig::new(channels)
            .with_shares(shares.as_slice().into())
            .try_init(device)
    }

    fn convolve(&self, x: OctMaps<2, 4>) -> OctMaps<2, 4> {
        self.forward(x)
    }

    fn normalize(
        norm: &Self::Norm,
        x: OctMaps<2, 4>,
        shortcut: Option<OctMaps<2, 4>>,
        activation: Activation,
    ) -> OctMaps<2, 4> {
        norm.forward_with(x, shortcut, activation)
    }

    fn gate(se: &Self::SqueezeExcite, x: OctMaps<2, 4>) -> OctMaps<2, 4> {
        se.forward(x)
    }

    fn groups(norm: &mut Self::Norm) -> Vec<&mut BatchNorm> {
        norm.groups.iter_mut().flatten().collect()
    }

    fn folded(&self, norm: &Self::Norm) -> Self {
        self.fold_batch_norm(norm)
    }

    fn folded_input(&self, norm: &Self::Norm) -> Option<Self> {
        self.fold_input_batch_norm(norm)
    }
}
