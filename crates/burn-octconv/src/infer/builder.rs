//! The list of operations that a network is made of, as layers are added to it.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use octave_engine::{
    affine::AffineWeights,
    conv::{Activation, DepthwiseWeights, PackedWeights, StemWeights},
};

use crate::OctConv2d;

/// A map of a network: one frequency group, by its place in the list of maps.
pub(super) type Id = usize;

/// A resolution, by its place in the list of resolutions.
pub(super) type SizeId = usize;

/// How a resolution follows from that of the images.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Size {
    /// That of the images.
    Image,
    /// `⌈size / 2⌉`.
    Half(SizeId),
    /// The output of a convolution.
    Conv {
        of: SizeId,
        /// `dilation · (kernel_size − 1) + 1`, `[height, width]`.
        extent: [usize; 2],
        stride: usize,
        padding: [usize; 2],
    },
}

/// What is known of a map without the size of the images.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub channels: usize,
    pub size: SizeId,
    /// Zero border: the widest padding of the convolutions that read it.
    pub pad: usize,
}

/// A source of a product.
pub(super) struct Reading {
    pub map: Id,
    pub stride: usize,
    pub padding: [usize; 2],
}

/// One output group of a layer; see [`Product`](octave_engine::conv::Product).
pub(super) struct Node {
    pub weights: PackedWeights,
    pub sources: Vec<Reading>,
    pub coarse: Option<(PackedWeights, Vec<Reading>)>,
    pub residual: Option<Id>,
    pub activation: Activation,
    pub to: Id,
    pub pooled: Option<Id>,
}

/// An operation of a network.
pub(super) enum Op {
    /// From the images to the first map.
    Stem {
        weights: StemWeights,
        stride: usize,
        padding: [usize; 2],
        activation: Activation,
        max_pool: bool,
        to: Id,
    },
    Product(Box<Node>),
    Depthwise {
        weights: DepthwiseWeights,
        from: Id,
        stride: usize,
        padding: [usize; 2],
        activation: Activation,
        to: Id,
        pooled: Option<Id>,
    },
    Affine {
        weights: AffineWeights,
        activation: Activation,
        from: Id,
        to: Id,
        pooled: Option<Id>,
    },
    /// 2×2 average pooling.
    Pool {
        from: Id,
        to: Id,
    },
    /// 3×3 max pooling with stride 2.
    MaxPool {
        from: Id,
        to: Id,
    },
}

impl Op {
    /// The maps that it reads.
    pub(super) fn reads(&self) -> Vec<Id> {
        match self {
            Self::Stem { .. } => Vec::new(),
            Self::Product(node) => {
                let coarse = node.coarse.iter().flat_map(|(_, sources)| sources);
                let sources = node.sources.iter().chain(coarse).map(|source| source.map);
                sources.chain(node.residual).collect()
            }
            Self::Depthwise { from, .. }
            | Self::Affine { from, .. }
            | Self::Pool { from, .. }
            | Self::MaxPool { from, .. } => vec![*from],
        }
    }

    /// Its result.
    pub(super) fn to(&self) -> Id {
        match self {
            Self::Product(node) => node.to,
            Self::Stem { to, .. }
            | Self::Depthwise { to, .. }
            | Self::Affine { to, .. }
            | Self::Pool { to, .. }
            | Self::MaxPool { to, .. } => *to,
        }
    }

    /// Where it writes the 2×2 averages of its result, if it can.
    fn pooled_slot(&mut self) -> Option<&mut Option<Id>> {
        match self {
            Self::Product(node) => Some(&mut node.pooled),
            Self::Depthwise { pooled, .. } | Self::Affine { pooled, .. } => Some(pooled),
            Self::Stem { .. } | Self::Pool { .. } | Self::MaxPool { .. } => None,
        }
    }

    /// The maps that it writes.
    pub(super) fn writes(&self) -> Vec<Id> {
        let pooled = match self {
            Self::Product(node) => node.pooled,
            Self::Depthwise { pooled, .. } | Self::Affine { pooled, .. } => *pooled,
            Self::Stem { .. } | Self::Pool { .. } | Self::MaxPool { .. } => None,
        };
        [Some(self.to()), pooled].into_iter().flatten().collect()
    }
}

/// A multi-frequency feature map inside a network that is being built.
#[derive(Clone, Copy, Debug)]
pub struct OctMap {
    /// The number of the builder that made it.
    builder: u64,
    /// High and low group.
    groups: [Option<Id>; 2],
    /// Full resolution.
    pub(super) size: SizeId,
}

impl OctMap {
    /// The map of a frequency group, 0 for the high one.
    pub(super) fn group(&self, level: usize) -> Option<Id> {
        self.groups[level]
    }
}

/// What a layer does with its result before storing it.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// A map of the layer's output shape to add.
    pub residual: Option<OctMap>,
    /// A convolution of another map to add: the projection shortcut of a residual block.
    pub projection: Option<(OctMap, &'a OctConv2d)>,
    /// Applied last.
    pub activation: Activation,
}

impl Epilogue<'_> {
    /// A ReLU and nothing else.
    pub fn relu() -> Self {
        Self::activate(Activation::Relu)
    }

    /// An activation and nothing else.
    pub fn activate(activation: Activation) -> Self {
        Self {
            activation,
            ..Self::default()
        }
    }
}

/// Builds a [`Network`](super::Network) from layers.
pub struct NetworkBuilder {
    /// Tells builders apart, so that none takes the map of another for its own.
    number: u64,
    pub(super) maps: Vec<Map>,
    pub(super) sizes: Vec<Size>,
    pub(super) ops: Vec<Op>,
    /// The average-pooled copies that there are.
    pooled: HashMap<Id, Id>,
}

impl Default for NetworkBuilder {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            maps: Vec::new(),
            sizes: Vec::new(),
            ops: Vec::new(),
            pooled: HashMap::new(),
        }
    }
}

impl NetworkBuilder {
    /// Panics if a map is another builder's: the same number would stand for another map.
    #[track_caller]
    pub(super) fn check(&self, map: OctMap) {
        assert!(
            map.builder == self.number,
            "a map of another NetworkBuilder: give the maps that this one made"
        );
    }

    /// A map of this builder.
    pub(super) fn oct_map(&self, groups: [Option<Id>; 2], size: SizeId) -> OctMap {
        OctMap {
            builder: self.number,
            groups,
            size,
        }
    }

    /// A map of this builder without a low group.
    pub(super) fn plain(&self, high: Id, size: SizeId) -> OctMap {
        self.oct_map([Some(high), None], size)
    }

    /// A resolution; equal ones are one.
    pub(super) fn size(&mut self, size: Size) -> SizeId {
        let known = self.sizes.iter().position(|&known| known == size);
        known.unwrap_or_else(|| {
            self.sizes.push(size);
            self.sizes.len() - 1
        })
    }

    /// The resolution after a convolution.
    pub(super) fn conv_size(
        &mut self,
        of: SizeId,
        extent: [usize; 2],
        stride: usize,
        padding: [usize; 2],
    ) -> SizeId {
        // With the usual padding one resolution however large the kernel is, so that paths of
        // different kernels meet.
        match (keeps_size(extent, padding), stride) {
            (true, 1) => of,
            (true, 2) => self.size(Size::Half(of)),
            _ => self.size(Size::Conv {
                of,
                extent,
                stride,
                padding,
            }),
        }
    }

    /// A new map.
    pub(super) fn map(&mut self, channels: usize, size: SizeId) -> Id {
        self.maps.push(Map {
            channels,
            size,
            pad: 0,
        });
        self.maps.len() - 1
    }

    /// A source of a product, for which `map` gets the border it needs.
    pub(super) fn read(&mut self, map: Id, stride: usize, padding: [usize; 2]) -> Reading {
        let pad = &mut self.maps[map].pad;
        *pad = padding.into_iter().fold(*pad, usize::max);
        Reading {
            map,
            stride,
            padding,
        }
    }

    /// The 2×2 averages of a map: written by the operation that makes the map where it can, and
    /// once however often they are asked for.
    pub(super) fn pool(&mut self, map: Id) -> Id {
        if let Some(&pooled) = self.pooled.get(&map) {
            return pooled;
        }
        let Map { channels, size, .. } = self.maps[map];
        let size = self.size(Size::Half(size));
        let to = self.map(channels, size);
        self.pooled.insert(map, to);
        let producer = self.ops.iter_mut().find(|op| op.to() == map);
        match producer.and_then(Op::pooled_slot) {
            Some(slot) => *slot = Some(to),
            None => self.ops.push(Op::Pool { from: map, to }),
        }
        to
    }
}

/// Whether a convolution with stride 1 returns a map of its input's size.
pub(super) fn keeps_size(extent: [usize; 2], padding: [usize; 2]) -> bool {
    (0..2).all(|axis| 2 * padding[axis] + 1 == extent[axis])
}
