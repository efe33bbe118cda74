use burn::{
    config::Config,
    module::Module,
    nn::{BatchNorm, BatchNormConfig},
    tensor::Device,
};

use crate::{ChannelSplit, OctConvError, OctFeatures};

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
        let split = ChannelSplit::new(self.num_features, self.alpha)?;
        if split.total() == 0 {
            return Err(OctConvError::Zero {
                name: "num_features",
                value: "0".into(),
            });
        }
        let norm = |channels: usize| {
            (channels > 0).then(|| {
                BatchNormConfig::new(channels)
                    .with_epsilon(self.epsilon)
                    .with_momentum(self.momentum)
                    .init(device)
            })
        };
        Ok(OctBatchNorm {
            high: norm(split.high),
            low: norm(split.low),
        })
    }
}

/// Batch normalisation, each frequency with statistics of its own.
#[derive(Module, Debug)]
pub struct OctBatchNorm {
    /// The norm of the high group.
    pub high: Option<BatchNorm>,
    /// The norm of the low group.
    pub low: Option<BatchNorm>,
}

impl OctBatchNorm {
    /// Normalises both groups; shapes do not change.
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let size = input.size();
        let channels = input.channels();
        let [expected_high, expected_low] = [&self.high, &self.low]
            .map(|norm| norm.as_ref().map_or(0, |norm| norm.gamma.dims()[0]));
        if channels != [expected_high, expected_low] {
            let error = crate::FeatureError::Channels {
                expected_high,
                expected_low,
                high: channels[0],
                low: channels[1],
            };
            panic!("{error}");
        }
        let (high, low) = input.into_parts();
        let high = high
            .zip(self.high.as_ref())
            .map(|(x, norm)| norm.forward(x));
        let low = low.zip(self.low.as_ref()).map(|(x, norm)| norm.forward(x));
        OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
    }
}
