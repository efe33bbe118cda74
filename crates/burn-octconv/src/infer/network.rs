//! A network in its inference form, ready to run.

use burn::{
    module::Param,
    nn::Linear,
    tensor::{Tensor, TensorData},
};
use octave_plan::Refusal;

use super::{
    builder::{Id, Map, NetworkBuilder, Node, OctMap, Op, Reading, Size},
    schedule::Schedule,
};
use crate::lowered::{values, values_of};
use octave_engine::{
    BlockedMap, Isa, Spares,
    affine::Affine,
    conv::{
        Coarse, Depthwise, Kernel, Output, PackedWeights, Product, Source, Stem, depthwise, run,
    },
    head::classify,
    parallel::team,
    pool::{average_pool2, global_average, max_pool3},
};

/// A network in its inference form on the CPU engine. Built by [`NetworkBuilder`].
///
/// It is bit-identical from run to run and for any number of threads, and may be used by several
/// threads at once: each call takes a set of buffers, and returns it for the next.
pub struct Network {
    isa: Isa,
    pub(super) maps: Vec<Map>,
    pub(super) sizes: Vec<Size>,
    pub(super) schedule: Schedule,
    /// The map that the head reads.
    result: Id,
    pub(super) classifier: PackedWeights,
    buffers: Spares<Buffers>,
}

/// Memory of one call.
#[derive(Default)]
struct Buffers {
    maps: Vec<BlockedMap>,
    means: BlockedMap,
    scratch: BlockedMap,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("isa", &self.isa)
            .field("steps", &self.schedule.steps.len())
            .field("buffers", &self.schedule.count)
            .finish_non_exhaustive()
    }
}

impl NetworkBuilder {
    /// Ends the network with global average pooling and a classifier.
    ///
    /// # Errors
    ///
    /// [`Refusal::Shape`] if `x` has a low group, or the classifier other inputs.
    ///
    /// # Panics
    ///
    /// If the map is another builder's.
    pub fn finish(self, x: OctMap, classifier: &Linear) -> Result<Network, Refusal> {
        self.check(x);
        let (Some(result), None) = (x.group(0), x.group(1)) else {
            return Err(Refusal::Shape);
        };
        let [features, classes] = classifier.weight.dims();
        if self.maps[result].channels != features {
            return Err(Refusal::Shape);
        }
        let isa = Isa::best();
        let weight = values(classifier.weight.val().transpose())?;
        let bias = values_of(&classifier.bias.as_ref().map(Param::val))?;
        let kernel = Kernel::new(&weight, features, 1);
        Ok(Network {
            isa,
            schedule: Schedule::new(self.ops, &self.maps, result),
            maps: self.maps,
            sizes: self.sizes,
            result,
            classifier: PackedWeights::new(isa, classes, &[kernel], bias.as_deref()),
            buffers: Spares::new(),
        })
    }
}

impl Network {
    /// Computes the logits; `None` if the images are not f32 on Flex, or of a size at which a map
    /// would be empty or too large for the engine.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - output: `[batch, num_classes]`
    pub fn forward(&self, images: &Tensor<4>) -> Option<Tensor<2>> {
        self.forward_and(images, || ())
    }

    /// Computes the logits, and calls `boundary` before the first step and after each; the head is
    /// the last.
    pub(super) fn forward_and(
        &self,
        images: &Tensor<4>,
        boundary: impl FnMut(),
    ) -> Option<Tensor<2>> {
        let [n, channels, h, w] = images.dims();
        let sizes = self.sizes([h, w])?;
        if n == 0 || channels != self.input_channels() || !self.fits(n, &sizes) {
            return None;
        }
        let device = images.device();
        let images = values(images.clone()).ok()?;
        let mut logits = vec![0.0; n * self.classifier.c_out()];
        self.buffers.lend(|buffers| {
            team(|| self.run(&images, [n, h, w], &sizes, buffers, &mut logits, boundary));
        });
        let logits = TensorData::new(logits, [n, self.classifier.c_out()]);
        Some(Tensor::from_data(logits, &device))
    }

    fn input_channels(&self) -> usize {
        let stem = self
            .schedule
            .steps
            .iter()
            .flatten()
            .find_map(|op| match op {
                Op::Stem { weights, .. } => Some(weights.c_in()),
                _ => None,
            });
        stem.expect("a network begins with a stem")
    }

    /// Every resolution for images of `image = [height, width]`; `None` if one is smaller than the
    /// kernel that slides over it, or empty.
    pub(super) fn sizes(&self, image: [usize; 2]) -> Option<Vec<[usize; 2]>> {
        let mut sizes: Vec<[usize; 2]> = Vec::with_capacity(self.sizes.len());
        for &size in &self.sizes {
            let size = match size {
                Size::Image => image,
                Size::Half(of) => sizes[of].map(|s| s.div_ceil(2)),
                Size::Conv {
                    of,
                    extent,
                    stride,
                    padding,
                } => {
                    let along = |axis: usize| {
                        let padded = sizes[of][axis] + 2 * padding[axis];
                        Some(padded.checked_sub(extent[axis])? / stride + 1)
                    };
                    [along(0)?, along(1)?]
                }
            };
            sizes.push(size);
        }
        sizes.iter().flatten().all(|&s| s > 0).then_some(sizes)
    }

    /// Whether the engine can address every map: an image of one in 32 bits.
    fn fits(&self, n: usize, sizes: &[[usize; 2]]) -> bool {
        self.maps.iter().all(|map| {
            let [h, w] = sizes[map.size].map(|s| s.checked_add(2 * map.pad));
            let image = [h, w, Some(map.channels.next_multiple_of(16))];
            let floats = image.into_iter().try_fold(1usize, |p, s| p.checked_mul(s?));
            floats.is_some_and(|floats| {
                u32::try_from(floats).is_ok() && floats.checked_mul(4 * n).is_some()
            })
        })
    }

    fn run(
        &self,
        images: &[f32],
        size: [usize; 3],
        sizes: &[[usize; 2]],
        buffers: &mut Buffers,
        logits: &mut [f32],
        mut boundary: impl FnMut(),
    ) {
        buffers
            .maps
            .resize_with(self.schedule.count, BlockedMap::default);
        for (map, buffer) in self.maps.iter().zip(&self.schedule.buffers) {
            if let Some(buffer) = *buffer {
                let [h, w] = sizes[map.size];
                buffers.maps[buffer].reset([size[0], map.channels, h, w], map.pad);
            }
        }
        let mut step = Step {
            network: self,
            images,
            size,
            sizes,
            maps: &mut buffers.maps,
        };
        boundary();
        for ops in &self.schedule.steps {
            step.products(ops);
            ops.iter().for_each(|op| step.other(op));
            boundary();
        }

        let features = &buffers.maps[self.buffer(self.result)];
        let [n, c, ..] = features.dims();
        buffers.means.reset([1, c, 1, n], 0);
        global_average(self.isa, features, &mut buffers.means);
        classify(
            self.isa,
            &self.classifier,
            &buffers.means,
            &mut buffers.scratch,
            logits,
        );
        boundary();
    }

    fn buffer(&self, map: Id) -> usize {
        self.schedule.buffers[map].expect("a map that is read has a buffer")
    }
}

/// What the operations of a step work on.
struct Step<'a> {
    network: &'a Network,
    images: &'a [f32],
    /// Of the images, `[n, h, w]`.
    size: [usize; 3],
    sizes: &'a [[usize; 2]],
    maps: &'a mut Vec<BlockedMap>,
}

impl Step<'_> {
    fn get(&self, map: Id) -> &BlockedMap {
        &self.maps[self.network.buffer(map)]
    }

    /// Takes a map out, to write it while others are read.
    fn take(&mut self, map: Id) -> Option<BlockedMap> {
        let buffer = self.network.schedule.buffers[map]?;
        Some(std::mem::take(&mut self.maps[buffer]))
    }

    fn put(&mut self, map: Id, taken: Option<BlockedMap>) {
        if let Some(taken) = taken {
            let buffer = self.network.buffer(map);
            self.maps[buffer] = taken;
        }
    }

    /// Runs the products among `ops` in one parallel region.
    fn products(&mut self, ops: &[Op]) {
        let nodes: Vec<&Node> = ops
            .iter()
            .filter_map(|op| match op {
                Op::Product(node) => Some(&**node),
                _ => None,
            })
            .collect();
        if nodes.is_empty() {
            return;
        }
        let mut outputs: Vec<_> = nodes
            .iter()
            .map(|node| {
                let pooled = node.pooled.and_then(|pooled| self.take(pooled));
                (self.take(node.to), pooled)
            })
            .collect();
        let source = |reading: &Reading| Source {
            map: self.get(reading.map),
            first_block: 0,
            stride: reading.stride,
            padding: reading.padding,
        };
        let products = nodes.iter().zip(&mut outputs).map(|(node, (to, pooled))| {
            let [h, w] = self.sizes[self.network.maps[node.to].size];
            Product {
                weights: &node.weights,
                sources: node.sources.iter().map(source).collect(),
                coarse: node.coarse.as_ref().map(|(weights, sources)| Coarse {
                    weights,
                    sources: sources.iter().map(source).collect(),
                    spread: false,
                }),
                residual: node.residual.map(|residual| self.get(residual)),
                activation: node.activation,
                size: [self.size[0], h, w],
                output: match to {
                    Some(map) => Output::Map(map, 0),
                    None => Output::Nowhere,
                },
                pooled: pooled.as_mut(),
            }
        });
        run(self.network.isa, products.collect());
        for (node, (to, pooled)) in nodes.into_iter().zip(outputs) {
            self.put(node.to, to);
            if let Some(id) = node.pooled {
                self.put(id, pooled);
            }
        }
    }

    /// Runs any other operation.
    fn other(&mut self, op: &Op) {
        if matches!(op, Op::Product(_)) {
            return;
        }
        let isa = self.network.isa;
        let written = op.writes();
        let mut taken: Vec<_> = written.iter().map(|&map| self.take(map)).collect();
        let (to, rest) = taken.split_first_mut().expect("an operation has a result");
        let to = to.as_mut().expect("only products may leave their result");
        let pooled = rest.first_mut().and_then(Option::as_mut);
        match op {
            Op::Product(_) => {}
            Op::Stem {
                weights,
                stride,
                padding,
                activation,
                max_pool,
                ..
            } => {
                let stem = Stem {
                    weights,
                    input: self.images,
                    size: self.size,
                    stride: *stride,
                    padding: *padding,
                    activation: *activation,
                    max_pool: *max_pool,
                };
                stem.run(isa, to);
            }
            Op::Depthwise {
                weights,
                from,
                stride,
                padding,
                activation,
                ..
            } => {
                let layer = Depthwise {
                    weights,
                    input: self.get(*from),
                    stride: *stride,
                    padding: *padding,
                    activation: *activation,
                    output: to,
                    pooled,
                };
                depthwise(isa, vec![layer]);
            }
            Op::Affine {
                weights,
                activation,
                from,
                ..
            } => {
                let map = Affine {
                    weights,
                    input: self.get(*from),
                    residual: None,
                    activation: *activation,
                    output: to,
                    pooled,
                    first_block: 0,
                };
                map.run(isa);
            }
            Op::Pool { from, .. } => average_pool2(isa, self.get(*from), to),
            Op::MaxPool { from, .. } => max_pool3(isa, self.get(*from), to),
        }
        for (map, taken) in written.into_iter().zip(taken) {
            self.put(map, taken);
        }
    }
}
