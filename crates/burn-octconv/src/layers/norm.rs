use alloc::vec::Vec;

use burn::{
    config::Config,
    module::{Module, Param, RunningState},
    nn::{
        BatchNorm, BatchNormConfig,
        norm::{Normalization, NormalizationConfig},
    },
    tensor::{Device, Tensor},
};

#[cfg(feature = "flex")]
use crate::ops::norm::{note, noted};
use crate::{
    ChannelSplit, FeatureError, OctConvError, OctFeatures,
    ops::norm::{Activation, activate, normalize},
};

/// A norm over the channels of one frequency group: what [`OctNorm`] applies to each.
pub trait ChannelNorm: Module {
    /// The channels it was built for; `None` if it fits any number.
    fn channels(&self) -> Option<usize>;

    /// Normalises `[batch, channels, height, width]`; the shape does not change.
    fn normalize(&self, input: Tensor<4>) -> Tensor<4>;

    /// Normalises, adds `residual`, and applies `activation`: what often follows a norm, in one
    /// operation where there is one.
    fn normalize_with(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let y = self.normalize(input);
        let y = match residual {
            Some(residual) => y + residual,
            None => y,
        };
        activate(activation, y)
    }

    /// The batch norm that it is, if it is one: with its running statistics it can be computed with
    /// the convolution before it.
    fn as_batch_norm(&self) -> Option<&BatchNorm> {
        None
    }
}

impl ChannelNorm for BatchNorm {
    fn as_batch_norm(&self) -> Option<&BatchNorm> {
        Some(self)
    }

    fn channels(&self) -> Option<usize> {
        Some(self.gamma.dims()[0])
    }

    fn normalize(&self, input: Tensor<4>) -> Tensor<4> {
        self.normalize_with(input, None, Activation::Identity)
    }

    fn normalize_with(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        normalize(self, input, residual, activation)
    }
}

impl ChannelNorm for Normalization {
    fn as_batch_norm(&self) -> Option<&BatchNorm> {
        match self {
            Self::Batch(norm) => Some(norm),
            _ => None,
        }
    }

    fn channels(&self) -> Option<usize> {
        match self {
            Self::Identity(_) => None,
            norm => Some(norm.num_features()),
        }
    }

    fn normalize(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            // These two normalise over the last axis, which has to be that of the channels.
            Self::Layer(_) | Self::Rms(_) => {
                let input = input.permute([0, 2, 3, 1]);
                self.forward(input).permute([0, 3, 1, 2])
            }
            Self::Batch(norm) => norm.normalize(input),
            norm => norm.forward(input),
        }
    }
}

/// A norm for each frequency group, with statistics and parameters of its own.
#[derive(Module, Debug)]
pub struct OctNorm<M: ChannelNorm> {
    /// The norm of the high group.
    pub high: Option<M>,
    /// The norm of the low group.
    pub low: Option<M>,
}

/// Batch normalisation, each frequency with statistics of its own.
pub type OctBatchNorm = OctNorm<BatchNorm>;

impl<M: ChannelNorm> OctNorm<M> {
    /// A norm for each group that `split` has, built by `init` from the number of channels.
    fn from_split(split: ChannelSplit, mut init: impl FnMut(usize) -> M) -> Self {
        let mut group = |channels: usize| (channels > 0).then(|| init(channels));
        Self {
            high: group(split.high),
            low: group(split.low),
        }
    }

    /// Normalises both groups; shapes do not change.
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        self.forward_with(input, None, Activation::Identity)
    }

    /// Normalises both groups, adds `residual` if there is one, and applies `activation`. The
    /// same as doing so step by step; in training on Flex a batch norm does it in one operation,
    /// in less time and memory.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::{OctBatchNormConfig, OctFeatures, ops::norm::Activation};
    ///
    /// let device = Device::default();
    /// let norm = OctBatchNormConfig::new(8).init(&device);
    /// let x = OctFeatures::split(Tensor::ones([1, 8, 6, 6], &device), 0.5);
    /// let y = norm.forward_with(x.clone(), Some(x), Activation::Relu);
    /// assert_eq!(y.channels(), [4, 4]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for, or the residual
    /// does not have the shapes of the input.
    pub fn forward_with(
        &self,
        input: OctFeatures,
        residual: Option<OctFeatures>,
        activation: Activation,
    ) -> OctFeatures {
        self.check(&input).unwrap_or_else(|e| panic!("{e}"));
        if let Some(residual) = &residual {
            input.check_same(residual).unwrap_or_else(|e| panic!("{e}"));
        }
        let size = input.size();
        #[cfg(feature = "flex")]
        if let Some(norms) = self.batch_norms()
            && let Some(norms) = noted(norms, &input)
        {
            return note(norms, input, residual, activation);
        }
        let (high, low) = input.into_parts();
        let (residual_high, residual_low) = residual.map_or((None, None), OctFeatures::into_parts);
        let normalize = |x: Option<_>, residual, norm: &Option<M>| {
            x.zip(norm.as_ref())
                .map(|(x, norm)| norm.normalize_with(x, residual, activation))
        };
        let high = normalize(high, residual_high, &self.high);
        let low = normalize(low, residual_low, &self.low);
        OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The norms of both groups, if they are batch norms.
    #[cfg(feature = "flex")]
    fn batch_norms(&self) -> Option<[Option<&BatchNorm>; 2]> {
        let mut norms = [None, None];
        for (batch, norm) in norms.iter_mut().zip([&self.high, &self.low]) {
            if let Some(norm) = norm {
                *batch = Some(norm.as_batch_norm()?);
            }
        }
        Some(norms)
    }

    /// Whether `input` has the channels that the layer was built for.
    ///
    /// # Errors
    ///
    /// [`FeatureError::Channels`] with the expected and the actual counts.
    pub fn check(&self, input: &OctFeatures) -> Result<(), FeatureError> {
        let [high, low] = input.channels();
        let expected = |norm: &Option<M>, actual: usize| match norm {
            Some(norm) => norm.channels().unwrap_or(actual),
            None => 0,
        };
        let (expected_high, expected_low) = (expected(&self.high, high), expected(&self.low, low));
        if [high, low] == [expected_high, expected_low] {
            return Ok(());
        }
        Err(FeatureError::Channels {
            expected_high,
            expected_low,
            high,
            low,
        })
    }
}

/// Splits the features of a norm, of which there must be at least one.
fn split_features(num_features: usize, alpha: f64) -> Result<ChannelSplit, OctConvError> {
    if num_features == 0 {
        return Err(OctConvError::Zero {
            name: "num_features",
            value: "0".into(),
        });
    }
    ChannelSplit::new(num_features, alpha)
}

/// Configuration of an [`OctNorm`] of any kind that Burn has: batch, group, instance, layer, RMS.
///
/// ```
/// use burn::{nn::{GroupNormConfig, norm::NormalizationConfig}, tensor::Device};
/// use burn_octconv::OctNormConfig;
///
/// // The number of channels in the inner configuration is replaced by that of each group.
/// let norm = NormalizationConfig::Group(GroupNormConfig::new(8, 0));
/// let layer = OctNormConfig::new(64, norm).with_alpha(0.25).init(&Device::default());
/// ```
#[derive(Config, Debug)]
pub struct OctNormConfig {
    /// The number of channels of both frequencies together.
    pub num_features: usize,
    /// The norm of each group; its own number of features is ignored. Layer and RMS norm
    /// normalise every pixel over its channels.
    pub norm: NormalizationConfig,
    /// Share of low-frequency channels, in `[0, 1]`.
    #[config(default = "0.5")]
    pub alpha: f64,
}

impl OctNormConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If the configuration is invalid; [`OctNormConfig::try_init`] returns the error instead.
    pub fn init(&self, device: &Device) -> OctNorm<Normalization> {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Alpha`], [`OctConvError::Zero`], or [`OctConvError::NormGroups`] if the
    /// groups of a group norm do not divide the channels of both frequencies.
    pub fn try_init(&self, device: &Device) -> Result<OctNorm<Normalization>, OctConvError> {
        let split = split_features(self.num_features, self.alpha)?;
        if let NormalizationConfig::Group(group) = &self.norm {
            let groups = group.num_groups;
            if groups == 0 || [split.high, split.low].iter().any(|c| c % groups != 0) {
                return Err(OctConvError::NormGroups {
                    groups,
                    high: split.high,
                    low: split.low,
                });
            }
        }
        Ok(OctNorm::from_split(split, |channels| {
            self.norm.clone().with_num_features(channels).init(device)
        }))
    }
}

/// Configuration of an [`OctBatchNorm`].
#[derive(Config, Debug)]
pub struct OctBatchNormConfig {
    /// The number of channels of both frequencies together.
    pub num_features: usize,
    /// Share of low-frequency channels, in `[0, 1]`.
    #[config(default = "0.5")]
    pub alpha: f64,
    /// A positive value for numerical stability.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Weight of the batch in the running statistics, in `[0, 1]`.
    #[config(default = 0.1)]
    pub momentum: f64,
}

impl OctBatchNormConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If `alpha` lies outside `[0, 1]`, `num_features` is zero, or where Burn's own
    /// [`BatchNormConfig::init`] panics.
    pub fn init(&self, device: &Device) -> OctBatchNorm {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Alpha`] if `alpha` is not a number in `[0, 1]`, [`OctConvError::Zero`]
    /// without any feature.
    pub fn try_init(&self, device: &Device) -> Result<OctBatchNorm, OctConvError> {
        let split = split_features(self.num_features, self.alpha)?;
        Ok(OctNorm::from_split(split, |channels| {
            BatchNormConfig::new(channels)
                .with_epsilon(self.epsilon)
                .with_momentum(self.momentum)
                .init(device)
        }))
    }
}

/// The norm of `channels` features of a vanilla one, from `start` on.
pub(crate) fn cut_batch_norm(norm: &BatchNorm, start: usize, channels: usize) -> BatchNorm {
    // Detached, since a slice of a tracked parameter is no leaf of the graph.
    let cut = |x: Tensor<1>| x.narrow(0, start, channels).detach();
    BatchNorm {
        gamma: Param::from_tensor(cut(norm.gamma.val())),
        beta: Param::from_tensor(cut(norm.beta.val())),
        training: norm.training.clone(),
        running_mean: RunningState::new(cut(norm.running_mean.value_sync())),
        running_var: RunningState::new(cut(norm.running_var.value_sync())),
        momentum: norm.momentum,
        epsilon: norm.epsilon,
    }
}

/// The vanilla norm of which `parts` are the parts, in their order.
pub(crate) fn glue_batch_norms(parts: &[&BatchNorm]) -> BatchNorm {
    let first = *parts.first().expect("a norm has at least one group");
    let glue = |value: fn(&BatchNorm) -> Tensor<1>| {
        Tensor::cat(parts.iter().map(|part| value(part)).collect(), 0).detach()
    };
    BatchNorm {
        gamma: Param::from_tensor(glue(|norm| norm.gamma.val())),
        beta: Param::from_tensor(glue(|norm| norm.beta.val())),
        training: first.training.clone(),
        running_mean: RunningState::new(glue(|norm| norm.running_mean.value_sync())),
        running_var: RunningState::new(glue(|norm| norm.running_var.value_sync())),
        momentum: first.momentum,
        epsilon: first.epsilon,
    }
}

impl OctBatchNorm {
    /// Cuts a vanilla batch norm: its last `⌊alpha · features⌋` features become those of the low
    /// group, as [`OctConv2d::from_conv2d`](crate::OctConv2d::from_conv2d) cuts the channels of an
    /// ungrouped convolution.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Alpha`] if `alpha` is not a number in `[0, 1]`.
    pub fn from_batch_norm(norm: &BatchNorm, alpha: f64) -> Result<Self, OctConvError> {
        let split = split_features(norm.gamma.dims()[0], alpha)?;
        let mut start = 0;
        Ok(OctNorm::from_split(split, |channels| {
            let part = cut_batch_norm(norm, start, channels);
            start += channels;
            part
        }))
    }

    /// Glues the norms of both groups to a vanilla one, high features first: the inverse of
    /// [`OctBatchNorm::from_batch_norm`], exact to the bit.
    pub fn to_batch_norm(&self) -> BatchNorm {
        let parts: Vec<&BatchNorm> = [&self.high, &self.low].into_iter().flatten().collect();
        glue_batch_norms(&parts)
    }
}
