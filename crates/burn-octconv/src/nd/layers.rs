//! Norms and squeeze-and-excitation over any number of frequencies, each a thin module over Burn's
//! own.

use alloc::vec::Vec;

use burn::{
    config::Config,
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig,
        norm::{Normalization, NormalizationConfig},
    },
    tensor::{Device, activation},
};

use super::{
    MapsError, OctMaps,
    maps::planes,
    resample::reshape,
    split::{split_channels, trimmed},
};
use crate::{
    ChannelNorm, OctActivation, OctConvError, OctDropout,
    layers::{cut_batch_norm, glue_batch_norms},
    ops::norm::Activation,
};

impl OctActivation {
    /// Applies the activation to every group; shapes do not change.
    pub fn forward_maps<const D: usize, const R: usize>(
        &self,
        input: OctMaps<D, R>,
    ) -> OctMaps<D, R> {
        input.map(|x| self.activation.forward(x))
    }
}

impl OctDropout {
    /// Applies the dropout to every group; shapes do not change.
    pub fn forward_maps<const D: usize, const R: usize>(
        &self,
        input: OctMaps<D, R>,
    ) -> OctMaps<D, R> {
        input.map(|x| self.dropout.forward(x))
    }
}

/// The channels of each group of a layer, of which there must be at least one.
fn split(name: &'static str, channels: usize, shares: &[f64]) -> Result<Vec<usize>, OctConvError> {
    if channels == 0 {
        let value = "0".into();
        return Err(OctConvError::Zero { name, value });
    }
    Ok(trimmed(&split_channels(channels, shares)?).to_vec())
}

/// A layer for each group that exists, built by `init` from its number of channels.
fn each<M>(channels: &[usize], mut init: impl FnMut(usize) -> M) -> Vec<Option<M>> {
    let group = |&channels: &usize| (channels > 0).then(|| init(channels));
    channels.iter().map(group).collect()
}

/// A norm for each frequency of an [`OctMaps`], with statistics and parameters of its own:
/// [`OctNorm`](crate::OctNorm) for any number of axes and frequencies.
#[derive(Module, Debug)]
pub struct OctMapsNorm<M: ChannelNorm> {
    /// The norm of each group, from the full resolution down.
    pub groups: Vec<Option<M>>,
}

/// Batch normalisation, each frequency with statistics of its own.
pub type OctMapsBatchNorm = OctMapsNorm<BatchNorm>;

impl<M: ChannelNorm> OctMapsNorm<M> {
    /// Normalises every group; shapes do not change.
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for; [`check`](Self::check)
    /// returns the error instead.
    pub fn forward<const D: usize, const R: usize>(&self, input: OctMaps<D, R>) -> OctMaps<D, R> {
        self.forward_with(input, None, Activation::Identity)
    }

    /// Normalises every group, adds `residual` if there is one, and applies `activation`: the same
    /// as doing so step by step, in one operation where a norm has it, as batch norms in training on
    /// Flex do.
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for, or the residual does
    /// not have the shapes of the input.
    pub fn forward_with<const D: usize, const R: usize>(
        &self,
        input: OctMaps<D, R>,
        residual: Option<OctMaps<D, R>>,
        activation: Activation,
    ) -> OctMaps<D, R> {
        self.check(&input).unwrap_or_else(|e| panic!("{e}"));
        if let Some(residual) = &residual {
            input.check_same(residual).unwrap_or_else(|e| panic!("{e}"));
        }
        let mut norms = self.groups.iter().flatten();
        let mut residuals = residual.map(|maps| maps.into_groups().into_iter().flatten());
        input.map(|x| {
            let dims = x.dims();
            let norm = norms.next().expect("a norm for each group");
            let residual = residuals.as_mut().and_then(Iterator::next);
            let y = norm.normalize_with(planes(x), residual.map(planes), activation);
            reshape(y, dims)
        })
    }

    /// Whether `input` has the channels that the layer was built for.
    ///
    /// # Errors
    ///
    /// [`MapsError::Channels`] with the expected and the actual counts.
    pub fn check<const D: usize, const R: usize>(
        &self,
        input: &OctMaps<D, R>,
    ) -> Result<(), MapsError> {
        let actual = input.channels();
        let expected = |(level, norm): (usize, &Option<M>)| match norm {
            Some(norm) => {
                let given = actual.get(level).copied().unwrap_or(0);
                // One that fits any number of channels needs one.
                norm.channels().unwrap_or(given.max(1))
            }
            None => 0,
        };
        let expected: Vec<usize> = self.groups.iter().enumerate().map(expected).collect();
        match expected == actual {
            true => Ok(()),
            false => Err(MapsError::Channels { expected, actual }),
        }
    }
}

/// Configuration of an [`OctMapsNorm`] of any kind that Burn has: batch, group, instance, layer, RMS.
///
/// ```
/// use burn::{nn::{GroupNormConfig, norm::NormalizationConfig}, tensor::Device};
/// use burn_octconv::OctMapsNormConfig;
///
/// // The number of channels in the inner configuration is replaced by that of each group.
/// let norm = NormalizationConfig::Group(GroupNormConfig::new(4, 0));
/// let layer = OctMapsNormConfig::new(16, norm).with_shares([0.5, 0.25, 0.25].into());
/// assert_eq!(layer.init(&Device::default()).groups.len(), 3);
/// ```
#[derive(Config, Debug)]
pub struct OctMapsNormConfig {
    /// The number of channels of all frequencies together.
    pub num_features: usize,
    /// The norm of each group; its own number of features is ignored. Layer and RMS norm normalise
    /// every pixel over its channels.
    pub norm: NormalizationConfig,
    /// Shares of the channels of each frequency, from the full resolution down; their sum is 1.
    #[config(default = "[0.5, 0.5].into()")]
    pub shares: Vec<f64>,
}

impl OctMapsNormConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If the configuration is invalid; [`OctMapsNormConfig::try_init`] returns the error instead.
    pub fn init(&self, device: &Device) -> OctMapsNorm<Normalization> {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Shares`], [`OctConvError::Zero`], or [`OctConvError::NormGroupChannels`] if the
    /// groups of a group norm do not divide the channels of every frequency.
    pub fn try_init(&self, device: &Device) -> Result<OctMapsNorm<Normalization>, OctConvError> {
        let channels = split("num_features", self.num_features, &self.shares)?;
        if let NormalizationConfig::Group(group) = &self.norm {
            let groups = group.num_groups;
            if groups == 0 || channels.iter().any(|c| c % groups != 0) {
                return Err(OctConvError::NormGroupChannels { groups, channels });
            }
        }
        let groups = each(&channels, |channels| {
            self.norm.clone().with_num_features(channels).init(device)
        });
        Ok(OctMapsNorm { groups })
    }
}

/// Configuration of an [`OctMapsBatchNorm`].
#[derive(Config, Debug)]
pub struct OctMapsBatchNormConfig {
    /// The number of channels of all frequencies together.
    pub num_features: usize,
    /// Shares of the channels of each frequency, from the full resolution down; their sum is 1.
    #[config(default = "[0.5, 0.5].into()")]
    pub shares: Vec<f64>,
    /// A positive value for numerical stability.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Weight of the batch in the running statistics, in `[0, 1]`.
    #[config(default = 0.1)]
    pub momentum: f64,
}

impl OctMapsBatchNormConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If the shares do not split the features, or where Burn's own [`BatchNormConfig::init`] panics.
    pub fn init(&self, device: &Device) -> OctMapsBatchNorm {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Shares`] if the shares do not split the features, [`OctConvError::Zero`] without
    /// any feature.
    pub fn try_init(&self, device: &Device) -> Result<OctMapsBatchNorm, OctConvError> {
        let channels = split("num_features", self.num_features, &self.shares)?;
        let groups = each(&channels, |channels| {
            BatchNormConfig::new(channels)
                .with_epsilon(self.epsilon)
                .with_momentum(self.momentum)
                .init(device)
        });
        Ok(OctMapsNorm { groups })
    }
}

impl OctMapsBatchNorm {
    /// Cuts a vanilla batch norm, as [`split_channels`] cuts channels: the first features are those
    /// of the full resolution.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Shares`] if the shares do not split the features.
    pub fn from_batch_norm(norm: &BatchNorm, shares: &[f64]) -> Result<Self, OctConvError> {
        let channels = split("num_features", norm.gamma.dims()[0], shares)?;
        let mut start = 0;
        let groups = each(&channels, |channels| {
            let part = cut_batch_norm(norm, start, channels);
            start += channels;
            part
        });
        Ok(OctMapsNorm { groups })
    }

    /// Glues the norms of all groups to a vanilla one: the inverse of
    /// [`OctMapsNorm::from_batch_norm`], exact to the bit.
    pub fn to_batch_norm(&self) -> BatchNorm {
        let parts: Vec<&BatchNorm> = self.groups.iter().flatten().collect();
        glue_batch_norms(&parts)
    }
}

/// Configuration of an [`OctMapsSqueezeExcite`].
#[derive(Config, Debug)]
pub struct OctMapsSqueezeExciteConfig {
    /// The number of channels of all frequencies together.
    pub channels: usize,
    /// Shares of the channels of each frequency, from the full resolution down; their sum is 1.
    #[config(default = "[0.5, 0.5].into()")]
    pub shares: Vec<f64>,
    /// Channels per unit of the hidden layer.
    #[config(default = "16")]
    pub reduction: usize,
}

impl OctMapsSqueezeExciteConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If the configuration is invalid; [`OctMapsSqueezeExciteConfig::try_init`] returns the error
    /// instead.
    pub fn init(&self, device: &Device) -> OctMapsSqueezeExcite {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Shares`] if the shares do not split the channels, [`OctConvError::Zero`] for no
    /// channels or a reduction of zero.
    pub fn try_init(&self, device: &Device) -> Result<OctMapsSqueezeExcite, OctConvError> {
        let channels = split("channels", self.channels, &self.shares)?;
        if self.reduction == 0 {
            let (name, value) = ("reduction", "0".into());
            return Err(OctConvError::Zero { name, value });
        }
        let hidden = (self.channels / self.reduction).max(1);
        Ok(OctMapsSqueezeExcite {
            squeeze: LinearConfig::new(self.channels, hidden).init(device),
            excite: each(&channels, |channels| {
                LinearConfig::new(hidden, channels).init(device)
            }),
        })
    }
}

/// Squeeze-and-excitation over all frequencies: the channel means of all groups together go through
/// one hidden layer with ReLU, and each group is scaled by a sigmoid output of its own. What
/// [`OctSqueezeExcite`](crate::OctSqueezeExcite) is for two groups over two axes.
///
/// Source: Hu et al., <https://arxiv.org/abs/1709.01507>; the octave form is that of the authors'
/// Oct-SE-ResNets (Chen et al., <https://arxiv.org/abs/1904.05049>, section 4.3).
#[derive(Module, Debug)]
pub struct OctMapsSqueezeExcite {
    /// From the means of all channels to the hidden layer.
    pub squeeze: Linear,
    /// From the hidden layer to the scales of each group.
    pub excite: Vec<Option<Linear>>,
}

impl OctMapsSqueezeExcite {
    /// Scales every channel; shapes do not change.
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for.
    pub fn forward<const D: usize, const R: usize>(&self, input: OctMaps<D, R>) -> OctMaps<D, R> {
        let count = |excite: &Option<Linear>| excite.as_ref().map_or(0, |e| e.weight.dims()[1]);
        let expected: Vec<usize> = self.excite.iter().map(count).collect();
        let actual = input.channels();
        if expected != actual {
            panic!("{}", MapsError::Channels { expected, actual });
        }
        let hidden = self.squeeze.forward(input.clone().global_avg_pool());
        let hidden = activation::relu(hidden);
        let mut excites = self.excite.iter().flatten();
        input.map(|x| {
            let excite = excites.next().expect("a layer for each group");
            let scale = activation::sigmoid(excite.forward(hidden.clone()));
            let mut dims = [1; R];
            dims[..2].copy_from_slice(&scale.dims());
            x * scale.reshape(dims)
        })
    }
}
