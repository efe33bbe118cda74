//! A convolution and the norm behind it, and how they become kernels that the engine reads.

use std::sync::Arc;

use octave_plan::{Path, Plan, Refusal};

use super::{
    lowered::{self, Group, ScaleShift, add_terms, scale_shift},
    packed::{Identity, LayerOrigin, Origin, Packed, Reading},
};
use crate::ops::{kernels::OctKernels, statistics::Statistics};

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

    /// The padding at the top and at the left.
    pub(super) fn padding(&self) -> [usize; 2] {
        let padding = self.plan.fused_padding();
        // Whether the engine has kernels for the layer was asked when the work was noted.
        padding.unwrap_or_else(|e| panic!("the engine cannot compute {e}"))
    }

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
    fn groups(&self, number: usize) -> Result<[Group; 2], Refusal> {
        let padding = self.plan.fused_padding()?;
        let mut groups = [Group::default(), Group::default()];
        add_terms(&self.plan, &self.kernels, &mut groups, |path| Reading {
            layer: number,
            level: path.from,
            halvings: path.pool + path.down,
            stride: path.stride,
            padding,
        })?;
        for (level, group) in groups.iter_mut().enumerate() {
            if let Some(affine) = self.scale_shift(level)? {
                group.scale(&affine);
            }
        }
        Ok(groups)
    }

    /// What its packed kernels are made of.
    fn origin(&self) -> LayerOrigin {
        let kernels = &self.kernels;
        let weights = [&kernels.h2h, &kernels.h2l, &kernels.l2h, &kernels.l2l];
        let biases = [&kernels.bias_high, &kernels.bias_low];
        let weights = weights.into_iter().flatten().map(Identity::new);
        let biases = biases.into_iter().flatten().map(Identity::new);
        let norms = || self.norm.iter().flat_map(|norm| norm.iter().flatten());
        let states = norms().flat_map(|norm| &norm.tensors).map(Identity::new);
        LayerOrigin {
            plan: self.plan.clone(),
            tensors: weights.chain(biases).chain(states).collect(),
            epsilons: norms().map(|norm| norm.epsilon).collect(),
        }
    }
}

/// The packed kernels of layers that are summed, each followed by its norm, kept by the first of
/// them; `first` if it is one that reads images.
pub(super) fn packed(layers: &[&Layer], first: bool) -> Result<Arc<Packed>, Refusal> {
    let origin = Origin {
        first,
        layers: layers.iter().map(|layer| layer.origin()).collect(),
    };
    layers[0].kernels.packed.of(origin, || match layers {
        [layer] if first => layer.by_path(lowered::first).map(Packed::First),
        [layer] if layer.plan.is_depthwise() => {
            layer.by_path(lowered::depthwise).map(Packed::Depthwise)
        }
        _ => sums(layers),
    })
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
