//! The kernels of a layer as the engine reads them, kept as long as the parameters are the same.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use burn::tensor::{Bytes, Tensor};
use octave_engine::conv::{DepthwiseWeights, PackedWeights, StemWeights};
use octave_plan::{Plan, Refusal};

use crate::ops::flex::tensor::flex_tensor;

/// What a product reads.
pub(super) struct Reading {
    /// Of the layers that are summed, the one that reads it.
    pub(super) layer: usize,
    pub(super) level: usize,
    pub(super) halvings: usize,
    pub(super) stride: usize,
    pub(super) padding: [usize; 2],
}

/// An output group, packed, and the maps that it reads in the order of the kernels.
pub(super) struct Sum {
    pub(super) weights: PackedWeights,
    pub(super) sources: Vec<Reading>,
    /// What is summed at half the resolution.
    pub(super) coarse: Option<(PackedWeights, Vec<Reading>)>,
}

/// The output groups of a layer, by level.
pub(super) enum Packed {
    Sums(Box<[Option<Sum>; 2]>),
    Depthwise([Option<DepthwiseWeights>; 2]),
    First([Option<StemWeights>; 2]),
}

/// The memory of a tensor. It cannot become another's, nor be written to, as long as this lives:
/// Flex writes in place only where nothing else, not even this, refers to the memory.
pub(super) struct Identity(Weak<Bytes>);

impl Identity {
    pub(super) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
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
pub(super) struct Origin {
    /// Whether the layer is one that reads images.
    pub(super) first: bool,
    pub(super) layers: Vec<LayerOrigin>,
}

#[derive(PartialEq)]
pub(super) struct LayerOrigin {
    pub(super) plan: Plan<2>,
    /// Of all tensors that are there. Their number tells a layer with a norm from one without.
    pub(super) tensors: Vec<Option<Identity>>,
    pub(super) epsilons: Vec<f64>,
}

impl Origin {
    /// Whether it can be told from others.
    fn is_known(&self) -> bool {
        let mut tensors = self.layers.iter().flat_map(|layer| &layer.tensors);
        tensors.all(Option::is_some)
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

    /// What is kept, if it was packed from the same tensors; else what `pack` makes, which it
    /// then keeps.
    pub(super) fn of(
        &self,
        origin: Origin,
        pack: impl FnOnce() -> Result<Packed, Refusal>,
    ) -> Result<Arc<Packed>, Refusal> {
        let same = |entry: &Arc<Entry>| origin.is_known() && entry.origin == origin;
        if let Some(entry) = self.get().filter(same) {
            return Ok(entry.packed.clone());
        }
        let packed = Arc::new(pack()?);
        let entry = Arc::new(Entry {
            origin,
            packed: packed.clone(),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
        Ok(packed)
    }
}

/// Places for layers that have none: Burn's own convolutions.
static PLACES: Mutex<Vec<(Identity, PackedKernels)>> = Mutex::new(Vec::new());

/// Such layers at a time, at most; a network has a few at its ends.
const MOST: usize = 16;

impl PackedKernels {
    /// A place for a layer of Burn's, as long as it has this kernel.
    pub(crate) fn of_kernel(kernel: &Tensor<4>) -> Self {
        let Some(identity) = Identity::new(kernel) else {
            return Self::default();
        };
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|(identity, _)| identity.0.strong_count() > 0);
        if let Some((_, place)) = places.iter().find(|(other, _)| *other == identity) {
            return place.share();
        }
        if places.len() == MOST {
            places.remove(0);
        }
        let place = Self::default();
        places.push((identity, place.share()));
        place
    }
}
