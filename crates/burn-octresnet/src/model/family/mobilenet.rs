use burn_octconv::ops::norm::Activation;

use super::{Blueprint, Tail};
use crate::model::{
    ModelError, OctNetConfig,
    block::{BlockConfig, InvertedConfig, SeparableConfig},
    stem::{StemConfig, StemPool},
};

impl OctNetConfig {
    /// `⌊base · factor · width⌋` channels: MobileNets round down.
    fn floor_channels(&self, base: usize, factor: f64) -> usize {
        ((base as f64 * factor * self.width) as usize).max(1)
    }

    fn mobilenet_stem(&self, factor: f64, activation: Activation) -> StemConfig {
        StemConfig {
            activation,
            ..StemConfig::single(3, self.floor_channels(32, factor), 2, StemPool::None)
        }
    }

    /// MobileNet v1. A depthwise convolution keeps the split of the block before it; the pointwise
    /// convolutions of blocks 1 to 10 leave with the α of their resolution, the last three with 0.
    ///
    /// Source: Howard et al., <https://arxiv.org/abs/1704.04861>, table 1; where α applies: the
    /// octave authors' code, <https://github.com/facebookresearch/OctConv>.
    pub(super) fn mobilenet_v1(&self, factor: f64) -> Result<Blueprint, ModelError> {
        // Output channels and stride of each block; the four groups are the four stages.
        const STAGES: [&[(usize, usize)]; 4] = [
            &[(64, 1), (128, 2), (128, 1)],
            &[(256, 2), (256, 1)],
            &[(512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)],
            &[(1024, 2), (1024, 1)],
        ];
        let alphas = self.alpha.alphas(self.arch, 4)?;
        let mut input = self.floor_channels(32, factor);
        let mut alpha_in = 0.0;
        let mut stages = Vec::new();
        for (stage, blocks) in STAGES.into_iter().enumerate() {
            let mut configs = Vec::new();
            for (index, &(output, stride)) in blocks.iter().enumerate() {
                let output = self.floor_channels(output, factor);
                // The third stage's last block leaves for the fourth, whose maps are small.
                let leaves = stage == 2 && index == blocks.len() - 1;
                let alpha_out = if leaves { 0.0 } else { alphas[stage] };
                configs.push(BlockConfig::Separable(SeparableConfig {
                    input,
                    output,
                    stride,
                    alpha_in,
                    alpha_out,
                    strided: self.strided(),
                }));
                (input, alpha_in) = (output, alpha_out);
            }
            stages.push(configs);
        }
        Ok(Blueprint {
            stem: self.mobilenet_stem(factor, Activation::Relu),
            stages,
            channels: input,
            tail: Tail::None,
        })
    }

    /// MobileNet v2. Only the inside of the first 13 blocks has two frequencies. The head's width
    /// grows with the network but does not shrink.
    ///
    /// Source: Sandler et al., <https://arxiv.org/abs/1801.04381>, table 2; where α applies: the
    /// octave authors' code, <https://github.com/facebookresearch/OctConv>.
    pub(super) fn mobilenet_v2(&self, factor: f64) -> Result<Blueprint, ModelError> {
        // Expansion, output channels, repetitions and first stride; the four groups are the four
        // stages.
        const STAGES: [&[(usize, usize, usize, usize)]; 4] = [
            &[(1, 16, 1, 1), (6, 24, 2, 2)],
            &[(6, 32, 3, 2)],
            &[(6, 64, 4, 2), (6, 96, 3, 1)],
            &[(6, 160, 3, 2), (6, 320, 1, 1)],
        ];
        let alphas = self.alpha.alphas(self.arch, 4)?;
        let mut input = self.floor_channels(32, factor);
        let mut stages = Vec::new();
        for (stage, rows) in STAGES.into_iter().enumerate() {
            let mut configs = Vec::new();
            for &(expansion, output, repetitions, first_stride) in rows {
                let output = self.floor_channels(output, factor);
                for index in 0..repetitions {
                    configs.push(BlockConfig::Inverted(InvertedConfig {
                        input,
                        expansion,
                        output,
                        stride: if index == 0 { first_stride } else { 1 },
                        alpha: alphas[stage],
                        strided: self.strided(),
                        zero_init: self.zero_init_residual,
                    }));
                    input = output;
                }
            }
            stages.push(configs);
        }
        Ok(Blueprint {
            stem: self.mobilenet_stem(factor, Activation::Relu6),
            stages,
            channels: input,
            tail: Tail::Conv((1280.0 * (factor * self.width).max(1.0)) as usize),
        })
    }
}
