//! The kernels of a layer as the engine reads them, kept as long as the parameters are the same.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use burn::tensor::{Bytes, Tensor};
use octave_engine::conv::{DepthwiseWeights, StemWeights};
use octave_plan::{Path, Plan, Refusal};

use crate::{
    conv::Statistics,
    lowered::{self, Group, ScaleShift, Sum, add_terms, scale_shift},
    ops::{OctKernels, flex::flex_tensor},
};

/// The norms of both groups, by level.
pub(super) type Norm = Box<[Option<Statistics>; 2]>;

/// A convolution and the norm behind it.
pub(super) struct Layer {
    pub(super) plan: Plan<2>,
    pub(super) kernels: OctKernels,
    pub(super) norm: Option<Norm>,
}

impl Layer {
    pub(super) fn new(plan: &Plan<2>, kernels: OctKernels) -> Self {
        Self {
            plan: plan.clone(),
            kernels,
            norm: None,
        }
    }

    /// Where its packed kernels are kept.
    pub(super) fn packed(&self) -> &PackedKernels {
        &self.kernels.packed
    }

    /// The padding at the top and at the left.
    pub(super) fn padding(&self) -> [usize; 2] {
        let padding = self.plan.fused_padding();
        // Whether the engine has kernels for the layer was asked when the work was noted.
        padding.unwrap_or_else(|e| panic!("the engine cannot compute {e}"))
    }
}

/// What a product reads.
pub(super) struct Reading {
    /// Of the layers that are summed, the one that reads it.
    pub(super) layer: usize,
    pub(super) level: usize,
    pub(super) halvings: usize,
    pub(super) stride: usize,
    pub(super) padding: [usize; 2],
}

/// The output groups of a layer, by level.
pub(super) enum Packed {
    Sums(Box<[Option<Sum<Reading>>; 2]>),
    Depthwise([Option<DepthwiseWeights>; 2]),
    First([Option<StemWeights>; 2]),
}

impl Packed {
    /// Packs layers that are summed, each followed by its norm; `first` if it is one that reads
    /// images.
    fn new(layers: &[&Layer], first: bool) -> Result<Self, Refusal> {
        match layers {
            [layer] if first => layer.by_path(lowered::first).map(Self::First),
            [layer] if layer.plan.is_depthwise() => {
                layer.by_path(lowered::depthwise).map(Self::Depthwise)
            }
            _ => sums(layers),
        }
    }
}

impl Layer {
    fn scale_shift(&self, level: usize) -> Result<Option<ScaleShift>, Refusal> {
        let norm = self.norm.as_ref().and_then(|norm| norm[level].as_ref());
        norm.map(scale_shift).transpose()
    }

    /// Packs a layer in which each output group has one path.
    fn by_path<W>(
        &self,
        pack: impl Fn(&Plan<2>, &OctKernels, &Path, Option<&ScaleShift>) -> Result<W, Refusal>,
    ) -> Result<[Option<W>; 2], Refusal> {
        let mut levels = [None, None];
        for path in &self.plan.paths {
            let affine = self.scale_shift(path.to)?;
            let weights = pack(&self.plan, &self.kernels, path, affine.as_ref())?;
            levels[path.to] = Some(weights);
        }
        Ok(levels)
    }

    /// What the layer, the one of this `number`, sums into each output group.
    fn groups(&self, number: usize) -> Result<[Group<Reading>; 2], Refusal> {
        let padding = self.plan.fused_padding()?;
        let mut groups = [Group::default(), Group::default()];
        add_terms(&self.plan, &self.kernels, &mut groups, |path| {
            Ok(Reading {
                layer: number,
                level: path.from,
                halvings: path.pool + path.down,
                stride: path.stride,
                padding,
            })
        })?;
        for (level, group) in groups.iter_mut().enumerate() {
            if let Some(affine) = self.scale_shift(level)? {
                group.scale(&affine);
            }
        }
        Ok(groups)
    }
}

fn sums(layers: &[&Layer]) -> Result<Packed, Refusal> {
    let mut sums = layers[0].groups(0)?;
    for (number, layer) in layers.iter().enumerate().skip(1) {
        for (sum, group) in sums.iter_mut().zip(layer.groups(number)?) {
            sum.extend(group);
        }
    }
    let plan = &layers[0].plan;
    let mut levels = [None, None];
    for (level, group) in sums.into_iter().enumerate() {
        levels[level] = (plan.output[level] > 0).then(|| group.pack(plan.groups));
    }
    Ok(Packed::Sums(Box::new(levels)))
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
    first: bool,
    layers: Vec<LayerOrigin>,
}

#[derive(PartialEq)]
struct LayerOrigin {
    plan: Plan<2>,
    /// Of all tensors that are there. Their number tells a layer with a norm from one without.
    tensors: Vec<Option<Identity>>,
    epsilons: Vec<f64>,
}

impl LayerOrigin {
    fn new(layer: &Layer) -> Self {
        let kernels = &layer.kernels;
        let weights = [&kernels.h2h, &kernels.h2l, &kernels.l2h, &kernels.l2l];
        let biases = [&kernels.bias_high, &kernels.bias_low];
        let weights = weights.into_iter().flatten().map(Identity::new);
        let biases = biases.into_iter().flatten().map(Identity::new);
        let norms = || layer.norm.iter().flat_map(|norm| norm.iter().flatten());
        let states = norms().flat_map(|norm| &norm.tensors).map(Identity::new);
        Self {
            plan: layer.plan.clone(),
            tensors: weights.chain(biases).chain(states).collect(),
            epsilons: norms().map(|norm| norm.epsilon).collect(),
        }
    }
}

impl Origin {
    fn new(layers: &[&Layer], first: bool) -> Self {
        let layers = layers.iter().map(|layer| LayerOrigin::new(layer));
        let layers = layers.collect();
        Self { first, layers }
    }

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

    /// The packed kernels of layers that are summed, of which this place is the first's: those that
    /// are kept, if they were made of the same tensors.
    pub(super) fn of(&self, layers: &[&Layer], first: bool) -> Result<Arc<Packed>, Refusal> {
        let origin = Origin::new(layers, first);
        let same = |entry: &Arc<Entry>| origin.is_known() && entry.origin == origin;
        if let Some(entry) = self.get().filter(same) {
            return Ok(entry.packed.clone());
        }
        let packed = Arc::new(Packed::new(layers, first)?);
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
