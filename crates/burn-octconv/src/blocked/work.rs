//! What is noted of a feature map.
//!
//! ```text
//! activation(operation + residual)
//! ```
//!
//! is one pass of the engine: the norm of an operation is in its packed kernels, the rest is done
//! where a result is stored. So is the pooling for the next layer.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use burn::tensor::{Device, Tensor};
use octave_engine::conv::Activation;
use octave_plan::Path;

use super::{
    layer::{Layer, Norm},
    map::{Maps, Needs},
};
use crate::ops::resample::{self, half};

/// A feature map in the engine's layout, computed or noted. Clones share it.
#[derive(Clone)]
pub(crate) struct Blocked(pub(super) Arc<Inner>);

#[derive(Clone)]
pub(super) struct Shape {
    pub(super) device: Device,
    pub(super) images: usize,
    pub(super) channels: [usize; 2],
    pub(super) size: [usize; 2],
}

pub(super) struct Inner {
    pub(super) shape: Shape,
    /// What is noted; gone when it is computed.
    pub(super) work: Mutex<Option<Arc<Work>>>,
    /// Operations of the longest chain that ends here, as far as noted when this was.
    pub(super) links: usize,
    pub(super) maps: OnceLock<Maps>,
    pub(super) plain: OnceLock<[Option<Tensor<4>>; 2]>,
}

impl fmt::Debug for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims = self.dims();
        f.debug_tuple("Blocked").field(&dims).finish()
    }
}

impl Inner {
    pub(super) fn work(&self) -> MutexGuard<'_, Option<Arc<Work>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocked {
    /// `[n, c, h, w]` of both groups.
    pub(crate) fn dims(&self) -> [[usize; 4]; 2] {
        let shape = &self.0.shape;
        let sizes = [shape.size, half(shape.size)];
        [0, 1].map(|level| {
            let [h, w] = sizes[level];
            [shape.images, shape.channels[level], h, w]
        })
    }

    /// Full resolution.
    pub(super) fn size(&self) -> [usize; 2] {
        self.0.shape.size
    }

    pub(crate) fn device(&self) -> Device {
        self.0.shape.device.clone()
    }

    /// The groups, of which is known that they are computed.
    pub(super) fn maps(&self) -> Maps {
        let maps = self.0.maps.get();
        maps.expect("what is not noted is computed").clone()
    }

    /// Keeps the groups, and forgets the work.
    pub(super) fn computed(&self, maps: Maps) {
        let _ = self.0.maps.set(maps);
        let work = self.0.work().take();
        drop(work);
    }

    pub(super) fn unshared_work(&mut self) -> Option<&mut Work> {
        let work = &mut Arc::get_mut(&mut self.0)?.work;
        let work = work.get_mut().unwrap_or_else(PoisonError::into_inner);
        Arc::get_mut(work.as_mut()?)
    }

    /// The maps that lie side by side in this one, which is one if it is computed.
    pub(super) fn parts(&self) -> Vec<Self> {
        let work = self.0.work();
        let parts = work.as_ref().and_then(|work| work.only_parts());
        parts.map_or_else(|| vec![self.clone()], <[Self]>::to_vec)
    }
}

/// A feature map that is not computed yet.
pub(super) struct Work {
    pub(super) operation: Operation,
    pub(super) residual: Option<Blocked>,
    pub(super) activation: Activation,
}

pub(super) enum Operation {
    /// Plain tensors, to be brought into the engine's layout.
    Plain([Option<Tensor<4>>; 2]),
    /// The convolution of images.
    First(Box<First>),
    /// Convolutions that are summed.
    Conv(Vec<Conv>),
    /// Maps side by side, or one map, and their norm.
    Pass(Vec<Blocked>, Option<Norm>),
    /// A map and a scale for every channel of every image.
    Scale(Blocked, [Option<Tensor<2>>; 2]),
    /// 3×3 max pooling with stride 2 and padding 1.
    MaxPool(Blocked),
    /// 2×2 average pooling.
    Half(Blocked),
}

pub(super) struct Conv {
    pub(super) layer: Layer,
    pub(super) input: Blocked,
}

impl Conv {
    /// What the layer reads of its input.
    fn reads(&self) -> [Needs; 2] {
        let pad = self.layer.padding().into_iter().max();
        let mut needs = [Needs::default(); 2];
        for path in &self.layer.plan.paths {
            needs[path.from][path.pool + path.down] = pad;
        }
        needs
    }
}

/// The convolution of images.
pub(super) struct First {
    pub(super) layer: Layer,
    /// The images, by how often they are pooled.
    images: [Option<Tensor<4>>; 3],
    /// Whether 3×3 max pooling with stride 2 and padding 1 follows.
    pub(super) max_pool: bool,
}

impl First {
    pub(super) fn new(images: Tensor<4>, layer: Layer) -> Self {
        let most = layer.plan.paths.iter().map(halvings).max().unwrap_or(0);
        let mut pooled = [Some(images), None, None];
        for times in 1..=most {
            pooled[times] = pooled[times - 1].clone().map(resample::avg_pool);
        }
        Self {
            layer,
            images: pooled,
            max_pool: false,
        }
    }

    /// Height and width of the images.
    pub(super) fn size(&self) -> [usize; 2] {
        let [_, _, height, width] = self.images[0].as_ref().map_or([0; 4], Tensor::dims);
        [height, width]
    }

    /// What a path reads.
    pub(super) fn images(&self, path: &Path) -> &Tensor<4> {
        let images = self.images[halvings(path)].as_ref();
        images.expect("images pooled as often as a path says")
    }
}

fn halvings(path: &Path) -> usize {
    path.pool + path.down
}

impl Operation {
    pub(super) fn alone(self) -> Work {
        Work {
            operation: self,
            residual: None,
            activation: Activation::Identity,
        }
    }

    /// Maps side by side.
    pub(super) fn pass(parts: Vec<Blocked>) -> Self {
        Self::Pass(parts, None)
    }

    /// The maps that are read.
    pub(super) fn inputs(&self) -> Vec<&Blocked> {
        match self {
            Self::Plain(_) | Self::First(_) => Vec::new(),
            Self::Conv(convs) => convs.iter().map(|conv| &conv.input).collect(),
            Self::Pass(parts, _) => parts.iter().collect(),
            Self::Scale(map, _) | Self::MaxPool(map) | Self::Half(map) => vec![map],
        }
    }

    /// What is read of each map if the result is to have the forms that `needs` says.
    fn reads(&self, needs: &[Needs; 2]) -> Vec<(&Blocked, [Needs; 2])> {
        match self {
            Self::Conv(convs) => convs.iter().map(|c| (&c.input, c.reads())).collect(),
            Self::Half(map) => {
                let once_more = |[zero, one, _]: Needs| [None, zero.or(Some(0)), one];
                vec![(map, needs.map(once_more))]
            }
            _ => self
                .inputs()
                .into_iter()
                .map(|map| (map, AS_IT_IS))
                .collect(),
        }
    }

    /// Adds a norm, which [`Work::takes_norm`] has said to fit.
    pub(super) fn normalize(&mut self, new: Norm) {
        let norm = match self {
            Self::First(first) => &mut first.layer.norm,
            Self::Conv(convs) => &mut convs[0].layer.norm,
            Self::Pass(_, norm) => norm,
            _ => unreachable!("an operation that takes no norm"),
        };
        *norm = Some(new);
    }

    /// Takes over convolutions, which [`Work::takes_convolution`] has said to fit.
    pub(super) fn extend(&mut self, other: &mut Self) {
        if let (Self::Conv(convs), Self::Conv(more)) = (self, other) {
            convs.append(more);
        }
    }
}

/// The map without a border.
pub(super) const AS_IT_IS: [Needs; 2] = [[Some(0), None, None]; 2];

impl Work {
    /// The maps that are read.
    pub(super) fn inputs(&self) -> Vec<&Blocked> {
        let mut inputs = self.operation.inputs();
        inputs.extend(&self.residual);
        inputs
    }

    /// What is read of each map if the result is to have the forms that `needs` says.
    pub(super) fn reads(&self, needs: &[Needs; 2]) -> Vec<(&Blocked, [Needs; 2])> {
        let mut reads = self.operation.reads(needs);
        reads.extend(self.residual.iter().map(|map| (map, AS_IT_IS)));
        reads
    }

    /// The maps that lie side by side, if nothing is done to them.
    pub(super) fn only_parts(&self) -> Option<&[Blocked]> {
        match &self.operation {
            Operation::Pass(parts, None) if self.is_bare() => Some(parts),
            _ => None,
        }
    }

    /// Whether nothing follows the operation and its norm.
    fn is_bare(&self) -> bool {
        self.residual.is_none() && self.takes_activation()
    }

    /// Whether a norm can be computed in the same pass.
    pub(super) fn takes_norm(&self) -> bool {
        let norm = match &self.operation {
            Operation::First(first) if !first.max_pool => &first.layer.norm,
            Operation::Conv(convs) if convs.len() == 1 => &convs[0].layer.norm,
            Operation::Pass(_, norm) => norm,
            _ => return false,
        };
        norm.is_none() && self.is_bare()
    }

    /// Whether a sum can be computed in the same pass.
    pub(super) fn takes_residual(&self) -> bool {
        let takes = match &self.operation {
            Operation::Conv(convs) => !convs[0].layer.plan.is_depthwise(),
            Operation::Pass(parts, _) => parts.len() == 1,
            Operation::Scale(..) => true,
            _ => false,
        };
        takes && self.is_bare()
    }

    /// Whether the convolution of `other` can be one more that is summed.
    pub(super) fn takes_convolution(&self, other: &Self) -> bool {
        let (Operation::Conv(convs), Operation::Conv(more)) = (&self.operation, &other.operation)
        else {
            return false;
        };
        let ([conv], [one]) = (&convs[..], &more[..]) else {
            return false;
        };
        let [plan, other_plan] = [conv, one].map(|conv| &conv.layer.plan);
        self.is_bare()
            && other.is_bare()
            && !plan.is_depthwise()
            && !other_plan.is_depthwise()
            && plan.output == other_plan.output
            && plan.groups == other_plan.groups
    }

    /// Whether an activation can be computed in the same pass.
    pub(super) fn takes_activation(&self) -> bool {
        self.activation == Activation::Identity
            && !matches!(
                self.operation,
                Operation::Plain(_) | Operation::MaxPool(_) | Operation::Half(_)
            )
    }

    /// Adds max pooling to a first layer that has none. An activation may follow or precede it: both
    /// keep the order of numbers.
    pub(super) fn join_max_pool(&mut self) -> bool {
        match &mut self.operation {
            Operation::First(first) => !std::mem::replace(&mut first.max_pool, true),
            _ => false,
        }
    }
}
