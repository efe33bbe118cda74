use burn_octconv::ChannelSplit;

use super::{Blueprint, Tail};
use crate::model::{
    ModelError, OctNetConfig,
    block::{BlockConfig, DenseLayerConfig, TransitionConfig},
    stem::StemConfig,
};

impl OctNetConfig {
    /// DenseNet-121 (BC): growth 32, bottlenecks of four times that, dense blocks of 6, 12, 24 and
    /// 16 layers, transitions that halve the channels. A stage begins with its transition.
    ///
    /// Source: Huang et al., <https://arxiv.org/abs/1608.06993>, table 1; where α applies: the
    /// octave authors' code, <https://github.com/facebookresearch/OctConv>.
    pub(super) fn densenet_121(&self) -> Result<Blueprint, ModelError> {
        const LAYERS: [usize; 4] = [6, 12, 24, 16];
        let alphas = self.alpha.alphas(self.arch, 4)?;
        let growth = self.channels(32);
        let mut input = ChannelSplit::new(self.channels(64), 0.0)?;
        let mut stages = Vec::new();
        for (stage, &alpha) in alphas.iter().enumerate() {
            let mut blocks = Vec::new();
            if stage > 0 {
                let output = input.total() / 2;
                blocks.push(BlockConfig::Transition(TransitionConfig {
                    input,
                    output,
                    alpha_out: alpha,
                    vanilla: self.alpha.is_vanilla(),
                }));
                input = ChannelSplit::new(output, alpha)?;
            }
            for _ in 0..LAYERS[stage] {
                let layer = DenseLayerConfig {
                    input,
                    middle: 4 * growth,
                    growth,
                    alpha,
                };
                input = layer.output()?;
                blocks.push(BlockConfig::Dense(layer));
            }
            stages.push(blocks);
        }
        Ok(Blueprint {
            stem: StemConfig::plain(self.stem, self.channels(64)),
            stages,
            channels: input.total(),
            tail: Tail::Norm,
        })
    }
}
