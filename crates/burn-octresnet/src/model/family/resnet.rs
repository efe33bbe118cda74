use burn_octconv::ops::norm::Activation;

use super::{Blueprint, Tail};
use crate::model::{
    Arch, ModelError, OctNetConfig, Shares, Stem,
    block::{BlockConfig, Order, ResidualConfig, Shape, Shortcut, StrideAt},
    stem::{StemConfig, StemPool},
};

/// The stem for large images.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LargeStem {
    /// 7×7 convolution, max-pooling.
    Plain,
    /// Three 3×3 convolutions, max-pooling ("v1e").
    Deep,
    /// Three 3×3 convolutions, a residual block with stride 2 ("v1f").
    DeepResidual,
}

/// What tells one residual network from another.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct ResNet {
    /// Blocks of each stage.
    blocks: &'static [usize],
    /// Channels of the stem's output.
    stem_channels: usize,
    /// Channels in the middle of the first stage's blocks, doubled from stage to stage.
    middle: usize,
    /// Channels of the first stage's output, doubled likewise.
    output: usize,
    shape: Shape,
    order: Order,
    groups: usize,
    squeeze_excite: bool,
    stride_at: StrideAt,
    /// Of the first block of a stage, if its shape changes.
    shortcut: Shortcut,
    stem: LargeStem,
}

/// ResNet-50, post-activation, with the stride in the 3×3 convolution.
const RESNET_50: ResNet = ResNet {
    blocks: &[3, 4, 6, 3],
    stem_channels: 64,
    middle: 64,
    output: 256,
    shape: Shape::Bottleneck,
    order: Order::PostActivation,
    groups: 1,
    squeeze_excite: false,
    stride_at: StrideAt::Second,
    shortcut: Shortcut::Projection,
    stem: LargeStem::Plain,
};

/// ResNet-20 for small images, with shortcuts that have no parameters.
const RESNET_20: ResNet = ResNet {
    blocks: &[3, 3, 3],
    stem_channels: 16,
    middle: 16,
    output: 16,
    shape: Shape::Basic,
    stride_at: StrideAt::First,
    shortcut: Shortcut::Pad,
    ..RESNET_50
};

impl ResNet {
    const fn with_blocks(self, blocks: &'static [usize]) -> Self {
        Self { blocks, ..self }
    }

    const fn pre_activation(self) -> Self {
        Self {
            order: Order::PreActivation,
            ..self
        }
    }

    /// 32 groups of 4 channels in the first stage (Xie et al., table 1).
    const fn next(self) -> Self {
        Self {
            middle: 128,
            groups: 32,
            ..self
        }
    }

    const fn squeeze_excite(self) -> Self {
        Self {
            squeeze_excite: true,
            ..self
        }
    }

    const fn large(self, stem: LargeStem) -> Self {
        Self {
            stem,
            stride_at: StrideAt::Last,
            ..self
        }
    }
}

impl Arch {
    /// The spec of a residual network; `None` for the others.
    ///
    /// Sources: He et al., <https://arxiv.org/abs/1512.03385>, table 1 and section 4.2, and
    /// <https://arxiv.org/abs/1603.05027> (v2, 200); Xie et al.,
    /// <https://arxiv.org/abs/1611.05431>; Hu et al., <https://arxiv.org/abs/1709.01507>;
    /// Zagoruyko and Komodakis, <https://arxiv.org/abs/1605.07146>, table 1; Chen et al.,
    /// <https://arxiv.org/abs/1904.05049>, section 4 (26), and for v1e and v1f the authors' code,
    /// <https://github.com/facebookresearch/OctConv>.
    pub(in crate::model) fn residual(self) -> Option<ResNet> {
        const D26: &[usize] = &[2, 2, 2, 2];
        const D101: &[usize] = &[3, 4, 23, 3];
        const D152: &[usize] = &[3, 8, 36, 3];
        const D200: &[usize] = &[3, 24, 36, 3];
        let v1 = RESNET_50;
        let v2 = v1.pre_activation();
        let v1e = v1.with_blocks(D152).large(LargeStem::Deep);
        let v1f = v1.with_blocks(D152).large(LargeStem::DeepResidual);
        Some(match self {
            Self::OctResNet26 => v1.with_blocks(D26),
            Self::OctResNet101 => v1.with_blocks(D101),
            Self::OctResNet152 => v1.with_blocks(D152),
            Self::OctResNet200 => v1.with_blocks(D200),
            Self::OctResNet26V2 => v2.with_blocks(D26),
            Self::OctResNet50V2 => v2,
            Self::OctResNet101V2 => v2.with_blocks(D101),
            Self::OctResNet152V2 => v2.with_blocks(D152),
            Self::OctResNet200V2 => v2.with_blocks(D200),
            Self::OctResNet152V1e => v1e,
            Self::OctResNet152V1f => v1f,
            Self::OctSeResNet152V1e => v1e.squeeze_excite(),
            Self::OctSeResNet152V1f => v1f.squeeze_excite(),
            Self::OctResNext50 => v1.next(),
            Self::OctResNext50V2 => v2.next(),
            Self::OctResNext101V2 => v2.next().with_blocks(D101),
            Self::OctSeResNet50V2 => v2.squeeze_excite(),
            Self::OctResNet20 => RESNET_20,
            Self::OctResNet56 => RESNET_20.with_blocks(&[9, 9, 9]),
            Self::OctWideResNet28x10 => ResNet {
                middle: 160,
                output: 160,
                shortcut: Shortcut::SharedProjection,
                ..RESNET_20.with_blocks(&[4, 4, 4]).pre_activation()
            },
            Self::OctResNet50 => v1,
            Self::OctDenseNet121
            | Self::OctMobileNetV1
            | Self::OctMobileNetV1W075
            | Self::OctMobileNetV2
            | Self::OctMobileNetV2W1125 => return None,
        })
    }
}

impl OctNetConfig {
    /// Stages of residual blocks. The first block enters with α = 0, the last stage has α = 0.
    pub(super) fn resnet(&self, net: &ResNet) -> Result<Blueprint, ModelError> {
        let shares = self.alpha.of_stages(self.arch, net.blocks.len())?;
        let stem = self.resnet_stem(net);
        let mut input = self.channels(net.stem_channels);
        let mut shares_in = Shares::PLAIN;
        let mut stages = Vec::new();
        for (stage, &count) in net.blocks.iter().enumerate() {
            let channels = |base: usize| self.channels(base) << stage;
            let (middle, output) = (channels(net.middle), self.output_channels(net) << stage);
            let mut blocks = Vec::new();
            for index in 0..count {
                let first = index == 0;
                let stride = if first && stage > 0 { 2 } else { 1 };
                let fits = stride == 1 && input == output && shares_in == shares[stage];
                let shortcut = match net.shortcut {
                    Shortcut::Pad if !fits => Shortcut::Pad,
                    Shortcut::Pad => Shortcut::Identity,
                    projection if first => projection,
                    _ => Shortcut::Identity,
                };
                blocks.push(BlockConfig::residual(ResidualConfig {
                    shape: net.shape,
                    order: net.order,
                    channels: [input, middle, output],
                    stride,
                    stride_at: net.stride_at,
                    groups: net.groups,
                    shares_in,
                    shares_out: shares[stage],
                    squeeze_excite: net.squeeze_excite,
                    // The authors found that deep SE-ResNets do not train well without.
                    plain_norm: net.squeeze_excite && net.stem != LargeStem::Plain,
                    shortcut,
                    strided: self.strided(),
                    zero_init: self.zero_init_residual,
                }));
                (input, shares_in) = (output, shares[stage]);
            }
            stages.push(blocks);
        }
        Ok(Blueprint {
            stem,
            stages,
            channels: input,
            tail: match net.order {
                Order::PostActivation => Tail::None,
                Order::PreActivation => Tail::Norm,
            },
        })
    }

    /// Output channels of the first stage: a multiple of the middle's, as `width` scales it.
    fn output_channels(&self, net: &ResNet) -> usize {
        match net.shape {
            Shape::Basic => self.channels(net.output),
            Shape::Bottleneck => self.channels(net.middle) * net.output / net.middle,
        }
    }

    fn resnet_stem(&self, net: &ResNet) -> StemConfig {
        let channels = self.channels(net.stem_channels);
        let deep = |first: usize, strides: [usize; 3], pool: StemPool| StemConfig {
            convs: vec![
                (3, self.channels(first), strides[0]),
                (3, self.channels(32), strides[1]),
                (3, channels, strides[2]),
            ],
            norm: true,
            activation: Activation::Relu,
            pool,
        };
        match (self.stem, net.stem) {
            (Stem::Imagenet, LargeStem::Deep) => deep(32, [2, 1, 1], StemPool::Max),
            (Stem::Imagenet, LargeStem::DeepResidual) => {
                let reduce = ResidualConfig {
                    shape: Shape::Bottleneck,
                    order: Order::PostActivation,
                    channels: [channels, self.channels(32), channels],
                    stride: 2,
                    stride_at: StrideAt::Second,
                    groups: 1,
                    shares_in: Shares::PLAIN,
                    shares_out: Shares::PLAIN,
                    squeeze_excite: false,
                    plain_norm: false,
                    shortcut: Shortcut::Projection,
                    strided: true,
                    zero_init: self.zero_init_residual,
                };
                deep(8, [1, 2, 1], StemPool::Residual(reduce))
            }
            // The blocks of a Wide ResNet share their first activation with the projection, so the
            // stem has none of its own.
            (stem, _) => StemConfig {
                norm: net.shortcut != Shortcut::SharedProjection,
                ..StemConfig::plain(stem, channels)
            },
        }
    }
}
