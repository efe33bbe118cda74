use burn::{
    module::Module,
    nn::pool::{MaxPool2d, MaxPool2dConfig},
    nn::{BatchNorm, Linear, LinearConfig, PaddingConfig2d, conv::Conv2d},
    tensor::{Device, Tensor},
};
use burn_octconv::{
    OctConvError, OctFeatures, OctMaps, OctMaxPool2d,
    ops::{
        conv2d,
        norm::{Activation, batch_norm, batch_norm_max_pool},
    },
};

use super::{
    Block, ConvNorm, Features, ModelError, OctNetConfig, Residual, Shares,
    conv::conv,
    family::{Blueprint, Tail},
    layers::{Layer, LayerCost, Layers, fold_vanilla, normalize_vanilla},
    stem::{StemConfig, StemPool},
};

/// A network of the family for image classification.
///
/// It bears the name of the first of them; a MobileNet or a DenseNet is the same stem, stages of
/// blocks and classifier, of other blocks.
///
/// The stem is vanilla, the first octave layer enters with α = 0, and the last stage has α = 0, so
/// the classifier sees one full-resolution map. The blocks are those of the
/// [`Arch`](super::Arch); what a network does not have is `None` or empty. Field names follow
/// torchvision's ResNets. Built by [`OctNetConfig`].
#[derive(Module, Debug)]
pub struct OctNet {
    /// First convolution of the stem.
    pub conv1: Conv2d,
    /// Norm after it; the blocks of a Wide ResNet bring their own. None once it is folded.
    pub bn1: Option<BatchNorm>,
    /// Further convolutions of a deep stem.
    pub deep: Vec<ConvNorm>,
    /// Max-pooling of the stem.
    pub maxpool: Option<MaxPool2d>,
    /// Residual block in place of the max-pooling.
    pub reduce: Option<Residual>,
    /// First stage.
    pub layer1: Vec<Block>,
    /// Second stage, at half the resolution of the first.
    pub layer2: Vec<Block>,
    /// Third stage.
    pub layer3: Vec<Block>,
    /// Fourth stage; empty in networks of three stages.
    pub layer4: Vec<Block>,
    /// Norm after the last stage, if its blocks are pre-activation.
    pub norm: Option<BatchNorm>,
    /// 1×1 convolution after the last stage.
    pub last: Option<ConvNorm>,
    /// Classifier.
    pub fc: Linear,
    /// The activation of stem and tail.
    #[module(skip)]
    pub activation: Activation,
    /// Whether the activation follows `conv1`; the blocks of a Wide ResNet bring their own.
    #[module(skip)]
    pub activates_conv1: bool,
}

impl OctNetConfig {
    /// Builds the network with random weights.
    ///
    /// # Panics
    ///
    /// If the configuration is illegal; [`try_init`](Self::try_init) returns the error instead.
    pub fn init(&self, device: &Device) -> OctNet {
        self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Builds the network with random weights.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub fn try_init(&self, device: &Device) -> Result<OctNet, ModelError> {
        self.validate()?;
        Ok(self.blueprint()?.init(self.num_classes, device)?)
    }
}

impl OctNet {
    /// Computes the logits.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`, normalised as in training
    /// - output: `[batch, num_classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.fc.forward(self.forward_pooled(images))
    }

    /// Computes what the classifier sees.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`, normalised as in training
    /// - output: `[batch, channels]`
    pub fn forward_pooled(&self, images: Tensor<4>) -> Tensor<2> {
        let x = Features::from(self.stem(images));
        let x = self.stages().iter().fold(x, |x, blocks| run(blocks, x));
        // The last stage has no low frequency.
        let (x, activation) = (x.into_octave(), self.activation);
        let x = match &self.norm {
            Some(norm) => batch_norm(norm, x, None, activation),
            None => x,
        };
        let x = match &self.last {
            Some(last) => last.forward_with(x, activation),
            None => x,
        };
        x.global_avg_pool()
    }

    /// Computes the feature maps that the stages end with, for detection and segmentation.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`
    /// - output: one map per stage, four or (for 32-pixel images) three; with a stem for large
    ///   images at full resolutions of a 4th, 8th, 16th and 32nd of the image, with one for small
    ///   images at 1, ½, ¼ (and ⅛). The last map has no low frequency. What follows the last
    ///   stage, such as the norm of a v2 network, is not applied.
    ///
    /// # Panics
    ///
    /// If a map has more than two frequencies; use [`OctNet::forward_maps`].
    pub fn forward_features(&self, images: Tensor<4>) -> Vec<OctFeatures> {
        let maps = self.forward_stages(images);
        maps.map(Features::into_octave).collect()
    }

    /// [`OctNet::forward_features`] of a network in any number of frequencies.
    pub fn forward_maps(&self, images: Tensor<4>) -> Vec<OctMaps<2, 4>> {
        let maps = self.forward_stages(images);
        maps.map(Features::into_maps).collect()
    }

    fn forward_stages(&self, images: Tensor<4>) -> impl Iterator<Item = Features> {
        let mut x = Features::from(self.stem(images));
        self.stages().into_iter().map(move |blocks| {
            x = run(blocks, x.clone());
            x.clone()
        })
    }

    /// Computes what the stem and the first `count` blocks give, each with its name.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`
    /// - output: `stem`, which has no low frequency, then `layer1.0` and so on; fewer blocks if
    ///   the network has no more
    pub fn forward_blocks(&self, images: Tensor<4>, count: usize) -> Vec<(String, Features)> {
        let mut x = Features::from(self.stem(images));
        let mut maps = vec![("stem".to_string(), x.clone())];
        let stages = self.stages().into_iter().enumerate();
        let blocks = stages.flat_map(|(stage, blocks)| {
            let blocks = blocks.iter().enumerate();
            blocks.map(move |(index, block)| (format!("layer{}.{index}", stage + 1), block))
        });
        for (name, block) in blocks.take(count) {
            x = block.forward(x);
            maps.push((name, x.clone()));
        }
        maps
    }

    /// The same network with a new, randomly initialised classifier for `num_classes` classes.
    ///
    /// # Errors
    ///
    /// [`ModelError::Classes`] for no classes.
    pub fn with_classes(mut self, num_classes: usize) -> Result<Self, ModelError> {
        if num_classes == 0 {
            return Err(ModelError::Classes(0));
        }
        let [features, _] = self.fc.weight.dims();
        let device = self.fc.weight.device();
        self.fc = LinearConfig::new(features, num_classes).init(&device);
        Ok(self)
    }

    /// The network for inference: every norm that stands directly after a convolution is folded
    /// into it, which gives it a bias.
    ///
    /// Logits stay the same within rounding. Post-activation networks and MobileNets have no norm
    /// layers left; what stays are the norms of pre-activation networks and DenseNets that read a
    /// sum or a concatenation. The running statistics become fixed, so train before and not after.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octresnet::model::{Arch, OctNetConfig};
    ///
    /// let device = Device::default();
    /// let model = OctNetConfig::new(Arch::OctResNet20, 10).try_init(&device)?;
    /// let folded = model.clone().fold_batch_norm();
    /// assert!(folded.bn1.is_none() && folded.conv1.bias.is_some());
    ///
    /// let images = Tensor::<4>::ones([1, 3, 32, 32], &device);
    /// let (logits, expected) = (folded.forward(images.clone()), model.forward(images));
    /// assert!(logits.all_close(expected, Some(1e-3), Some(1e-3)));
    /// # Ok::<(), burn_octresnet::model::ModelError>(())
    /// ```
    pub fn fold_batch_norm(mut self) -> Self {
        fold_vanilla(&mut self.conv1, &mut self.bn1);
        self.deep.iter_mut().for_each(ConvNorm::fold_batch_norm);
        self.reduce = self.reduce.map(Residual::fold_batch_norm);
        let stages = [
            &mut self.layer1,
            &mut self.layer2,
            &mut self.layer3,
            &mut self.layer4,
        ];
        for stage in stages {
            let blocks = std::mem::take(stage).into_iter();
            *stage = blocks.map(Block::fold_batch_norm).collect();
        }
        if let Some(last) = &mut self.last {
            last.fold_batch_norm();
        }
        self
    }

    /// The stages that the network has.
    fn stages(&self) -> Vec<&[Block]> {
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        let stages = stages.into_iter().filter(|blocks| !blocks.is_empty());
        stages.map(Vec::as_slice).collect()
    }

    fn stem(&self, images: Tensor<4>) -> OctFeatures {
        let activation = self.activation;
        let first = if self.activates_conv1 {
            activation
        } else {
            Activation::Identity
        };
        let first = (&self.conv1, &self.bn1, first);
        let deep = self
            .deep
            .iter()
            .map(|deep| (&deep.conv, &deep.bn, activation));
        let mut x = OctFeatures::from(images);
        for (index, (conv, bn, activation)) in std::iter::once(first).chain(deep).enumerate() {
            let pool = self.maxpool.as_ref().filter(|_| index == self.deep.len());
            x = conv2d(conv, x);
            x = match (bn, pool) {
                // The map between the two would be the largest of the network.
                (Some(bn), Some(pool)) => batch_norm_max_pool(bn, x, activation, pool),
                (None, Some(pool)) => {
                    OctMaxPool2d::from(pool.clone()).forward(x.activate(activation))
                }
                (bn, None) => normalize_vanilla(bn, x, activation),
            };
        }
        match &self.reduce {
            Some(block) => block.forward(x),
            None => x,
        }
    }
}

fn run(blocks: &[Block], x: Features) -> Features {
    blocks.iter().fold(x, |x, block| block.forward(x))
}

impl Blueprint {
    /// The layers after the last stage.
    fn tail_layers(&self, num_classes: usize) -> Layers {
        let mut layers = Layers::default();
        let mut input = self.channels;
        let norm = |channels: usize| Layer::Norm {
            channels,
            shares: Shares::PLAIN,
        };
        match self.tail {
            Tail::None => {}
            Tail::Norm => layers.push("norm", 1, norm(input)),
            Tail::Conv(output) => {
                layers.push("last.conv", 1, Layer::Conv(conv([input, output], 1, 1)));
                layers.push("last.bn", 1, norm(output));
                input = output;
            }
        }
        let output = num_classes;
        layers.push("fc", 1, Layer::Linear { input, output });
        layers
    }

    /// The cost of each layer for images of `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// The first illegal layer: its name and what is wrong with it.
    pub(super) fn layer_costs(
        &self,
        num_classes: usize,
        size: [usize; 2],
    ) -> Result<Vec<LayerCost>, (String, Box<OctConvError>)> {
        let mut costs = self.stem.layers().costs("", size)?;
        let mut size = self.stem.conv_size(size);
        match &self.stem.pool {
            StemPool::None => {}
            StemPool::Max => size = size.map(|s| s.div_ceil(2)),
            StemPool::Residual(block) => {
                costs.extend(block.layers().costs("reduce.", size)?);
                size = size.map(|s| s.div_ceil(block.stride));
            }
        }
        for (stage, blocks) in self.stages.iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                let prefix = format!("layer{}.{index}.", stage + 1);
                costs.extend(block.layers().costs(&prefix, size)?);
                size = block.output_size(size);
            }
        }
        costs.extend(self.tail_layers(num_classes).costs("", size)?);
        Ok(costs)
    }

    /// Builds the network with random weights.
    pub(super) fn init(&self, num_classes: usize, device: &Device) -> Result<OctNet, OctConvError> {
        let mut stages = Vec::new();
        for blocks in &self.stages {
            let blocks = blocks.iter().map(|block| block.try_init(device));
            stages.push(blocks.collect::<Result<Vec<_>, _>>()?);
        }
        let mut stages = stages.into_iter();
        let mut stage = || stages.next().unwrap_or_default();

        let mut stem = self.stem.layers().build(device);
        let (conv, bn) = StemConfig::names(0);
        let (conv1, bn1) = stem.conv2d(&conv, &bn);
        let deep = (1..self.stem.convs.len()).map(|index| {
            let (conv, bn) = StemConfig::names(index);
            stem.conv_norm(&conv, &bn)
        });
        let deep = deep.collect();
        stem.finish();
        let mut tail = self.tail_layers(num_classes).build(device);
        let network = OctNet {
            conv1,
            bn1,
            deep,
            maxpool: matches!(self.stem.pool, StemPool::Max).then(|| {
                MaxPool2dConfig::new([3, 3])
                    .with_strides([2, 2])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init()
            }),
            reduce: match &self.stem.pool {
                StemPool::Residual(block) => Some(block.try_init(device)?),
                _ => None,
            },
            layer1: stage(),
            layer2: stage(),
            layer3: stage(),
            layer4: stage(),
            norm: tail.maybe_bn("norm"),
            last: matches!(self.tail, Tail::Conv(_))
                .then(|| tail.conv_norm("last.conv", "last.bn")),
            fc: tail.linear("fc"),
            activation: self.stem.activation,
            activates_conv1: self.stem.norm,
        };
        tail.finish();
        Ok(network)
    }
}
