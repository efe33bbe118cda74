//! Where the parameters of a vanilla network go in an octave one of the same architecture.

use burn_octconv::OctConv2dConfig;

use super::{
    ModelError, OctResNetConfig,
    family::Tail,
    layers::Layer,
    wire::{Chain, Wire},
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

/// The parameters of a layer of a block.
fn layer_pieces(chain: &Chain, prefix: &str, name: &str, layer: &Layer, pieces: &mut Vec<Piece>) {
    let [before, after] = chain.around(name);
    let path = format!("{prefix}{name}");
    match layer {
        Layer::Conv(conv) => convolution(&path, conv, before, after, pieces),
        Layer::Norm { .. } if chain.pre_activation => norm(&path, before, pieces),
        Layer::Norm { .. } => norm(&path, after, pieces),
        Layer::PlainNorm { .. } => norm(&path, chain.input(), pieces),
        Layer::SqueezeExcite(config) => {
            let hidden = (config.channels / config.reduction).max(1);
            squeeze_excite(&path, hidden, after, pieces);
        }
        Layer::Linear { .. } => {}
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
                    layer_pieces(&chain, &prefix, name, layer, &mut pieces);
                }
                wire = chain.output;
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
