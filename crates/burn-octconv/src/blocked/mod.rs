//! Feature maps that stay in the engine's layout from layer to layer, outside of autodiff.
//!
//! A plain tensor is NCHW, and the engine's kernels read blocks of channels. Converting around
//! every layer, and norm, sum and activation as passes of their own, take longer than the
//! convolutions. So a layer that is called on Flex without gradients only notes its work. What
//! follows it, the norm, the sum, the activation, joins it; the next layer refers to it. When
//! somebody asks for a plain tensor, everything that it depends on is computed at once: each
//! operation in one pass, in the forms in which the next ones read it, by threads that do not
//! sleep in between.
//!
//! A map is freed when the last operation that reads it is done, so a chain of layers takes no more
//! memory than if each were computed when it is called.

mod graph;
mod layer;
mod lowered;
mod map;
pub(crate) mod memory;
mod packed;
mod run;
mod steps;
mod work;

pub use packed::PackedKernels;
pub use steps::{StepTime, timed};

use std::sync::{Arc, Mutex, OnceLock};

use burn::tensor::{DType, Tensor, TensorData};
use octave_engine::{BLOCK, BlockedMap, Isa, conv::Activation, pool::global_average, to_nchw};
use octave_plan::Plan;

pub(crate) use self::work::Blocked;
use self::{
    layer::Layer,
    work::{Conv, First, Inner, Operation, Shape, Work},
};
use crate::ops::{kernels::OctKernels, resample::half, statistics::Statistics};

/// Operations that are noted one behind the other, at most: the chain is walked, and dropped, link
/// by link.
const LONGEST: usize = 256;

/// Notes the convolution of a feature map that an engine computes.
pub(crate) fn octconv2d(input: Blocked, kernels: OctKernels, plan: &Plan<2>) -> Blocked {
    let shape = Shape {
        channels: [0, 1].map(|level| plan.output[level]),
        size: plan.output_size(input.0.shape.size),
        ..input.0.shape.clone()
    };
    let layer = Layer::new(plan, kernels);
    Blocked::noted(shape, Operation::Conv(vec![Conv { layer, input }]))
}

/// Notes the convolution of images, which have so few channels that they are read as they are.
pub(crate) fn first(images: Tensor<4>, kernels: OctKernels, plan: &Plan<2>) -> Blocked {
    let [count, _, height, width] = images.dims();
    let shape = Shape {
        device: images.device(),
        images: count,
        channels: [0, 1].map(|level| plan.output[level]),
        size: plan.output_size([height, width]),
    };
    let first = First::new(images, Layer::new(plan, kernels));
    Blocked::noted(shape, Operation::First(Box::new(first)))
}

impl Blocked {
    fn noted(shape: Shape, operation: Operation) -> Self {
        let inputs = operation.inputs();
        let links = |input: &&Self| match *input.0.work() {
            Some(_) => input.0.links,
            None => 0,
        };
        let mut chain = inputs.iter().map(links).max().unwrap_or(0);
        if chain >= LONGEST {
            inputs.iter().for_each(|input| drop(input.compute()));
            chain = 0;
        }
        Self(Arc::new(Inner {
            shape,
            work: Mutex::new(Some(Arc::new(operation.alone()))),
            links: chain + 1,
            maps: OnceLock::new(),
            plain: OnceLock::new(),
        }))
    }

    /// Plain groups that are brought into the engine's layout when they are read.
    pub(crate) fn bring_in(groups: [Option<Tensor<4>>; 2], size: [usize; 2]) -> Self {
        let given = groups.iter().flatten().next();
        let given = given.expect("a feature map has at least one group");
        let shape = Shape {
            device: given.device(),
            images: given.dims()[0],
            channels: groups
                .each_ref()
                .map(|x| x.as_ref().map_or(0, |x| x.dims()[1])),
            size,
        };
        Self::noted(shape, Operation::Plain(groups))
    }

    /// Both groups as plain tensors.
    pub(crate) fn plain(&self) -> &[Option<Tensor<4>>; 2] {
        if let Some(plain) = self.0.plain.get() {
            return plain;
        }
        let maps = self.compute();
        let device = self.device();
        let tensors = maps
            .each_ref()
            .map(|map| Some(map.as_ref()?.to_tensor(&device)));
        // Nothing is locked while it is made: a worker that waits may run other tasks, which want
        // the same map. At worst both make it.
        self.0.plain.get_or_init(|| tensors)
    }

    /// Notes more work: with what is noted already, if nobody else has that and both are one pass.
    fn then(mut self, fits: impl Fn(&Work) -> bool, add: impl FnOnce(&mut Work)) -> Self {
        if !self.unshared_work().is_some_and(|work| fits(work)) {
            let shape = self.0.shape.clone();
            self = Self::noted(shape, Operation::pass(self.parts()));
        }
        add(self.unshared_work().expect("what was noted just now"));
        self
    }

    /// Notes an activation.
    pub(crate) fn activate(self, activation: Activation) -> Self {
        match activation {
            Activation::Identity => self,
            _ => self.then(Work::takes_activation, |work| work.activation = activation),
        }
    }

    /// Notes a sum.
    pub(crate) fn add(mut self, mut other: Self) -> Self {
        let takes = |map: &mut Self| map.unshared_work().is_some_and(|w| w.takes_residual());
        if !takes(&mut self) && takes(&mut other) {
            (self, other) = (other, self);
        }
        // The convolution of a shortcut is one more that is summed.
        if takes(&mut self)
            && let (Some(work), Some(shortcut)) = (self.unshared_work(), other.unshared_work())
            && work.takes_convolution(shortcut)
        {
            work.operation.extend(&mut shortcut.operation);
            return self;
        }
        self.then(Work::takes_residual, |work| work.residual = Some(other))
    }

    /// Notes the norms of both groups.
    pub(crate) fn normalize(self, norms: [Option<Statistics>; 2]) -> Self {
        let norm = Box::new(norms);
        self.then(Work::takes_norm, |work| work.operation.normalize(norm))
    }

    /// Notes a scale for every channel of every image, `[batch, channels]` of each group.
    pub(crate) fn scale(self, gates: [Option<Tensor<2>>; 2]) -> Self {
        let shape = self.0.shape.clone();
        Self::noted(shape, Operation::Scale(self, gates))
    }

    /// Notes 3×3 max pooling with stride 2 and padding 1.
    pub(crate) fn max_pool3(mut self) -> Self {
        let shape = self.halved();
        if self.unshared_work().is_some_and(Work::join_max_pool)
            && let Some(inner) = Arc::get_mut(&mut self.0)
        {
            inner.shape = shape;
            return self;
        }
        Self::noted(shape, Operation::MaxPool(self))
    }

    /// Notes 2×2 average pooling; windows at odd borders average what exists.
    pub(crate) fn avg_pool2(self) -> Self {
        Self::noted(self.halved(), Operation::Half(self))
    }

    fn halved(&self) -> Shape {
        let shape = self.0.shape.clone();
        Shape {
            size: half(shape.size),
            ..shape
        }
    }

    /// Notes the channels of two maps of the same images and size, side by side in each group.
    ///
    /// # Errors
    ///
    /// Both, if the second would not begin with a block of channels.
    pub(crate) fn beside(self, other: Self) -> Result<Self, [Self; 2]> {
        let [channels, more] = [&self, &other].map(|map| map.0.shape.channels);
        let whole = |level: usize| more[level] == 0 || channels[level].is_multiple_of(BLOCK);
        if ![0, 1].into_iter().all(whole) {
            return Err([self, other]);
        }
        let shape = Shape {
            channels: [0, 1].map(|level| channels[level] + more[level]),
            ..self.0.shape.clone()
        };
        let mut parts = self.parts();
        parts.extend(other.parts());
        Ok(Self::noted(shape, Operation::pass(parts)))
    }

    /// The mean of every channel, `[batch, channels]`.
    pub(crate) fn global_average(&self) -> Tensor<2> {
        let (device, images) = (self.device(), self.0.shape.images);
        let maps = self.compute();
        let means = maps.iter().flatten().map(|map| {
            let channels = map.dims()[1];
            let mut means = BlockedMap::default();
            means.reset([1, channels, 1, images], 0);
            global_average(Isa::best(), &map.get(0, 0), &mut means);
            let mut values = vec![0.0; channels * images];
            to_nchw(Isa::best(), &means, &mut values);
            let data = TensorData::new(values, [channels, images]);
            Tensor::<2>::from_data(data, (&device, DType::F32)).transpose()
        });
        Tensor::cat(means.collect(), 1)
    }
}
