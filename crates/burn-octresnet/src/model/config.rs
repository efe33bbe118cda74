use burn::config::Config;
use burn_octconv::Cost;
use serde::{Deserialize, Serialize};

use super::{
    Alpha, Arch, ModelError, Shares, Stem, Stride, error::MAX_WIDTH, family::Blueprint,
    layers::LayerCost,
};

/// Configuration of an [`OctNet`](super::OctNet).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_octresnet::model::{Arch, OctNetConfig};
///
/// let device = Device::default();
/// let config = OctNetConfig::new(Arch::OctResNet26, 10);
/// let model = config.with_alpha(0.25).with_width(0.25).init(&device);
/// let logits = model.forward(Tensor::zeros([1, 3, 64, 64], &device));
/// assert_eq!(logits.dims(), [1, 10]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OctNetConfig {
    /// Which network of the family.
    pub arch: Arch,
    /// Classes of the classifier.
    pub num_classes: usize,
    /// Share of low-frequency channels.
    pub alpha: Alpha,
    /// How the stages take stride 2. A DenseNet, whose transitions pool at any α, has no choice.
    pub stride: Stride,
    /// The layers before the first stage.
    pub stem: Stem,
    /// Factor on all channel counts, rounded to the nearest integer (in MobileNets down), on top
    /// of the architecture's own.
    pub width: f64,
    /// Whether the γ of the norm that ends a residual block's convolutions starts at zero, so that
    /// every block starts as the identity (Goyal et al., <https://arxiv.org/abs/1706.02677>,
    /// section 5.1). Blocks without such a norm, as in v2 networks and DenseNets, ignore it.
    pub zero_init_residual: bool,
}

impl Default for OctNetConfig {
    fn default() -> Self {
        Self::new(Arch::OctResNet50, 1000)
    }
}

impl Config for OctNetConfig {}

impl OctNetConfig {
    /// The network with α = 0.5, the stem that the architecture was designed with, and width 1.
    pub fn new(arch: Arch, num_classes: usize) -> Self {
        Self {
            arch,
            num_classes,
            alpha: Alpha::Uniform(0.5),
            stride: Stride::Auto,
            stem: arch.default_stem(),
            width: 1.0,
            zero_init_residual: false,
        }
    }

    /// The vanilla network beside this one, with strided convolutions.
    pub fn vanilla(&self) -> Self {
        Self {
            alpha: Alpha::Uniform(0.0),
            stride: Stride::Auto,
            ..self.clone()
        }
    }

    /// Sets the share of low-frequency channels.
    pub fn with_alpha(self, alpha: impl Into<Alpha>) -> Self {
        let alpha = alpha.into();
        Self { alpha, ..self }
    }

    /// Sets the shares of channels at the resolutions 1, ½, ¼, … in all stages but the last. Two of them
    /// are an α, and the same network. The blocks of ResNets, ResNeXts and SE-ResNets have up to
    /// [`Shares::MOST`] frequencies, all others two.
    ///
    /// # Panics
    ///
    /// For no shares, or more than [`Shares::MOST`].
    pub fn with_shares(self, shares: impl AsRef<[f64]>) -> Self {
        let given = shares.as_ref();
        let shares = Shares::of(given);
        let shares = shares
            .unwrap_or_else(|| panic!("shares are {given:?}: give 1 to {} of them", Shares::MOST));
        self.with_alpha(Alpha::of_shares([shares; 3]))
    }

    /// Sets how the stages take stride 2.
    pub fn with_stride(self, stride: Stride) -> Self {
        Self { stride, ..self }
    }

    /// Sets the layers before the first stage.
    pub fn with_stem(self, stem: Stem) -> Self {
        Self { stem, ..self }
    }

    /// Sets the factor on all channel counts.
    pub fn with_width(self, width: f64) -> Self {
        Self { width, ..self }
    }

    /// Sets whether every residual block starts as the identity.
    pub fn with_zero_init_residual(self, zero_init_residual: bool) -> Self {
        Self {
            zero_init_residual,
            ..self
        }
    }

    /// Checks the configuration without building the network.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn validate(&self) -> Result<(), ModelError> {
        // A layer has a cost if and only if it can be built; the size does not matter.
        self.layer_costs([32, 32]).map(drop)
    }

    /// Parameters and multiply–adds of every layer for images of `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn layer_costs(&self, size: [usize; 2]) -> Result<Vec<LayerCost>, ModelError> {
        if self.num_classes == 0 {
            return Err(ModelError::Classes(0));
        }
        if !(self.width > 0.0 && self.width <= MAX_WIDTH) {
            return Err(ModelError::Width(self.width));
        }
        for shares in self.alpha.stages() {
            shares.split(1)?;
        }
        let (arch, stem) = (self.arch, self.stem);
        if !arch.has_stem(stem) {
            return Err(ModelError::Stem { arch, stem });
        }
        if self.stride != Stride::Auto && arch == Arch::OctDenseNet121 {
            let stride = self.stride;
            return Err(ModelError::Stride { arch, stride });
        }
        self.blueprint()?
            .layer_costs(self.num_classes, size)
            .map_err(|(layer, error)| ModelError::Layer { arch, layer, error })
    }

    /// Parameters and multiply–adds for images of `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn cost(&self, size: [usize; 2]) -> Result<Cost, ModelError> {
        let layers = self.layer_costs(size)?;
        Ok(layers.into_iter().map(|layer| layer.cost).sum())
    }

    /// Blocks of each stage, if the configuration is legal.
    pub(crate) fn depths(&self) -> Option<Vec<usize>> {
        let stages = self.at_full_width()?.stages;
        Some(stages.iter().map(Vec::len).collect())
    }

    /// Output channels of the first convolution at width 1, if the configuration is legal.
    pub(crate) fn stem_channels(&self) -> Option<usize> {
        let stem = self.at_full_width()?.stem;
        stem.convs.first().map(|&(_, channels, _)| channels)
    }

    fn at_full_width(&self) -> Option<Blueprint> {
        let config = Self {
            width: 1.0,
            ..self.clone()
        };
        config.blueprint().ok()
    }

    /// Whether the stages' convolutions of stride 2 are strided.
    pub(super) fn strided(&self) -> bool {
        self.stride.is_strided(self.alpha)
    }

    /// `base` channels times the width, rounded to the nearest integer.
    pub(super) fn channels(&self, base: usize) -> usize {
        ((base as f64 * self.width).round() as usize).max(1)
    }
}
