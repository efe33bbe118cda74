//! Computing what is noted of a feature map.

use std::sync::Arc;

use burn::tensor::Tensor;
use octave_engine::{
    Isa,
    affine::{Affine, AffineWeights},
    conv::{
        Activation, Coarse, Depthwise, DepthwiseWeights, Output, Product, Source, Stem,
        StemWeights, depthwise, run,
    },
    pool::{average_pool2, max_pool3},
};
use octave_plan::Refusal;

use super::{
    layer::{self, Norm},
    lowered::{scale_shift, values},
    map::{Map, Maps, Needs},
    memory::Lent,
    packed::{Packed, Reading, Sum},
    work::{Blocked, Conv, First, Operation, Work},
};
use crate::ops::flex::tensor::{contiguous, flex_tensor};

/// A result, and where it goes.
struct Target {
    dims: [usize; 4],
    map: Option<Lent>,
    pooled: Option<Lent>,
}

impl Target {
    fn new(dims: [usize; 4], needs: &Needs) -> Self {
        let [n, c, h, w] = dims;
        let half = [n, c, h.div_ceil(2), w.div_ceil(2)];
        // What is pooled twice is pooled from this, which needs no border.
        let pooled = needs[1].or(needs[2].map(|_| 0));
        // One of the two is there in any case.
        let map = needs[0].or(pooled.is_none().then_some(0));
        Self {
            dims,
            map: map.map(|pad| Lent::new(dims, pad)),
            pooled: pooled.map(|pad| Lent::new(half, pad)),
        }
    }

    /// The map as it is, for operations that cannot but write it.
    fn map(&mut self) -> (&mut Lent, Option<&mut Lent>) {
        let map = self.map.get_or_insert_with(|| Lent::new(self.dims, 0));
        (map, self.pooled.as_mut())
    }

    /// Averages the map, after a kernel that does not do so itself.
    fn pool(&mut self) {
        if let (map, Some(pooled)) = self.map() {
            average_pool2(Isa::best(), map, pooled);
        }
    }

    fn into_map(self) -> Map {
        Map::new(self.dims, [self.map, self.pooled])
    }
}

/// By level; none where there are no channels.
type Targets = [Option<Target>; 2];

/// Whether the engine has kernels for an operation was asked when it was noted.
fn known<T>(result: Result<T, Refusal>) -> T {
    result.unwrap_or_else(|e| panic!("the engine cannot compute {e}"))
}

impl Work {
    /// Computes the groups of shapes `dims`, in the forms that others need. Everything that is read
    /// must have been computed.
    pub(super) fn run(&self, dims: [[usize; 4]; 2], needs: &[Needs; 2]) -> [Option<Map>; 2] {
        let pad = |level: usize| needs[level][0].unwrap_or(0);
        match &self.operation {
            Operation::Plain(groups) => [0, 1].map(|level| {
                let x = groups[level].clone()?;
                Some(Map::from_tensor(x, pad(level)))
            }),
            Operation::Half(map) => {
                let maps = map.maps();
                [0, 1].map(|level| Some(Map::half_of(maps[level].as_ref()?, pad(level))))
            }
            operation => {
                let target = |level: usize| {
                    let dims = dims[level];
                    (dims[1] > 0).then(|| Target::new(dims, &needs[level]))
                };
                let mut targets = [0, 1].map(target);
                self.write(operation, &mut targets);
                targets.map(|target| Some(target?.into_map()))
            }
        }
    }

    fn write(&self, operation: &Operation, targets: &mut Targets) {
        match operation {
            Operation::First(first) => first.run(self.activation, targets),
            Operation::Conv(convs) => self.convolve(convs, targets),
            Operation::Pass(parts, norm) => self.pass(parts, norm.as_ref(), targets),
            Operation::Scale(map, gates) => self.scale(map, gates, targets),
            Operation::MaxPool(map) => max_pool(&map.maps(), targets),
            Operation::Plain(_) | Operation::Half(_) => unreachable!("maps that are not written"),
        }
    }

    fn residual(&self, level: usize) -> Option<Arc<Lent>> {
        let maps = self.residual.as_ref()?.maps();
        let map = maps[level].as_ref();
        Some(map.expect("a residual of the same groups").get(0, 0))
    }

    fn convolve(&self, convs: &[Conv], targets: &mut Targets) {
        let layers: Vec<_> = convs.iter().map(|conv| &conv.layer).collect();
        let packed = known(layer::packed(&layers, false));
        let inputs: Vec<_> = convs.iter().map(|conv| conv.input.maps()).collect();
        match &*packed {
            Packed::Sums(sums) => self.sums(&inputs, sums, targets),
            Packed::Depthwise(weights) => self.depthwise(&convs[0], weights, targets),
            Packed::First(_) => unreachable!("kernels that read images"),
        }
    }

    fn sums(&self, inputs: &[Maps], sums: &[Option<Sum>; 2], targets: &mut Targets) {
        let reads: Vec<_> = (0..2)
            .filter_map(|l| Some(Reads::new(self, inputs, sums[l].as_ref()?, l)))
            .collect();
        let targets = targets.iter_mut().flatten();
        let products = reads.iter().zip(targets).map(|(reads, target)| {
            let [n, _, h, w] = target.dims;
            let coarse = reads.sum.coarse.iter();
            let coarse = coarse.map(|(weights, readings)| Coarse {
                weights,
                sources: sources(readings, &reads.coarse),
                spread: false,
            });
            Product {
                weights: &reads.sum.weights,
                sources: sources(&reads.sum.sources, &reads.fine),
                coarse: coarse.collect(),
                residual: reads.residual.as_ref().map(|map| &***map),
                activation: self.activation,
                size: [n, h, w],
                output: match &mut target.map {
                    Some(map) => Output::Map(map, 0),
                    None => Output::Nowhere,
                },
                pooled: target.pooled.as_deref_mut(),
            }
        });
        run(Isa::best(), products.collect());
    }

    fn depthwise(
        &self,
        conv: &Conv,
        weights: &[Option<DepthwiseWeights>; 2],
        targets: &mut Targets,
    ) {
        let (plan, padding) = (&conv.layer.plan, conv.layer.padding());
        let pad = padding.into_iter().max().unwrap_or(0);
        let (paths, maps) = (plan.paths.iter(), conv.input.maps());
        let inputs: Vec<_> = paths
            .map(|path| input(&maps, path.from, path.pool, pad))
            .collect();
        let [high, low] = targets;
        let mut targets = [high.as_mut(), low.as_mut()];
        let layers = plan.paths.iter().zip(&inputs).map(|(path, input)| {
            let target = targets[path.to]
                .take()
                .expect("the group that a path is added to");
            let (output, pooled) = target.map();
            Depthwise {
                weights: weights[path.to].as_ref().expect("the kernel of a path"),
                input,
                stride: path.stride,
                padding,
                activation: self.activation,
                output,
                pooled: pooled.map(|map| &mut **map),
            }
        });
        depthwise(Isa::best(), layers.collect());
    }

    fn pass(&self, parts: &[Blocked], norm: Option<&Norm>, targets: &mut Targets) {
        let maps: Vec<_> = parts.iter().map(Blocked::maps).collect();
        for (level, target) in targets.iter_mut().enumerate() {
            let Some(target) = target else { continue };
            let norm = norm.and_then(|norm| norm[level].as_ref());
            let scale_shift = norm.map(|norm| known(scale_shift(norm)));
            let residual = self.residual(level);
            let mut first = 0;
            for map in maps.iter().filter_map(|maps| maps[level].as_ref()) {
                let channels = first..first + map.dims()[1];
                let weights = match &scale_shift {
                    Some([scale, shift]) => {
                        AffineWeights::new(&scale[channels.clone()], &shift[channels.clone()])
                    }
                    None => unchanged(channels.len()),
                };
                self.affine(map, &weights, residual.as_deref(), target, first);
                first = channels.end;
            }
        }
    }

    fn scale(&self, map: &Blocked, gates: &[Option<Tensor<2>>; 2], targets: &mut Targets) {
        let maps = map.maps();
        let levels = maps.iter().zip(gates).zip(targets).enumerate();
        for (level, ((map, gates), target)) in levels {
            if let (Some(map), Some(gates), Some(target)) = (map, gates, target) {
                let [images, _] = gates.dims();
                let weights = AffineWeights::of_images(&known(values(gates.clone())), images);
                let residual = self.residual(level);
                self.affine(map, &weights, residual.as_deref(), target, 0);
            }
        }
    }

    /// Writes a map to the channels of the target from `first` on.
    fn affine(
        &self,
        map: &Map,
        weights: &AffineWeights,
        residual: Option<&Lent>,
        target: &mut Target,
        first: usize,
    ) {
        let (output, pooled) = target.map();
        let affine = Affine {
            weights,
            input: &map.get(0, 0),
            residual: residual.map(|map| &**map),
            activation: self.activation,
            output,
            pooled: pooled.map(|map| &mut **map),
            first_block: first / octave_engine::BLOCK,
        };
        affine.run(Isa::best());
    }
}

/// A scale of one and no shift.
fn unchanged(channels: usize) -> AffineWeights {
    AffineWeights::new(&vec![1.0; channels], &vec![0.0; channels])
}

impl First {
    fn run(&self, activation: Activation, targets: &mut Targets) {
        let packed = known(layer::packed(&[&self.layer], true));
        let Packed::First(weights) = &*packed else {
            unreachable!("kernels that read maps")
        };
        for path in &self.layer.plan.paths {
            let weights: &Option<StemWeights> = &weights[path.to];
            let target = targets[path.to].as_mut();
            let (Some(weights), Some(target)) = (weights, target) else {
                continue;
            };
            let images = flex_tensor(self.images(path).clone());
            let images = contiguous(images.expect("a tensor on Flex, outside of autodiff"));
            let [n, _, h, w] = self.images(path).dims();
            let stem = Stem {
                weights,
                input: images.as_slice().expect("f32, without gaps"),
                size: [n, h, w],
                stride: path.stride,
                padding: self.layer.padding(),
                activation,
                max_pool: self.max_pool,
            };
            stem.run(Isa::best(), target.map().0);
            target.pool();
        }
    }
}

fn max_pool(maps: &Maps, targets: &mut Targets) {
    for (map, target) in maps.iter().zip(targets) {
        if let (Some(map), Some(target)) = (map, target) {
            max_pool3(Isa::best(), &map.get(0, 0), target.map().0);
            target.pool();
        }
    }
}

fn input(maps: &Maps, level: usize, halvings: usize, pad: usize) -> Arc<Lent> {
    let map = maps[level].as_ref();
    map.expect("the group that a path reads").get(halvings, pad)
}

/// The maps that a product reads, held while it is computed.
struct Reads<'a> {
    sum: &'a Sum,
    fine: Vec<Arc<Lent>>,
    coarse: Vec<Arc<Lent>>,
    residual: Option<Arc<Lent>>,
}

impl<'a> Reads<'a> {
    fn new(work: &Work, inputs: &[Maps], sum: &'a Sum, level: usize) -> Self {
        let read = |reading: &Reading| {
            let pad = reading.padding.into_iter().max().unwrap_or(0);
            input(&inputs[reading.layer], reading.level, reading.halvings, pad)
        };
        let coarse = sum.coarse.iter().flat_map(|(_, readings)| readings);
        Self {
            sum,
            fine: sum.sources.iter().map(read).collect(),
            coarse: coarse.map(read).collect(),
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
