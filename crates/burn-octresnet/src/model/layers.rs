//! The one description that networks are built from and their costs are counted on.

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, conv::Conv2d},
    tensor::Device,
};
use burn_octconv::{
    Cost, OctConvError, OctFeatures, Plan, Refusal, fold_batch_norm,
    ops::{
        self, conv2d,
        norm::{Activation, batch_norm},
    },
};

use super::{Kind, Shares, conv::ConvSpec, features::OctaveMap};

/// What one layer of a network costs, per image.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerCost {
    /// Where the layer stands in the network, such as `layer2.0.conv3`.
    pub name: String,
    /// Its cost. Norms add parameters but no multiply–adds, as the literature counts.
    pub cost: Cost,
    /// What a convolution computes, and the full resolution `[height, width]` that it reads.
    pub convolution: Option<(Plan<2>, [usize; 2])>,
}

impl LayerCost {
    /// Why no engine computes the layer on `device`, so that it is composed of Burn's operations; none
    /// where one does, and for layers that are no convolutions.
    pub fn refusal(&self, device: &Device) -> Option<Refusal> {
        let (plan, size) = self.convolution.as_ref()?;
        ops::refusal(plan, 1, *size, device)
    }
}

/// A layer that has parameters, statistics or multiply–adds.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    Conv(ConvSpec),
    Norm {
        channels: usize,
        shares: Shares,
    },
    /// A norm whose γ and β stay 1 and 0.
    PlainNorm {
        channels: usize,
        shares: Shares,
    },
    SqueezeExcite {
        channels: usize,
        shares: Shares,
    },
    Linear {
        input: usize,
        output: usize,
    },
}

impl Layer {
    /// Its cost for an input of full resolution `size`. Norms add parameters but no multiply–adds,
    /// as the literature counts.
    fn cost(&self, size: [usize; 2]) -> Result<Cost, OctConvError> {
        let linear = |input: usize, output: usize| {
            let (input, output) = (input as u64, output as u64);
            Cost::plain(input * output + output, input * output, input, output)
        };
        Ok(match self {
            Self::Conv(conv) => conv.cost(size)?,
            // The γ and β of a plain norm are stored, and counted by the authors too.
            Self::Norm { channels, shares } | Self::PlainNorm { channels, shares } => {
                let groups = shares.split(*channels)?;
                Cost {
                    params: 2 * groups.iter().sum::<usize>() as u64,
                    ..Cost::default()
                }
            }
            Self::SqueezeExcite { channels, .. } => {
                let hidden = hidden(*channels);
                linear(*channels, hidden) + linear(hidden, *channels)
            }
            Self::Linear { input, output } => linear(*input, *output),
        })
    }

    /// What a convolution computes.
    fn plan(&self) -> Result<Option<Plan<2>>, OctConvError> {
        match self {
            Self::Conv(conv) => conv.many().plan().map(Some),
            _ => Ok(None),
        }
    }
}

/// Units of the hidden layer of a gate over so many channels (Hu et al., with a reduction of 16).
pub(super) fn hidden(channels: usize) -> usize {
    (channels / 16).max(1)
}

/// Named layers of one block, each with how far the block has reduced the resolution before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers(Vec<(String, Layer, usize)>);

impl Layers {
    /// Adds a layer that reads maps of `1 / reduction` of the block's input resolution.
    pub(super) fn push(&mut self, name: impl Into<String>, reduction: usize, layer: Layer) {
        self.0.push((name.into(), layer, reduction));
    }

    /// The layers with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Layer)> {
        (self.0.iter()).map(|(name, layer, _)| (name.as_str(), layer))
    }

    /// The cost of each layer for a block input of full resolution `size`.
    ///
    /// # Errors
    ///
    /// The first illegal layer: its name and what is wrong with it.
    pub(super) fn costs(
        &self,
        prefix: &str,
        size: [usize; 2],
    ) -> Result<Vec<LayerCost>, (String, Box<OctConvError>)> {
        let costs = self.0.iter().map(|(name, layer, reduction)| {
            let name = format!("{prefix}{name}");
            let size = size.map(|s| s.div_ceil(*reduction));
            let counted = || Ok((layer.cost(size)?, layer.plan()?));
            match counted() {
                Ok((cost, plan)) => Ok(LayerCost {
                    name,
                    cost,
                    convolution: plan.map(|plan| (plan, size)),
                }),
                Err(error) => Err((name, Box::new(error))),
            }
        });
        costs.collect()
    }

    /// The layers as parts to build modules from.
    pub(super) fn build(self, device: &Device) -> Parts<'_> {
        Parts {
            layers: self.0,
            device,
        }
    }
}

/// Described layers, each to be taken by name exactly once: so a module cannot have a layer that
/// is not counted, nor lack one that is.
pub(super) struct Parts<'a> {
    layers: Vec<(String, Layer, usize)>,
    device: &'a Device,
}

impl Parts<'_> {
    fn take(&mut self, name: &str) -> Option<Layer> {
        let index = self.layers.iter().position(|(n, ..)| n == name)?;
        Some(self.layers.remove(index).1)
    }

    /// Builds an octave convolution, if it is described.
    pub(super) fn maybe_conv<K: Kind>(&mut self, name: &str) -> Result<Option<K>, OctConvError> {
        match self.take(name) {
            None => Ok(None),
            Some(Layer::Conv(spec)) => K::build(&spec, self.device).map(Some),
            Some(other) => unreachable!("{name} is described as {other:?}"),
        }
    }

    /// Builds an octave convolution.
    pub(super) fn conv<K: Kind>(&mut self, name: &str) -> Result<K, OctConvError> {
        Ok(self.maybe_conv(name)?.unwrap_or_else(|| missing(name)))
    }

    /// Builds a norm, if it is described.
    pub(super) fn maybe_norm<K: Kind>(
        &mut self,
        name: &str,
    ) -> Result<Option<K::Norm>, OctConvError> {
        match self.take(name) {
            None => Ok(None),
            Some(Layer::Norm { channels, shares }) => {
                K::norm(channels, shares, self.device).map(Some)
            }
            Some(other) => unreachable!("{name} is described as {other:?}"),
        }
    }

    /// Builds a norm.
    pub(super) fn norm<K: Kind>(&mut self, name: &str) -> Result<K::Norm, OctConvError> {
        let norm = self.maybe_norm::<K>(name)?;
        Ok(norm.unwrap_or_else(|| missing(name)))
    }

    /// Builds a norm whose γ and β stay 1 and 0, if it is described.
    pub(super) fn maybe_plain_norm<K: Kind>(
        &mut self,
        name: &str,
    ) -> Result<Option<K::Norm>, OctConvError> {
        let (channels, shares) = match self.take(name) {
            None => return Ok(None),
            Some(Layer::PlainNorm { channels, shares }) => (channels, shares),
            Some(other) => unreachable!("{name} is described as {other:?}"),
        };
        let mut norm = K::norm(channels, shares, self.device)?;
        for group in K::groups(&mut norm) {
            group.gamma = group.gamma.clone().set_require_grad(false);
            group.beta = group.beta.clone().set_require_grad(false);
        }
        Ok(Some(norm))
    }

    /// Builds a squeeze-and-excitation, if it is described.
    pub(super) fn maybe_squeeze_excite<K: Kind>(
        &mut self,
        name: &str,
    ) -> Result<Option<K::SqueezeExcite>, OctConvError> {
        match self.take(name) {
            None => Ok(None),
            Some(Layer::SqueezeExcite { channels, shares }) => {
                K::squeeze_excite(channels, shares, self.device).map(Some)
            }
            Some(other) => unreachable!("{name} is described as {other:?}"),
        }
    }

    /// Builds a vanilla norm, if it is described.
    pub(super) fn maybe_bn(&mut self, name: &str) -> Option<BatchNorm> {
        match self.take(name)? {
            Layer::Norm { channels, .. } => Some(BatchNormConfig::new(channels).init(self.device)),
            other => unreachable!("{name} is described as {other:?}"),
        }
    }

    /// Builds a vanilla convolution, and the norm after it if that is described, too.
    pub(super) fn conv2d(&mut self, conv: &str, bn: &str) -> (Conv2d, Option<BatchNorm>) {
        let spec = match self.take(conv) {
            Some(Layer::Conv(spec)) => spec,
            other => unreachable!("{conv} is described as {other:?}"),
        };
        (spec.vanilla().init(self.device), self.maybe_bn(bn))
    }

    /// Builds a vanilla convolution and the norm after it.
    pub(super) fn conv_norm(&mut self, conv: &str, bn: &str) -> ConvNorm {
        let (conv, bn) = self.conv2d(conv, bn);
        assert!(bn.is_some(), "a norm is described");
        ConvNorm { conv, bn }
    }

    /// Builds a linear layer.
    pub(super) fn linear(&mut self, name: &str) -> Linear {
        match self.take(name) {
            Some(Layer::Linear { input, output }) => {
                LinearConfig::new(input, output).init(self.device)
            }
            other => unreachable!("{name} is described as {other:?}"),
        }
    }

    /// Ends the building of a module: every described layer must have been built.
    pub(super) fn finish(self) {
        let left: Vec<_> = self.layers.iter().map(|(name, ..)| name).collect();
        assert!(left.is_empty(), "described but not built: {left:?}");
    }
}

fn missing(name: &str) -> ! {
    unreachable!("{name} is built but not described")
}

/// A vanilla convolution and its norm: outside of the octave part of a network.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// The convolution, without bias unless the norm is folded.
    pub conv: Conv2d,
    /// The norm after it; none once it is folded.
    pub bn: Option<BatchNorm>,
}

impl ConvNorm {
    /// Convolves and normalises; there is no activation.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, channels_in, height, width]`, no low group
    /// - output: `[batch, channels_out, ⌈height / stride⌉, ⌈width / stride⌉]`, no low group
    pub fn forward(&self, input: impl Into<OctFeatures>) -> OctFeatures {
        self.forward_with(input, Activation::Identity)
    }

    /// Convolves, normalises and applies an activation.
    ///
    /// # Shapes
    ///
    /// As [`ConvNorm::forward`].
    pub fn forward_with(
        &self,
        input: impl Into<OctFeatures>,
        activation: Activation,
    ) -> OctFeatures {
        normalize_vanilla(&self.bn, conv2d(&self.conv, input), activation)
    }

    pub(super) fn fold_batch_norm(&mut self) {
        fold_vanilla(&mut self.conv, &mut self.bn);
    }
}

/// Applies a norm, if it is there.
pub(super) fn normalize<K: Kind>(norm: &Option<K::Norm>, x: K::Map) -> K::Map {
    normalize_with::<K>(norm, x, None, Activation::Identity)
}

/// Applies a norm, if it is there, then a sum and an activation.
pub(super) fn normalize_with<K: Kind>(
    norm: &Option<K::Norm>,
    x: K::Map,
    shortcut: Option<K::Map>,
    activation: Activation,
) -> K::Map {
    match (norm, shortcut) {
        (Some(norm), shortcut) => K::normalize(norm, x, shortcut, activation),
        (None, Some(shortcut)) => (x + shortcut).activate(activation),
        (None, None) => x.activate(activation),
    }
}

/// Applies a vanilla norm, if it is there, then an activation.
pub(super) fn normalize_vanilla(
    norm: &Option<BatchNorm>,
    x: OctFeatures,
    activation: Activation,
) -> OctFeatures {
    match norm {
        Some(norm) => batch_norm(norm, x, None, activation),
        None => x.activate(activation),
    }
}

/// Folds a norm, if there is one, into the convolution before it.
pub(super) fn fold<K: Kind>(conv: &mut K, norm: &mut Option<K::Norm>) {
    if let Some(norm) = norm.take() {
        *conv = conv.folded(&norm);
    }
}

/// Folds a norm, if there is one and it can be, into the convolution after it.
pub(super) fn fold_before<K: Kind>(norm: &mut Option<K::Norm>, conv: &mut K) {
    let folded = norm.as_ref().and_then(|norm| conv.folded_input(norm));
    if let Some(folded) = folded {
        (*conv, *norm) = (folded, None);
    }
}

/// Folds a vanilla norm, if there is one, into the convolution before it.
pub(super) fn fold_vanilla(conv: &mut Conv2d, norm: &mut Option<BatchNorm>) {
    if let Some(norm) = norm.take() {
        *conv = fold_batch_norm(conv, &norm);
    }
}
