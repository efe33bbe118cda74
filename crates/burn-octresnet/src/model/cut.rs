//! Where the parameters of a vanilla network go in an octave one of the same architecture.

use burn_octconv::{ChannelSplit, OctConv2dConfig, OctConvError};

use super::{
    BlockConfig, ModelError, OctResNetConfig, ResidualConfig, Shape, Shortcut, family::Tail,
    layers::Layer,
};

/// One parameter of an octave network as rows and columns of a parameter of the vanilla network.
///
/// Rows and columns are those of the first two axes; a parameter of one axis has no columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    /// Path of the parameter in the octave network, without variants of blocks.
    pub(crate) name: String,
    /// Path in the vanilla network.
    pub(crate) whole: String,
    pub(crate) rows: Vec<usize>,
    pub(crate) columns: Option<Vec<usize>>,
}

/// The channels of a vanilla map in the order in which an octave map has them.
#[derive(Debug, Clone, PartialEq)]
struct Wire {
    high: Vec<usize>,
    low: Vec<usize>,
}

impl Wire {
    /// The last channels become the low group; in a map that a grouped convolution reads or
    /// writes, the last ones of each of its groups.
    fn new(channels: usize, alpha: f64, groups: usize) -> Result<Self, OctConvError> {
        let split = ChannelSplit::new(channels, alpha)?;
        let (size, high) = (channels / groups, split.high / groups);
        let part = |range: std::ops::Range<usize>| {
            (0..groups)
                .flat_map(|group| range.clone().map(move |c| group * size + c))
                .collect()
        };
        Ok(Self {
            high: part(0..high),
            low: part(high..size),
        })
    }

    /// High channels first.
    fn joined(&self) -> Vec<usize> {
        [&self.high[..], &self.low].concat()
    }

    /// What a [`PadShortcut`](super::PadShortcut) makes of the map: channels without room change the frequency, and
    /// new channels are appended to both.
    fn padded(&self, output: ChannelSplit) -> Self {
        let keep = |channels: &[usize], room: usize| {
            let (kept, moved) = channels.split_at(room.min(channels.len()));
            (kept.to_vec(), moved.to_vec())
        };
        let (mut high, down) = keep(&self.high, output.high);
        let (mut low, up) = keep(&self.low, output.low);
        high.extend(up);
        low.extend(down);
        let mut new = high.len() + low.len()..;
        high.extend(new.by_ref().take(output.high - high.len()));
        low.extend(new.take(output.low - low.len()));
        Self { high, low }
    }
}

/// The maps that a block's convolutions lie between, and on which side of them the norms stand.
struct Chain {
    wires: Vec<Wire>,
    pre_activation: bool,
}

impl Chain {
    fn first(&self) -> &Wire {
        &self.wires[0]
    }

    fn last(&self) -> &Wire {
        &self.wires[self.wires.len() - 1]
    }

    /// The maps before and after the layer called `name`.
    fn around(&self, name: &str) -> [&Wire; 2] {
        if name.starts_with("downsample.") || name == "se" {
            return [self.first(), self.last()];
        }
        let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number: usize = number.parse().unwrap_or(1);
        [&self.wires[number - 1], &self.wires[number]]
    }

    /// The parameters of a layer.
    fn pieces(&self, prefix: &str, name: &str, layer: &Layer, pieces: &mut Vec<Piece>) {
        let [before, after] = self.around(name);
        let path = format!("{prefix}{name}");
        match layer {
            Layer::Conv(conv) => convolution(&path, conv, before, after, pieces),
            Layer::Norm { .. } if self.pre_activation => norm(&path, before, pieces),
            Layer::Norm { .. } => norm(&path, after, pieces),
            Layer::PlainNorm { .. } => norm(&path, self.first(), pieces),
            Layer::SqueezeExcite(config) => {
                let hidden = (config.channels / config.reduction).max(1);
                squeeze_excite(&path, hidden, after, pieces);
            }
            Layer::Linear { .. } => {}
        }
    }
}

fn convolution(
    path: &str,
    conv: &OctConv2dConfig,
    input: &Wire,
    output: &Wire,
    pieces: &mut Vec<Piece>,
) {
    let depthwise = conv.groups > 1 && conv.channels == [conv.groups; 2];
    // Within its group, a channel's column counts from the group's first channel.
    let columns = |wire: &[usize], first: usize| match (depthwise, conv.groups) {
        (true, _) => vec![0],
        (false, 1) => wire.to_vec(),
        (false, groups) => (first..first + wire.len() / groups).collect(),
    };
    let high = columns(&input.high, 0);
    let low = columns(&input.low, high.len());
    for (kernel, rows, from, columns) in [
        ("h2h", &output.high, &input.high, &high),
        ("h2l", &output.low, &input.high, &high),
        ("l2h", &output.high, &input.low, &low),
        ("l2l", &output.low, &input.low, &low),
    ] {
        let exchange = matches!(kernel, "h2l" | "l2h");
        if rows.is_empty() || from.is_empty() || depthwise && exchange {
            continue;
        }
        pieces.push(Piece {
            name: format!("{path}.{kernel}"),
            whole: format!("{path}.h2h"),
            rows: rows.clone(),
            columns: Some(columns.clone()),
        });
    }
}

fn norm(path: &str, wire: &Wire, pieces: &mut Vec<Piece>) {
    for (group, channels) in [("high", &wire.high), ("low", &wire.low)] {
        for parameter in ["gamma", "beta", "running_mean", "running_var"] {
            if !channels.is_empty() {
                pieces.push(Piece {
                    name: format!("{path}.{group}.{parameter}"),
                    whole: format!("{path}.high.{parameter}"),
                    rows: channels.clone(),
                    columns: None,
                });
            }
        }
    }
}

fn squeeze_excite(path: &str, hidden: usize, wire: &Wire, pieces: &mut Vec<Piece>) {
    let all: Vec<usize> = (0..hidden).collect();
    let mut push = |name: &str, whole: &str, rows: &[usize], columns: Option<&[usize]>| {
        pieces.push(Piece {
            name: format!("{path}.{name}"),
            whole: format!("{path}.{whole}"),
            rows: rows.to_vec(),
            columns: columns.map(<[usize]>::to_vec),
        });
    };
    push(
        "squeeze.weight",
        "squeeze.weight",
        &wire.joined(),
        Some(&all),
    );
    push("squeeze.bias", "squeeze.bias", &all, None);
    for (group, channels) in [("high", &wire.high), ("low", &wire.low)] {
        if !channels.is_empty() {
            let (weight, bias) = (
                format!("excite_{group}.weight"),
                format!("excite_{group}.bias"),
            );
            push(&weight, "excite_high.weight", &all, Some(channels));
            push(&bias, "excite_high.bias", channels, None);
        }
    }
}

impl ResidualConfig {
    fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let [_, middle, output] = self.channels;
        let last = match self.shortcut {
            Shortcut::Identity => input.clone(),
            Shortcut::Pad => input.padded(ChannelSplit::new(output, self.alpha_out)?),
            Shortcut::Projection | Shortcut::SharedProjection => {
                Wire::new(output, self.alpha_out, 1)?
            }
        };
        let wires = match self.shape {
            Shape::Basic => vec![input, last.clone(), last],
            Shape::Bottleneck => {
                let middle = Wire::new(middle, self.alpha_out, self.groups)?;
                vec![input, middle.clone(), middle, last]
            }
        };
        Ok(Chain {
            wires,
            pre_activation: self.order == super::Order::PreActivation,
        })
    }
}

impl BlockConfig {
    /// The maps within the block, of which the last is what its last convolution returns.
    fn chain(&self, input: Wire) -> Result<Chain, OctConvError> {
        let post = |wires| Chain {
            wires,
            pre_activation: false,
        };
        let pre = |wires| Chain {
            wires,
            pre_activation: true,
        };
        Ok(match self {
            Self::Residual(block) => block.chain(input)?,
            Self::Separable(block) => {
                let output = Wire::new(block.output, block.alpha_out, 1)?;
                post(vec![input.clone(), input, output])
            }
            Self::Inverted(block) => {
                let middle = Wire::new(block.input * block.expansion, block.alpha, 1)?;
                let output = Wire::new(block.output, 0.0, 1)?;
                post(vec![input, middle.clone(), middle, output])
            }
            Self::Dense(block) => {
                let middle = Wire::new(block.middle, block.alpha, 1)?;
                let new = Wire::new(block.growth, block.alpha, 1)?;
                pre(vec![input, middle, new])
            }
            Self::Transition(block) => {
                let output = Wire::new(block.output, block.alpha_out, 1)?;
                pre(vec![input, output])
            }
        })
    }

    /// What the block hands on.
    fn output_wire(&self, chain: &Chain) -> Wire {
        let Self::Dense(_) = self else {
            return chain.last().clone();
        };
        // The new channels are appended to each frequency, and to the whole in a vanilla network.
        let (old, new) = (chain.first(), chain.last());
        let first = old.high.len() + old.low.len();
        let join = |old: &[usize], new: &[usize]| {
            let new = new.iter().map(|channel| first + channel);
            old.iter().copied().chain(new).collect()
        };
        Wire {
            high: join(&old.high, &new.high),
            low: join(&old.low, &new.low),
        }
    }
}

impl OctResNetConfig {
    /// The parameters that are not those of the vanilla network as they are: nearly all of the
    /// stages'. What is not listed is the same in both.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] that names the illegal value.
    pub(crate) fn pieces(&self) -> Result<Vec<Piece>, ModelError> {
        self.validate()?;
        let blueprint = self.blueprint()?;
        let mut pieces = Vec::new();
        let stem = match blueprint.stem.convs.last() {
            Some(&(_, channels, _)) => channels,
            None => 3,
        };
        let mut wire = Wire::new(stem, 0.0, 1)?;
        for (stage, blocks) in blueprint.stages.iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                let prefix = format!("layer{}.{index}.", stage + 1);
                let chain = block.chain(wire)?;
                for (name, layer) in block.layers().iter() {
                    chain.pieces(&prefix, name, layer, &mut pieces);
                }
                wire = block.output_wire(&chain);
            }
        }
        tail(&blueprint.tail, self.num_classes, &wire, &mut pieces);
        Ok(pieces)
    }
}

/// The last stage has no low frequency, but its channels may have come in another order.
fn tail(tail: &Tail, num_classes: usize, wire: &Wire, pieces: &mut Vec<Piece>) {
    let mut push = |name: &str, rows: Vec<usize>, columns: Option<Vec<usize>>| {
        pieces.push(Piece {
            name: name.into(),
            whole: name.into(),
            rows,
            columns,
        });
    };
    let classes = (0..num_classes).collect();
    match tail {
        Tail::None => push("fc.weight", wire.joined(), Some(classes)),
        Tail::Norm => {
            for parameter in ["gamma", "beta", "running_mean", "running_var"] {
                push(&format!("norm.{parameter}"), wire.joined(), None);
            }
            push("fc.weight", wire.joined(), Some(classes));
        }
        Tail::Conv(output) => {
            let rows = (0..*output).collect();
            push("last.conv.weight", rows, Some(wire.joined()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(high: &[usize], low: &[usize]) -> Wire {
        Wire {
            high: high.to_vec(),
            low: low.to_vec(),
        }
    }

    #[test]
    fn the_last_channels_of_every_group_are_low() {
        assert_eq!(Wire::new(5, 0.5, 1).unwrap(), wire(&[0, 1, 2], &[3, 4]));
        let grouped = Wire::new(8, 0.25, 2).unwrap();
        assert_eq!(grouped, wire(&[0, 1, 2, 4, 5, 6], &[3, 7]));
    }

    #[test]
    fn a_padded_map_keeps_its_channels_and_appends_new_ones() {
        let split = |high, low| ChannelSplit { high, low };
        let enter = wire(&[0, 1, 2, 3], &[]).padded(split(2, 2));
        assert_eq!(enter, wire(&[0, 1], &[2, 3]));
        let widen = enter.padded(split(4, 4));
        assert_eq!(widen, wire(&[0, 1, 4, 5], &[2, 3, 6, 7]));
        let leave = widen.padded(split(16, 0));
        assert_eq!(leave.high[..8], [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(leave.high[8..], [8, 9, 10, 11, 12, 13, 14, 15]);
    }
}
