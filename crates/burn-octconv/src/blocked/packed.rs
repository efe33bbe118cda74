//! The kernels of a layer as the engine reads them, kept as long as the parameters are the same.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use burn::tensor::{Bytes, Tensor};
use octave_engine::conv::DepthwiseWeights;
use octave_plan::{Plan, Refusal};

use super::work::Norm;
use crate::{
    lowered::{self, Group, Sum, add_terms},
    ops::{OctKernels, flex::flex_tensor},
};

/// What a product reads.
pub(super) struct Reading {
    pub(super) level: usize,
    pub(super) halvings: usize,
    pub(super) stride: usize,
    pub(super) padding: [usize; 2],
}

/// The output groups of a layer, by level.
pub(super) enum Packed {
    Sums(Box<[Option<Sum<Reading>>; 2]>),
    Depthwise([Option<DepthwiseWeights>; 2]),
}

impl Packed {
    /// Packs a layer, followed by a norm.
    fn new(plan: &Plan<2>, kernels: &OctKernels, norm: Option<&Norm>) -> Result<Self, Refusal> {
        let affine = |level: usize| Some(norm?[level].as_ref()?.affine());
        if plan.is_depthwise() {
            let mut levels = [None, None];
            for path in &plan.paths {
                let weights = lowered::depthwise(plan, kernels, path, affine(path.to))?;
                levels[path.to] = Some(weights);
            }
            return Ok(Self::Depthwise(levels));
        }
        let padding = plan.fused_padding()?;
        let mut groups = [Group::default(), Group::default()];
        add_terms(plan, kernels, &mut groups, |path| {
            Ok(Reading {
                level: path.from,
                halvings: path.pool + path.down,
                stride: path.stride,
                padding,
            })
        })?;
        let mut levels = [None, None];
        for (level, mut group) in groups.into_iter().enumerate() {
            if plan.output[level] > 0 {
                if let Some(affine) = affine(level) {
                    group.scale(affine)?;
                }
                levels[level] = Some(group.pack(plan.groups));
            }
        }
        Ok(Self::Sums(Box::new(levels)))
    }
}

/// The memory of a tensor. It cannot become another's, nor be written to, as long as this lives:
/// Flex writes in place only where nothing else, not even this, refers to the memory.
struct Identity(Weak<Bytes>);

impl Identity {
    fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        let tensor = flex_tensor(tensor.clone())?;
        let whole = tensor.as_slice::<f32>()?.len() == tensor.storage::<f32>().len();
        whole.then(|| Self(Arc::downgrade(&tensor.data_arc())))
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

struct Entry {
    origin: Origin,
    packed: Arc<Packed>,
}

/// What kernels were packed from.
#[derive(PartialEq)]
struct Origin {
    plan: Plan<2>,
    /// Of all tensors that are there. Their number tells a layer with a norm from one without.
    tensors: Vec<Option<Identity>>,
    epsilons: Vec<f64>,
}

impl Origin {
    fn new(plan: &Plan<2>, kernels: &OctKernels, norm: Option<&Norm>) -> Self {
        let weights = [&kernels.h2h, &kernels.h2l, &kernels.l2h, &kernels.l2l];
        let biases = [&kernels.bias_high, &kernels.bias_low];
        let weights = weights.into_iter().flatten().map(Identity::new);
        let biases = biases.into_iter().flatten().map(Identity::new);
        let norms = || norm.into_iter().flatten().flatten();
        let states = norms().flat_map(|norm| &norm.tensors).map(Identity::new);
        Self {
            plan: plan.clone(),
            tensors: weights.chain(biases).chain(states).collect(),
            epsilons: norms().map(|norm| norm.epsilon).collect(),
        }
    }

    /// Whether it can be told from others.
    fn is_known(&self) -> bool {
        self.tensors.iter().all(Option::is_some)
    }
}

/// Where a layer keeps its packed kernels: a place of its own, also for a clone, which shares them
/// until its parameters change.
#[derive(Default)]
pub struct PackedKernels(Arc<Mutex<Option<Arc<Entry>>>>);

impl Clone for PackedKernels {
    fn clone(&self) -> Self {
        Self(Arc::new(Mutex::new(self.get())))
    }
}

impl fmt::Debug for PackedKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packed = if self.get().is_some() {
            "packed"
        } else {
            "none"
        };
        f.debug_tuple("PackedKernels").field(&packed).finish()
    }
}

impl PackedKernels {
    /// The same place, not a place of its own.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    fn get(&self) -> Option<Arc<Entry>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The packed kernels of a layer followed by a norm: those that are kept, if they were made of
    /// the same tensors.
    pub(super) fn of(
        &self,
        plan: &Plan<2>,
        kernels: &OctKernels,
        norm: Option<&Norm>,
    ) -> Result<Arc<Packed>, Refusal> {
        let origin = Origin::new(plan, kernels, norm);
        let same = |entry: &Arc<Entry>| origin.is_known() && entry.origin == origin;
        if let Some(entry) = self.get().filter(same) {
            return Ok(entry.packed.clone());
        }
        let packed = Arc::new(Packed::new(plan, kernels, norm)?);
        let entry = Arc::new(Entry {
            origin,
            packed: packed.clone(),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        Ok(packed)
    }
}
