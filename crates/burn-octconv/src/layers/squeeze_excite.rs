use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor, activation},
};

use crate::{ChannelSplit, OctConvError, OctFeatures};

/// Configuration of an [`OctSqueezeExcite`].
#[derive(Config, Debug)]
pub struct OctSqueezeExciteConfig {
    /// The number of channels of both frequencies together.
    pub channels: usize,
    /// Share of low-frequency channels, in `[0, 1]`.
    #[config(default = "0.5")]
    pub alpha: f64,
    /// Channels per unit of the hidden layer.
    #[config(default = "16")]
    pub reduction: usize,
}

impl OctSqueezeExciteConfig {
    /// Builds the layer.
    ///
    /// # Panics
    ///
    /// If the configuration is invalid; [`OctSqueezeExciteConfig::try_init`] returns the error
    /// instead.
    pub fn init(&self, device: &Device) -> OctSqueezeExcite {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`OctConvError::Alpha`] if `alpha` is not a number in `[0, 1]`, [`OctConvError::Zero`] for
    /// no channels or a reduction of zero.
    pub fn try_init(&self, device: &Device) -> Result<OctSqueezeExcite, OctConvError> {
        for (name, value) in [("channels", self.channels), ("reduction", self.reduction)] {
            if value == 0 {
                let value = "0".into();
                return Err(OctConvError::Zero { name, value });
            }
        }
        let split = ChannelSplit::new(self.channels, self.alpha)?;
        let hidden = (self.channels / self.reduction).max(1);
        let excite = |channels: usize| {
            (channels > 0).then(|| LinearConfig::new(hidden, channels).init(device))
        };
        Ok(OctSqueezeExcite {
            squeeze: LinearConfig::new(self.channels, hidden).init(device),
            excite_high: excite(split.high),
            excite_low: excite(split.low),
        })
    }
}

/// Squeeze-and-excitation over both frequencies: the channel means of both groups together go
/// through one hidden layer with ReLU, and each group is scaled by a sigmoid output of its own.
///
/// Source: Hu et al., <https://arxiv.org/abs/1709.01507>; the octave form is that of the authors'
/// Oct-SE-ResNets (Chen et al., <https://arxiv.org/abs/1904.05049>, section 4.3).
#[derive(Module, Debug)]
pub struct OctSqueezeExcite {
    /// From the means of all channels to the hidden layer.
    pub squeeze: Linear,
    /// From the hidden layer to the scales of the high group.
    pub excite_high: Option<Linear>,
    /// From the hidden layer to the scales of the low group.
    pub excite_low: Option<Linear>,
}

impl OctSqueezeExcite {
    /// Scales every channel; shapes do not change.
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let size = input.size();
        let hidden = self.squeeze.forward(input.clone().global_avg_pool());
        let hidden = activation::relu(hidden);
        let gates = [&self.excite_high, &self.excite_low].map(|excite| {
            let gates = excite.as_ref()?.forward(hidden.clone());
            Some(activation::sigmoid(gates))
        });
        #[cfg(feature = "flex")]
        let input = match input.into_blocked() {
            Ok(map) => return OctFeatures::from_blocked(map.scale(gates), size),
            Err(input) => input,
        };
        let scale = |x: Option<Tensor<4>>, gates: Option<Tensor<2>>| {
            x.zip(gates).map(|(x, gates)| {
                // One axis at a time: a recorded graph can say that of any batch.
                let column: Tensor<3> = gates.unsqueeze_dim(2);
                x * column.unsqueeze_dim(3)
            })
        };
        let [gates_high, gates_low] = gates;
        let (high, low) = input.into_parts();
        let (high, low) = (scale(high, gates_high), scale(low, gates_low));
        OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
    }
}
