//! What remains to be computed of a feature map, and its computation.
//!
//! ```text
//! activation(norm(operation) + residual)
//! ```
//!
//! is one pass of the engine: the norm is in the packed kernels, the rest is done where a result is
//! stored. So is the pooling for the next layer.

use std::sync::Arc;

use octave_engine::{
    Isa,
    affine::{Affine, AffineWeights},
    conv::{
        Activation, Coarse, Depthwise, DepthwiseWeights, Output, Product, Source, depthwise, run,
    },
};
use octave_plan::Plan;

use super::{
    map::{Map, Maps, Needs},
    memory::Lent,
    packed::{Packed, PackedKernels, Reading},
};
use crate::{
    conv::Statistics,
    lowered::{Sum, values},
    ops::OctKernels,
};

/// The norms of both groups, by level.
pub(super) type Norm = [Option<Statistics>; 2];

/// A feature map that is not computed yet.
pub(super) struct Work {
    pub(super) operation: Operation,
    pub(super) norm: Option<Norm>,
    pub(super) residual: Option<Maps>,
    pub(super) activation: Activation,
}

pub(super) enum Operation {
    Conv(Box<Conv>),
    /// The map itself: a norm, a sum or an activation of what is computed already.
    Same(Maps),
}

pub(super) struct Conv {
    pub(super) plan: Plan<2>,
    pub(super) kernels: OctKernels,
    pub(super) packed: PackedKernels,
    pub(super) inputs: Maps,
}

impl Operation {
    pub(super) fn alone(self) -> Work {
        Work {
            operation: self,
            norm: None,
            residual: None,
            activation: Activation::Identity,
        }
    }

    fn takes_residual(&self) -> bool {
        !matches!(self, Self::Conv(conv) if conv.plan.is_depthwise())
    }
}

/// A result, and where it goes.
struct Target {
    map: Lent,
    pooled: Option<Lent>,
}

impl Target {
    fn new(dims: [usize; 4], needs: &Needs) -> Self {
        let [n, c, h, w] = dims;
        let half = [n, c, h.div_ceil(2), w.div_ceil(2)];
        // What is pooled twice is pooled from this, which needs no border.
        let pooled = needs[1].or(needs[2].map(|_| 0));
        Self {
            map: Lent::new(dims, needs[0].unwrap_or(0)),
            pooled: pooled.map(|pad| Lent::new(half, pad)),
        }
    }
}

impl Work {
    /// Whether a norm can be computed in the same pass.
    pub(super) fn takes_norm(&self) -> bool {
        self.norm.is_none() && self.residual.is_none() && self.takes_activation()
    }

    /// Whether a sum can be computed in the same pass.
    pub(super) fn takes_residual(&self) -> bool {
        self.residual.is_none() && self.takes_activation() && self.operation.takes_residual()
    }

    /// Whether an activation can be computed in the same pass.
    pub(super) fn takes_activation(&self) -> bool {
        self.activation == Activation::Identity
    }

    /// Computes the groups of shapes `dims`, in the forms that the next layer needs.
    pub(super) fn run(&self, dims: [[usize; 4]; 2], needs: &[Needs; 2]) -> [Option<Map>; 2] {
        let target =
            |level: usize| (dims[level][1] > 0).then(|| Target::new(dims[level], &needs[level]));
        let mut targets = [0, 1].map(target);
        match &self.operation {
            Operation::Conv(conv) => self.convolve(conv, &mut targets),
            Operation::Same(maps) => self.pass(maps, &mut targets),
        }
        targets.map(|target| target.map(|target| Map::new(target.map, target.pooled)))
    }

    fn residual(&self, level: usize) -> Option<Arc<Lent>> {
        let map = self.residual.as_ref()?[level].as_ref();
        Some(map.expect("a residual of the same groups").get(0, 0))
    }

    fn convolve(&self, conv: &Conv, targets: &mut [Option<Target>; 2]) {
        let packed = conv
            .packed
            .of(&conv.plan, &conv.kernels, self.norm.as_ref());
        // Whether the engine has kernels for the layer was asked when the work was made.
        match &*packed.unwrap_or_else(|e| panic!("the engine cannot compute {e}")) {
            Packed::Sums(sums) => self.sums(conv, sums, targets),
            Packed::Depthwise(weights) => self.depthwise(conv, weights, targets),
        }
    }

    fn sums(
        &self,
        conv: &Conv,
        sums: &[Option<Sum<Reading>>; 2],
        targets: &mut [Option<Target>; 2],
    ) {
        let reads: Vec<_> = (0..2)
            .filter_map(|l| Some(Reads::new(self, conv, sums[l].as_ref()?, l)))
            .collect();
        let targets = targets.iter_mut().flatten();
        let products = reads.iter().zip(targets).map(|(reads, target)| {
            let [n, _, h, w] = target.map.dims();
            Product {
                weights: &reads.sum.weights,
                sources: sources(&reads.sum.sources, &reads.fine),
                coarse: reads.sum.coarse.as_ref().map(|(weights, readings)| Coarse {
                    weights,
                    sources: sources(readings, &reads.coarse),
                    spread: false,
                }),
                residual: reads.residual.as_ref().map(|map| &***map),
                activation: self.activation,
                size: [n, h, w],
                output: Output::Map(&mut target.map, 0),
                pooled: target.pooled.as_deref_mut(),
            }
        });
        run(Isa::best(), products.collect());
    }

    fn depthwise(
        &self,
        conv: &Conv,
        weights: &[Option<DepthwiseWeights>; 2],
        targets: &mut [Option<Target>; 2],
    ) {
        let plan = &conv.plan;
        let padding = plan
            .fused_padding()
            .expect("the engine has kernels for the layer");
        let pad = padding.into_iter().max().unwrap_or(0);
        let paths = plan.paths.iter();
        let inputs: Vec<_> = paths
            .map(|path| conv.input(path.from, path.pool, pad))
            .collect();
        let [high, low] = targets;
        let mut targets = [high.as_mut(), low.as_mut()];
        let layers = plan.paths.iter().zip(&inputs).map(|(path, input)| {
            let target = targets[path.to]
                .take()
                .expect("the group that a path is added to");
            Depthwise {
                weights: weights[path.to].as_ref().expect("the kernel of a path"),
                input,
                stride: path.stride,
                padding,
                activation: self.activation,
                output: &mut target.map,
                pooled: target.pooled.as_deref_mut(),
            }
        });
        depthwise(Isa::best(), layers.collect());
    }

    fn pass(&self, maps: &Maps, targets: &mut [Option<Target>; 2]) {
        for (level, (map, target)) in maps.iter().zip(targets).enumerate() {
            let (Some(map), Some(target)) = (map, target) else {
                continue;
            };
            let norm = self.norm.as_ref().and_then(|norm| norm[level].as_ref());
            let weights = weights(norm, map.dims()[1]);
            let (input, residual) = (map.get(0, 0), self.residual(level));
            let affine = Affine {
                weights: &weights,
                input: &input,
                residual: residual.as_ref().map(|map| &***map),
                activation: self.activation,
                output: &mut target.map,
                pooled: target.pooled.as_deref_mut(),
            };
            affine.run(Isa::best());
        }
    }
}

/// Scale and shift of a norm; one and zero without.
fn weights(norm: Option<&Statistics>, channels: usize) -> AffineWeights {
    let Some(affine) = norm.map(Statistics::affine) else {
        return AffineWeights::new(&vec![1.0; channels], &vec![0.0; channels]);
    };
    let [scale, shift] = [affine.scale, affine.shift].map(values);
    let values = scale.and_then(|scale| Ok((scale, shift?)));
    let (scale, shift) = values.unwrap_or_else(|e| panic!("the engine cannot compute {e}"));
    AffineWeights::new(&scale, &shift)
}

impl Conv {
    fn input(&self, level: usize, halvings: usize, pad: usize) -> Arc<Lent> {
        let map = self.inputs[level].as_ref();
        map.expect("the group that a path reads").get(halvings, pad)
    }

    fn read(&self, readings: &[Reading]) -> Vec<Arc<Lent>> {
        let read = |reading: &Reading| {
            let pad = reading.padding.into_iter().max().unwrap_or(0);
            self.input(reading.level, reading.halvings, pad)
        };
        readings.iter().map(read).collect()
    }
}

/// The maps that a product reads, held while it is computed.
struct Reads<'a> {
    sum: &'a Sum<Reading>,
    fine: Vec<Arc<Lent>>,
    coarse: Vec<Arc<Lent>>,
    residual: Option<Arc<Lent>>,
}

impl<'a> Reads<'a> {
    fn new(work: &Work, conv: &Conv, sum: &'a Sum<Reading>, level: usize) -> Self {
        let coarse = sum.coarse.as_ref();
        Self {
            sum,
            fine: conv.read(&sum.sources),
            coarse: coarse.map_or_else(Vec::new, |(_, readings)| conv.read(readings)),
            residual: work.residual(level),
        }
    }
}

fn sources<'a>(readings: &[Reading], maps: &'a [Arc<Lent>]) -> Vec<Source<'a>> {
    let sources = readings.iter().zip(maps);
    let source = |(reading, map): (&Reading, &'a Arc<Lent>)| Source {
        map,
        first_block: 0,
        stride: reading.stride,
        padding: reading.padding,
    };
    sources.map(source).collect()
}
