//! Turning the weights of a network into those of the same network at another α.

use std::collections::BTreeMap;

use burn::{
    store::{ModuleSnapshot, bridge},
    tensor::{Device, TensorData},
};

use super::{WeightsError, checkpoint::describe};
use crate::model::{Alpha, OctNet, OctNetConfig, Piece};

/// A parameter in row-major order.
#[derive(Debug, Clone)]
struct Values {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Parameters by path.
type Weights = BTreeMap<String, Values>;

impl OctNet {
    /// The same network at another α, with the same parameters in other places.
    ///
    /// Every vanilla kernel is cut in four and every norm in two, the *last* share of the channels
    /// becoming the low frequency — in each group of a grouped convolution, and with the order of
    /// channels that concatenation and shortcuts without parameters imply. From one octave network
    /// to another the pieces are put together first. So every number is kept and nothing is added;
    /// at α = 0 the vanilla network is back, to the bit.
    ///
    /// The function is not the same: the low channels lose what does not survive one octave, and
    /// pooling takes the place of strides. The result is a start for fine-tuning.
    ///
    /// # Errors
    ///
    /// A [`ModelError`](crate::model::ModelError) if the network cannot have this α.
    pub fn with_alpha(
        &self,
        config: &OctNetConfig,
        alpha: Alpha,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let target = OctNetConfig {
            alpha,
            ..config.clone()
        };
        let weights = glue(collect(self), &config.pieces()?);
        let weights = cut(&weights, &target.pieces()?);
        let mut model = target.try_init(device)?;
        let tensors = weights.into_iter().map(|(path, Values { shape, values })| {
            bridge::from_data(TensorData::new(values, shape), path, None)
        });
        let applied = model.apply(tensors.collect(), None, None, true);
        assert!(
            applied.errors.is_empty() && applied.missing.is_empty() && applied.unused.is_empty(),
            "the pieces are those of {}: {applied}",
            describe(&target)
        );
        Ok(model)
    }
}

fn collect(model: &OctNet) -> Weights {
    let tensors = model.collect(None, None, true).into_iter();
    let read = |tensor| {
        let data = bridge::to_data(&tensor).unwrap_or_else(|error| panic!("{error}"));
        let shape = data.shape().to_vec();
        let values = data.iter::<f32>().collect();
        (tensor.name, Values { shape, values })
    };
    tensors.map(read).collect()
}

impl Piece {
    /// Calls `visit` with the start, in the whole and in the piece, of each run of the last axes.
    fn runs(&self, whole: &[usize], mut visit: impl FnMut(usize, usize)) -> usize {
        let one = [0];
        let (columns, width) = match &self.columns {
            Some(columns) => (&columns[..], whole[1]),
            None => (&one[..], 1),
        };
        let run: usize = whole.iter().skip(2).product();
        let mut place = 0;
        for row in &self.rows {
            for column in columns {
                visit((row * width + column) * run, place);
                place += run;
            }
        }
        run
    }

    /// The shape of the piece.
    fn shape(&self, whole: &[usize]) -> Vec<usize> {
        let mut shape = whole.to_vec();
        shape[0] = self.rows.len();
        if let Some(columns) = &self.columns {
            shape[1] = columns.len();
        }
        shape
    }
}

/// Puts pieces together.
fn glue(mut parts: Weights, pieces: &[Piece]) -> Weights {
    let mut wholes: Weights = BTreeMap::new();
    for (whole, size) in sizes(pieces) {
        let part = pieces.iter().find(|piece| piece.whole == whole);
        let part = part.and_then(|piece| parts.get(&piece.name));
        let Some(part) = part else { continue };
        let mut shape = part.shape.clone();
        let axes = shape.len().min(2);
        shape[..axes].copy_from_slice(&size[..axes]);
        let values = vec![0.0; shape.iter().product()];
        wholes.insert(whole.into(), Values { shape, values });
    }
    for piece in pieces {
        let (Some(part), Some(whole)) = (parts.remove(&piece.name), wholes.get_mut(&piece.whole))
        else {
            continue;
        };
        let Values { shape, values } = whole;
        let run: usize = shape.iter().skip(2).product();
        piece.runs(shape, |from, to| {
            values[from..from + run].copy_from_slice(&part.values[to..to + run]);
        });
    }
    parts.extend(wholes);
    parts
}

/// The extents of the first two axes of every whole.
fn sizes(pieces: &[Piece]) -> BTreeMap<&str, [usize; 2]> {
    let mut sizes = BTreeMap::new();
    let last = |indices: &[usize]| indices.iter().max().map_or(0, |last| last + 1);
    for piece in pieces {
        let size: &mut [usize; 2] = sizes.entry(piece.whole.as_str()).or_default();
        size[0] = size[0].max(last(&piece.rows));
        size[1] = size[1].max(piece.columns.as_deref().map_or(0, last));
    }
    sizes
}

/// Cuts wholes in pieces.
fn cut(wholes: &Weights, pieces: &[Piece]) -> Weights {
    let mut parts = wholes.clone();
    for piece in pieces {
        parts.remove(&piece.whole);
    }
    for piece in pieces {
        let whole = &wholes[&piece.whole];
        let run: usize = whole.shape.iter().skip(2).product();
        let mut values = Vec::new();
        piece.runs(&whole.shape, |from, _| {
            values.extend_from_slice(&whole.values[from..from + run]);
        });
        let shape = piece.shape(&whole.shape);
        parts.insert(piece.name.clone(), Values { shape, values });
    }
    parts
}
