use alloc::{string::String, vec::Vec};

use thiserror::Error;

/// Shares of channels that do not split them.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{name} are {shares:?}: {reason}")]
pub struct SharesError {
    /// Which shares: `shares`, `shares_in` or `shares_out`.
    pub name: &'static str,
    /// The shares given, from the full resolution down.
    pub shares: Vec<f64>,
    /// What they need.
    pub reason: &'static str,
}

/// Why tensors do not form one [`OctMaps`](crate::OctMaps), or do not fit a layer or each other.
///
/// Sizes are per axis. Every message names both sides.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MapsError {
    /// No group at all.
    #[error("a feature map needs at least one group of channels")]
    Empty,
    /// A group that does not have the resolution of its level.
    #[error(
        "group {level} of a map of batch {batch} and full resolution {size:?} must be \
         [{batch}, channels, {expected:?}], not {actual:?}: it lies {level} octaves below"
    )]
    Resolution {
        /// The group, counted from the full resolution.
        level: usize,
        /// The batch size of the first group.
        batch: usize,
        /// The full resolution.
        size: Vec<usize>,
        /// The resolution that the group must have.
        expected: Vec<usize>,
        /// The shape that it has.
        actual: Vec<usize>,
    },
    /// The groups do not have the channels that a layer expects.
    #[error(
        "expected groups of {expected:?} channels, got {actual:?}: the shares of the previous \
         layer's output must be those of this layer's input"
    )]
    Channels {
        /// Channels of each group that the layer expects.
        expected: Vec<usize>,
        /// Channels of each group of the input.
        actual: Vec<usize>,
    },
    /// A layer halves other axes than the map does.
    #[error("the layer halves the axes {layer:?}, the map {map:?}")]
    Axes {
        /// Whether the layer halves each axis.
        layer: Vec<bool>,
        /// Whether the map does.
        map: Vec<bool>,
    },
    /// Two maps of different layout were combined.
    #[error("feature maps differ: {left} and {right}")]
    Mismatch {
        /// Layout of the first, as [`OctMaps::describe`](crate::OctMaps::describe) puts it.
        left: String,
        /// Layout of the second.
        right: String,
    },
    /// A map that is smaller than the kernel that is to slide over it.
    #[error(
        "the path from group {from} to group {to} reads a map of {map:?}, which with padding \
         (begin, end) = {padding:?} is smaller than the extent {extent:?} of the dilated kernel"
    )]
    TooSmall {
        /// The group that is read.
        from: usize,
        /// The group that is written.
        to: usize,
        /// Size of the map.
        map: Vec<usize>,
        /// Padding of the layer.
        padding: Vec<(usize, usize)>,
        /// `dilation · (kernel_size − 1) + 1`.
        extent: Vec<usize>,
    },
    /// A transposed layer cannot give an output of this size.
    #[error(
        "an output of {output:?} does not belong to an input of {input:?}: with stride {stride:?} \
         the layer whose adjoint this is gives {forward:?} there"
    )]
    OutputSize {
        /// The full resolution that was asked for.
        output: Vec<usize>,
        /// The full resolution of the input.
        input: Vec<usize>,
        /// The stride.
        stride: Vec<usize>,
        /// What the convolution makes of a map of that resolution.
        forward: Vec<usize>,
    },
    /// A part that does not begin at a pixel of every group.
    #[error(
        "{what} of {begin:?} pixels at the beginning of a map of {size:?} would cut pixels of its \
         coarsest group: use multiples of {multiple:?}"
    )]
    Alignment {
        /// `crop` or `padding`.
        what: &'static str,
        /// The pixels at the beginning.
        begin: Vec<usize>,
        /// The full resolution of the map.
        size: Vec<usize>,
        /// What they must be multiples of.
        multiple: Vec<usize>,
    },
    /// A part that reaches over the border, or has no pixels.
    #[error("a map of {size:?} has no part of {part:?} that begins at {start:?}")]
    Outside {
        /// The full resolution of the map.
        size: Vec<usize>,
        /// Where the part begins.
        start: Vec<usize>,
        /// The size of the part.
        part: Vec<usize>,
    },
    /// Shares that do not split the channels.
    #[error(transparent)]
    Shares(#[from] SharesError),
}
