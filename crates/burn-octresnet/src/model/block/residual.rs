use burn::{
    module::{Module, Param},
    tensor::Device,
};
use burn_octconv::{OctConv2d, OctConvError, ops::norm::Activation};

use super::PadShortcut;
use crate::model::{
    Kind, Shares,
    conv::conv,
    features::OctaveMap,
    layers::{Layer, Layers, fold, fold_before, normalize, normalize_with},
    wire::{Chain, Wire},
};

/// The convolutions of a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 and 1×1, the 3×3 with the channels of the middle.
    Bottleneck,
}

/// Where norm and activation stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Convolution, norm, activation, and an activation after the sum ("v1").
    PostActivation,
    /// Norm, activation, convolution, and nothing after the sum ("v2").
    PreActivation,
}

/// Which convolution takes the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrideAt {
    /// The first, as in the original ResNet.
    First,
    /// The second: the 3×3 of a bottleneck ("v1b").
    Second,
    /// The last: the second 1×1 of a bottleneck ("v1e").
    Last,
}

/// The way around the convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// The block's input, which must have the output's shape.
    Identity,
    /// A 1×1 convolution with a norm of its own.
    Projection,
    /// A 1×1 convolution of the block's activated input, for [`Order::PreActivation`] only.
    SharedProjection,
    /// The block's input brought to the output's shape without parameters; see [`PadShortcut`].
    Pad,
}

/// Configuration of a [`Residual`] block.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualConfig {
    /// The convolutions.
    pub shape: Shape,
    /// Where norm and activation stand.
    pub order: Order,
    /// Channels of input, middle and output. A basic block's middle is as wide as its output.
    pub channels: [usize; 3],
    /// 1 or 2.
    pub stride: usize,
    /// Which convolution takes the stride.
    pub stride_at: StrideAt,
    /// Groups of the 3×3 convolution of a bottleneck.
    pub groups: usize,
    /// Shares of the channels at the input.
    pub shares_in: Shares,
    /// Shares of the channels inside and at the output.
    pub shares_out: Shares,
    /// Whether squeeze-and-excitation ends the convolutions.
    pub squeeze_excite: bool,
    /// Whether a plain norm, whose γ and β stay 1 and 0, stands before the first convolution and
    /// before the projection.
    pub plain_norm: bool,
    /// The way around the convolutions.
    pub shortcut: Shortcut,
    /// Whether stride 2 is taken by strided convolutions, as in a vanilla network.
    pub strided: bool,
    /// Whether the γ of the norm that ends the convolutions starts at zero. A pre-activation
    /// block has no such norm and ignores this.
    pub zero_init: bool,
}

impl ResidualConfig {
    /// Kernel size, channels and groups of each convolution.
    fn convolutions(&self) -> Vec<(usize, [usize; 2], usize)> {
        let [input, middle, output] = self.channels;
        match self.shape {
            Shape::Basic => vec![(3, [input, output], 1), (3, [output; 2], 1)],
            Shape::Bottleneck => vec![
                (1, [input, middle], 1),
                (3, [middle; 2], self.groups),
                (1, [middle, output], 1),
            ],
        }
    }

    pub(super) fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let [_, middle, output] = self.channels;
        let last = match self.shortcut {
            Shortcut::Identity => input.clone(),
            Shortcut::Pad => input.padded(&self.shares_out.split(output)?),
            Shortcut::Projection | Shortcut::SharedProjection => {
                Wire::new(output, self.shares_out, 1)?
            }
        };
        let pre_activation = self.order == Order::PreActivation;
        Ok(match self.shape {
            Shape::Basic => Chain::new([input, last.clone(), last], pre_activation),
            Shape::Bottleneck => {
                let middle = Wire::new(middle, self.shares_out, self.groups)?;
                Chain::new([input, middle.clone(), middle, last], pre_activation)
            }
        })
    }

    pub(in crate::model) fn layers(&self) -> Layers {
        let [input, _, output] = self.channels;
        let (outer, inner) = (self.shares_in, self.shares_out);
        let pre = self.order == Order::PreActivation;
        let norm = |channels: usize, shares: Shares| Layer::Norm { channels, shares };
        let plain_norm = Layer::PlainNorm {
            channels: input,
            shares: outer,
        };
        let convolutions = self.convolutions();
        let strided_conv = match self.stride_at {
            StrideAt::First => 0,
            StrideAt::Second => 1,
            StrideAt::Last => convolutions.len() - 1,
        };

        let mut layers = Layers::default();
        if self.plain_norm {
            layers.push("pre_norm", 1, plain_norm.clone());
        }
        for (index, (kernel, channels, groups)) in convolutions.into_iter().enumerate() {
            let reduction = if index > strided_conv { self.stride } else { 1 };
            let stride = if index == strided_conv {
                self.stride
            } else {
                1
            };
            let read = if index == 0 { outer } else { inner };
            let convolution = conv(channels, kernel, stride)
                .with_groups(groups)
                .with_shares(read, inner)
                .with_strided(self.strided);
            let number = index + 1;
            let norm = if pre {
                norm(channels[0], read)
            } else {
                norm(channels[1], inner)
            };
            layers.push(format!("conv{number}"), reduction, Layer::Conv(convolution));
            layers.push(format!("bn{number}"), reduction, norm);
        }
        if self.squeeze_excite {
            let (channels, shares) = (output, inner);
            layers.push("se", 1, Layer::SqueezeExcite { channels, shares });
        }
        if matches!(
            self.shortcut,
            Shortcut::Projection | Shortcut::SharedProjection
        ) {
            if self.plain_norm {
                layers.push("downsample.pre_norm", 1, plain_norm);
            }
            let projection = conv([input, output], 1, self.stride)
                .with_shares(outer, inner)
                .with_strided(self.strided);
            layers.push("downsample.conv", 1, Layer::Conv(projection));
        }
        if self.shortcut == Shortcut::Projection {
            let norm = if pre {
                norm(input, outer)
            } else {
                norm(output, inner)
            };
            layers.push("downsample.bn", 1, norm);
        }
        layers
    }

    pub(super) fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|s| s.div_ceil(self.stride))
    }

    /// Builds the block, of layers of the kind asked for.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] that names the illegal value.
    pub fn try_init<K: Kind>(&self, device: &Device) -> Result<Residual<K>, OctConvError> {
        let mut parts = self.layers().build(device);
        let downsample = match parts.maybe_conv("downsample.conv")? {
            None => None,
            Some(conv) => Some(Projection {
                pre_norm: parts.maybe_plain_norm::<K>("downsample.pre_norm")?,
                conv,
                bn: parts.maybe_norm::<K>("downsample.bn")?,
            }),
        };
        let pad = match self.shortcut {
            Shortcut::Pad => Some(PadShortcut {
                output: self.shares_out.split(self.channels[2])?,
                stride: self.stride,
                strided: self.strided,
            }),
            _ => None,
        };
        let mut block = Residual {
            pre_norm: parts.maybe_plain_norm::<K>("pre_norm")?,
            conv1: parts.conv("conv1")?,
            bn1: Some(parts.norm::<K>("bn1")?),
            conv2: parts.conv("conv2")?,
            bn2: Some(parts.norm::<K>("bn2")?),
            conv3: parts.maybe_conv("conv3")?,
            bn3: parts.maybe_norm::<K>("bn3")?,
            se: parts.maybe_squeeze_excite::<K>("se")?,
            downsample,
            pad,
            order: self.order,
        };
        parts.finish();
        if self.zero_init && self.order == Order::PostActivation {
            zero_gamma::<K>(block.bn3.as_mut().or(block.bn2.as_mut()));
        }
        Ok(block)
    }
}

/// Lets a norm return zeros until it has learned something else.
pub(super) fn zero_gamma<K: Kind>(norm: Option<&mut K::Norm>) {
    for norm in norm.into_iter().flat_map(K::groups) {
        norm.gamma = Param::from_tensor(norm.gamma.val().zeros_like());
    }
}

/// A residual block: basic or bottleneck, post- or pre-activation, with or without
/// squeeze-and-excitation.
///
/// Sources: He et al., <https://arxiv.org/abs/1512.03385> (figure 5) and
/// <https://arxiv.org/abs/1603.05027> (pre-activation); Xie et al.,
/// <https://arxiv.org/abs/1611.05431> (groups); Hu et al., <https://arxiv.org/abs/1709.01507>
/// (squeeze-and-excitation). The octave form is Chen et al.,
/// <https://arxiv.org/abs/1904.05049>, section 4. Field names follow torchvision's. Norms are none
/// once they are folded.
#[derive(Module, Debug)]
pub struct Residual<K: Kind = OctConv2d> {
    /// Plain norm on the input of `conv1`: γ and β stay 1 and 0.
    pub pre_norm: Option<K::Norm>,
    /// First convolution.
    pub conv1: K,
    /// Norm after `conv1`, or before it in a pre-activation block.
    pub bn1: Option<K::Norm>,
    /// Second convolution.
    pub conv2: K,
    /// Norm after or before `conv2`.
    pub bn2: Option<K::Norm>,
    /// Third convolution, of a bottleneck.
    pub conv3: Option<K>,
    /// Norm after or before `conv3`.
    pub bn3: Option<K::Norm>,
    /// Squeeze-and-excitation before the sum.
    pub se: Option<K::SqueezeExcite>,
    /// The shortcut with parameters, where the input does not have the output's shape.
    pub downsample: Option<Projection<K>>,
    /// The shortcut without parameters that changes the shape.
    #[module(skip)]
    pub pad: Option<PadShortcut>,
    /// Where norm and activation stand.
    #[module(skip)]
    pub order: Order,
}

/// A 1×1 convolution as the shortcut of a stage's first block.
#[derive(Module, Debug)]
pub struct Projection<K: Kind = OctConv2d> {
    /// Plain norm on the input: γ and β stay 1 and 0.
    pub pre_norm: Option<K::Norm>,
    /// 1×1 convolution, with the block's stride.
    pub conv: K,
    /// Norm after it; in a pre-activation block, norm before it, with an activation between. None
    /// if it reads the block's activated input, and once it is folded.
    pub bn: Option<K::Norm>,
}

impl<K: Kind> Residual<K> {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / stride⌉, ⌈width / stride⌉]`
    pub fn forward(&self, input: K::Map) -> K::Map {
        match self.order {
            Order::PostActivation => self.forward_post(input),
            Order::PreActivation => self.forward_pre(input),
        }
    }

    fn forward_post(&self, input: K::Map) -> K::Map {
        let shortcut = match (&self.downsample, &self.pad) {
            (Some(projection), _) => {
                let x = normalize::<K>(&projection.pre_norm, input.clone());
                normalize::<K>(&projection.bn, projection.conv.convolve(x))
            }
            (None, Some(pad)) => pad.forward(input.clone()),
            (None, None) => input.clone(),
        };
        let x = normalize::<K>(&self.pre_norm, input);
        let x = normalize_with::<K>(&self.bn1, self.conv1.convolve(x), None, Activation::Relu);
        let x = self.conv2.convolve(x);
        let (x, last_norm) = match &self.conv3 {
            Some(conv3) => {
                let x = normalize_with::<K>(&self.bn2, x, None, Activation::Relu);
                (conv3.convolve(x), &self.bn3)
            }
            None => (x, &self.bn2),
        };
        match &self.se {
            Some(se) => {
                let x = K::gate(se, normalize::<K>(last_norm, x));
                (x + shortcut).activate(Activation::Relu)
            }
            None => normalize_with::<K>(last_norm, x, Some(shortcut), Activation::Relu),
        }
    }

    fn forward_pre(&self, input: K::Map) -> K::Map {
        let activated = normalize::<K>(&self.pre_norm, input.clone());
        let activated = normalize_with::<K>(&self.bn1, activated, None, Activation::Relu);
        let shortcut = match (&self.downsample, &self.pad) {
            (Some(projection), _) => {
                let x = match &projection.bn {
                    Some(_) => {
                        let x = normalize::<K>(&projection.pre_norm, input);
                        normalize_with::<K>(&projection.bn, x, None, Activation::Relu)
                    }
                    None => activated.clone(),
                };
                projection.conv.convolve(x)
            }
            (None, Some(pad)) => pad.forward(input),
            (None, None) => input,
        };
        let x = self.conv1.convolve(activated);
        let x = normalize_with::<K>(&self.bn2, x, None, Activation::Relu);
        let mut x = self.conv2.convolve(x);
        if let Some(conv3) = &self.conv3 {
            x = conv3.convolve(normalize_with::<K>(&self.bn3, x, None, Activation::Relu));
        }
        if let Some(se) = &self.se {
            x = K::gate(se, x);
        }
        x + shortcut
    }

    /// Folds every norm that stands directly after a convolution, or before a 1×1 convolution with
    /// nothing between. A post-activation block keeps none; a pre-activation block keeps those
    /// that read its input.
    pub fn fold_batch_norm(mut self) -> Self {
        match self.order {
            Order::PostActivation => {
                fold(&mut self.conv1, &mut self.bn1);
                fold(&mut self.conv2, &mut self.bn2);
                if let Some(conv3) = &mut self.conv3 {
                    fold(conv3, &mut self.bn3);
                }
                fold_before(&mut self.pre_norm, &mut self.conv1);
                if let Some(projection) = &mut self.downsample {
                    fold(&mut projection.conv, &mut projection.bn);
                    fold_before(&mut projection.pre_norm, &mut projection.conv);
                }
            }
            Order::PreActivation => {
                fold(&mut self.conv1, &mut self.bn2);
                if self.conv3.is_some() {
                    fold(&mut self.conv2, &mut self.bn3);
                }
            }
        }
        self
    }
}
