//! Feature maps that stay in the engine's layout from layer to layer, outside of autodiff.
//!
//! A plain tensor is NCHW, and the engine's kernels read blocks of channels. Converting around
//! every layer, and norm, sum and activation as passes of their own, take longer than the
//! convolutions. So a layer that is called on Flex without gradients returns a feature map in which
//! the work is only noted. The norm, the sum and the activation that follow are added to it, and
//! the next convolution has it computed, in one pass and in the forms in which it reads it. A
//! plain tensor is made when somebody asks for one.
//!
//! At most one operation is noted at a time, so a chain of layers takes no more memory than without.

mod map;
mod memory;
mod packed;
mod work;

pub use packed::PackedKernels;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use burn::{
    nn::BatchNorm,
    tensor::{DType, Device, Tensor, TensorData},
};
use octave_engine::{BlockedMap, Isa, conv::Activation, pool::global_average, to_nchw};
use octave_plan::Plan;

use self::{
    map::{Map, Maps, Needs},
    work::{Conv, Norm, Operation, Work},
};
use crate::{
    OctFeatures,
    conv::Statistics,
    features::half,
    ops::{OctKernels, eligibility},
};

/// A feature map in the engine's layout, computed or noted. Clones share it.
#[derive(Clone)]
pub(crate) struct Blocked(Arc<Inner>);

#[derive(Clone)]
struct Shape {
    device: Device,
    images: usize,
    channels: [usize; 2],
    size: [usize; 2],
}

struct Inner {
    shape: Shape,
    /// What is noted; gone when it is computed.
    work: Mutex<Option<Arc<Work>>>,
    maps: OnceLock<Maps>,
    plain: OnceLock<[Option<Tensor<4>>; 2]>,
}

impl fmt::Debug for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims = self.dims();
        f.debug_tuple("Blocked").field(&dims).finish()
    }
}

/// What a layer reads of its input.
fn needs(plan: &Plan<2>) -> [Needs; 2] {
    let padding = plan.fused_padding().unwrap_or_default();
    let pad = padding.into_iter().max().unwrap_or(0);
    let mut needs = [Needs::default(); 2];
    for path in &plan.paths {
        needs[path.from][path.pool + path.down] = Some(pad);
    }
    needs
}

/// Notes the convolution of a feature map that an engine computes.
pub(crate) fn octconv2d(features: OctFeatures, kernels: OctKernels, plan: &Plan<2>) -> Blocked {
    let (device, size) = (features.device(), features.size());
    let needs = needs(plan);
    let inputs = match features.into_blocked() {
        Ok(blocked) => blocked.compute(&needs),
        Err(plain) => bring_in(plain, &needs),
    };
    let images = inputs
        .iter()
        .flatten()
        .next()
        .map_or(0, |map| map.dims()[0]);
    let shape = Shape {
        device,
        images,
        channels: [0, 1].map(|level| plan.output[level]),
        size: plan.output_size(size),
    };
    let conv = Conv {
        plan: plan.clone(),
        packed: kernels.packed.share(),
        kernels,
        inputs,
    };
    Blocked::noted(shape, Operation::Conv(Box::new(conv)).alone())
}

/// Brings plain tensors into the engine's layout.
fn bring_in(features: OctFeatures, needs: &[Needs; 2]) -> Maps {
    let (high, low) = features.into_parts();
    let mut needs = needs.iter();
    Arc::new([high, low].map(|x| {
        let pad = needs.next().and_then(|needs| needs[0]).unwrap_or(0);
        Some(Map::from_tensor(x?, pad))
    }))
}

impl Inner {
    fn work(&self) -> MutexGuard<'_, Option<Arc<Work>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocked {
    fn noted(shape: Shape, work: Work) -> Self {
        Self(Arc::new(Inner {
            shape,
            work: Mutex::new(Some(Arc::new(work))),
            maps: OnceLock::new(),
            plain: OnceLock::new(),
        }))
    }

    /// `[n, c, h, w]` of both groups.
    pub(crate) fn dims(&self) -> [[usize; 4]; 2] {
        let shape = &self.0.shape;
        let sizes = [shape.size, half(shape.size)];
        [0, 1].map(|level| {
            let [h, w] = sizes[level];
            [shape.images, shape.channels[level], h, w]
        })
    }

    pub(crate) fn device(&self) -> Device {
        self.0.shape.device.clone()
    }

    /// The groups, computed.
    fn compute(&self, needs: &[Needs; 2]) -> Maps {
        let work = self.0.work().clone();
        if let Some(work) = work {
            // Nothing is locked meanwhile: a worker that waits may run other tasks, which want the
            // same map. At worst both compute it.
            let maps = work.run(self.dims(), needs);
            let _ = self.0.maps.set(Arc::new(maps));
            *self.0.work() = None;
        }
        self.0
            .maps
            .get()
            .expect("what is not noted is computed")
            .clone()
    }

    /// Both groups as plain tensors.
    pub(crate) fn plain(&self) -> &[Option<Tensor<4>>; 2] {
        if let Some(plain) = self.0.plain.get() {
            return plain;
        }
        let maps = self.compute(&Default::default());
        let device = self.device();
        let tensors = maps
            .each_ref()
            .map(|map| Some(map.as_ref()?.to_tensor(&device)));
        // As above: nothing is locked while it is made.
        self.0.plain.get_or_init(|| tensors)
    }

    /// Notes more work: with what is noted already, if nobody else has that and both are one pass.
    fn then(mut self, fits: impl Fn(&Work) -> bool, add: impl Fn(&mut Work)) -> Self {
        if let Some(work) = self.unshared_work()
            && fits(work)
        {
            add(work);
            return self;
        }
        let mut work = Operation::Same(self.compute(&Default::default())).alone();
        add(&mut work);
        Self::noted(self.0.shape.clone(), work)
    }

    fn unshared_work(&mut self) -> Option<&mut Work> {
        let work = &mut Arc::get_mut(&mut self.0)?.work;
        let work = work.get_mut().unwrap_or_else(PoisonError::into_inner);
        Arc::get_mut(work.as_mut()?)
    }

    /// Notes an activation.
    pub(crate) fn activate(self, activation: Activation) -> Self {
        match activation {
            Activation::Identity => self,
            _ => self.then(Work::takes_activation, |work| work.activation = activation),
        }
    }

    /// Notes a sum.
    pub(crate) fn add(self, other: &Self) -> Self {
        let residual = other.compute(&Default::default());
        self.then(Work::takes_residual, |work| {
            work.residual = Some(residual.clone());
        })
    }

    /// Notes a norm with its running statistics; gives the map back if an engine cannot apply it.
    pub(crate) fn normalize(self, norms: [Option<&BatchNorm>; 2]) -> Result<Self, Self> {
        let norm: Norm = norms.map(|norm| norm.map(Statistics::new));
        let tensors = norm.iter().flatten().flat_map(|norm| &norm.tensors);
        if tensors
            .into_iter()
            .any(|x| eligibility::untracked(x).is_err())
        {
            return Err(self);
        }
        Ok(self.then(Work::takes_norm, |work| work.norm = Some(norm.clone())))
    }

    /// The mean of every channel, `[batch, channels]`.
    pub(crate) fn global_average(&self) -> Tensor<2> {
        let (device, images) = (self.device(), self.0.shape.images);
        let maps = self.compute(&Default::default());
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
