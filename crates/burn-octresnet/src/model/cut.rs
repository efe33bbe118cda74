//! Where the parameters of a vanilla network go in an octave one of the same architecture.

use super::{
    ModelError, OctNetConfig, Shares,
    conv::ConvSpec,
    family::Tail,
    layers::{Layer, hidden},
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

/// The parameters of a layer of a block, of layers for more than two frequencies or (not `many`) for
/// two.
fn layer_pieces(
    chain: &Chain,
    (prefix, name): (&str, &str),
    layer: &Layer,
    many: bool,
    pieces: &mut Vec<Piece>,
) -> Result<(), ModelError> {
    let [before, after] = chain.around(name);
    let path = format!("{prefix}{name}");
    match layer {
        Layer::Conv(spec) => convolution(&path, spec, many, [before, after], pieces)?,
        Layer::Norm { .. } if chain.pre_activation => norm(&path, many, before, pieces),
        Layer::Norm { .. } => norm(&path, many, after, pieces),
        Layer::PlainNorm { .. } => norm(&path, many, chain.input(), pieces),
        Layer::SqueezeExcite { channels, .. } => {
            squeeze_excite(&path, many, hidden(*channels), after, pieces);
        }
        Layer::Linear { .. } => {}
    }
    Ok(())
}

/// The groups that a path leads from and to.
type Ends = (usize, usize);

/// The kernels of a layer by name, each with the groups that it leads from and to.
fn kernels(spec: &ConvSpec, many: bool) -> Result<Vec<(String, Ends)>, ModelError> {
    let two = [
        ("h2h", (0, 0)),
        ("h2l", (0, 1)),
        ("l2h", (1, 0)),
        ("l2l", (1, 1)),
    ];
    Ok(match many {
        false => two.map(|(name, ends)| (name.into(), ends)).into(),
        true => {
            let paths = spec.many().plan()?.paths.into_iter().enumerate();
            let named = paths.map(|(i, path)| (format!("kernels.{i}"), (path.from, path.to)));
            named.collect()
        }
    })
}

fn convolution(
    path: &str,
    spec: &ConvSpec,
    many: bool,
    [input, output]: [&Wire; 2],
    pieces: &mut Vec<Piece>,
) -> Result<(), ModelError> {
    let depthwise = spec.is_depthwise();
    // Within its group of the convolution, a channel's column counts from the group's first channel.
    let columns = |from: usize| match (depthwise, spec.groups) {
        (true, _) => vec![0],
        (false, 1) => input.groups[from].clone(),
        (false, groups) => {
            let length = |wire: &Vec<usize>| wire.len() / groups;
            let first = input.groups[..from].iter().map(length).sum();
            (first..first + length(&input.groups[from])).collect()
        }
    };
    let channels = |wire: &Wire, level: usize| wire.groups.get(level).map_or(0, Vec::len);
    for (kernel, (from, to)) in kernels(spec, many)? {
        if channels(output, to) == 0 || channels(input, from) == 0 || depthwise && from != to {
            continue;
        }
        pieces.push(Piece {
            name: format!("{path}.{kernel}"),
            whole: format!("{path}.h2h"),
            rows: output.groups[to].clone(),
            columns: Some(columns(from)),
        });
    }
    Ok(())
}

/// What the part of a layer is called that belongs to a frequency.
fn part(many: bool, level: usize, two: &str, more: &str) -> String {
    match (many, level) {
        (true, level) => format!("{more}.{level}"),
        (false, 0) => format!("{two}high"),
        (false, _) => format!("{two}low"),
    }
}

fn norm(path: &str, many: bool, wire: &Wire, pieces: &mut Vec<Piece>) {
    for (level, channels) in wire.levels() {
        let group = part(many, level, "", "groups");
        for parameter in ["gamma", "beta", "running_mean", "running_var"] {
            pieces.push(Piece {
                name: format!("{path}.{group}.{parameter}"),
                whole: format!("{path}.high.{parameter}"),
                rows: channels.to_vec(),
                columns: None,
            });
        }
    }
}

fn squeeze_excite(path: &str, many: bool, hidden: usize, wire: &Wire, pieces: &mut Vec<Piece>) {
    let all: Vec<usize> = (0..hidden).collect();
    let mut push = |name: &str, whole: &str, rows: &[usize], columns: Option<&[usize]>| {
        pieces.push(Piece {
            name: format!("{path}.{name}"),
            whole: format!("{path}.{whole}"),
            rows: rows.to_vec(),
            columns: columns.map(<[usize]>::to_vec),
        });
    };
    let weight = "squeeze.weight";
    push(weight, weight, &wire.joined(), Some(&all));
    push("squeeze.bias", "squeeze.bias", &all, None);
    for (level, channels) in wire.levels() {
        let excite = part(many, level, "excite_", "excite");
        let [weight, bias] = ["weight", "bias"].map(|name| format!("{excite}.{name}"));
        push(&weight, "excite_high.weight", &all, Some(channels));
        push(&bias, "excite_high.bias", channels, None);
    }
}

impl OctNetConfig {
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
        let mut wire = Wire::new(stem, Shares::PLAIN, 1)?;
        for (stage, blocks) in blueprint.stages.iter().enumerate() {
            for (index, block) in blocks.iter().enumerate() {
                let prefix = format!("layer{}.{index}.", stage + 1);
                let chain = block.chain(wire)?;
                for (name, layer) in block.layers().iter() {
                    let place = (prefix.as_str(), name);
                    layer_pieces(&chain, place, layer, block.is_many(), &mut pieces)?;
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
