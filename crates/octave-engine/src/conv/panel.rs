//! Kernels, and where their weights lie once they are packed.
//!
//! A *panel* holds up to 32 output channels. Inside a panel come the *steps*:
//! one per source, block of 16 input channels and kernel tap, each a matrix of
//! 16 input channels × panel width. So the kernel reads weights strictly in
//! sequence, and one vector of them serves a whole tile of pixels.

use std::ops::Range;

use super::tile::widest_panel;
use crate::BLOCK;
use crate::buffer::floats;
use crate::isa::Isa;

/// Most output channels of a panel.
pub(crate) const PANEL: usize = 32;

/// Width of the panels of a layer. Small groups get narrow ones, which see
/// fewer channels of other groups, whose weights are zeros; so do the tiles of
/// AVX2, which read no more of a panel.
pub fn panel_width(isa: Isa, c_out: usize, groups: usize) -> usize {
    if groups > 1 && c_out / groups < PANEL {
        BLOCK
    } else {
        widest_panel(isa)
    }
}

/// The kernel of one source of a product.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Weights `[c_out, c_in / groups, kh, kw]`, contiguous; where
    /// `transposed`, those of the layer whose gradient is computed,
    /// `[c_in, c_out / groups, kh, kw]`.
    pub weight: &'a [f32],
    /// Channels that the product reads.
    pub c_in: usize,
    /// `[kh, kw]`.
    pub size: [usize; 2],
    /// Distance between taps, per axis.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Swap the roles of input and output channels and reverse the taps:
    /// the kernel of the gradient with respect to the input.
    pub transposed: bool,
}

impl<'a> Kernel<'a> {
    /// A square kernel of `k`×`k`, no dilation, one group.
    pub fn new(weight: &'a [f32], c_in: usize, k: usize) -> Self {
        Self {
            weight,
            c_in,
            size: [k, k],
            dilation: [1, 1],
            groups: 1,
            transposed: false,
        }
    }

    /// Checks the kernel once; what is computed from its shape later on fits.
    ///
    /// # Panics
    ///
    /// If it has no taps, groups that do not divide the channels, weights of
    /// another length, or an extent beyond all memory.
    pub(super) fn check(&self, c_out: usize) -> SourceShape {
        let Self { c_in, groups, .. } = *self;
        check_taps(self.size, self.dilation);
        assert!(
            groups > 0 && c_in.is_multiple_of(groups) && c_out.is_multiple_of(groups),
            "{groups} groups do not divide {c_in} input and {c_out} output channels"
        );
        let [kh, kw] = self.size;
        assert_eq!(
            self.weight.len(),
            floats("a kernel", &[c_out, c_in / groups, kh, kw]),
            "weights of {c_in} → {c_out} channels, {groups} groups, a kernel of {kh}×{kw}"
        );
        SourceShape {
            c_in,
            size: self.size,
            dilation: self.dilation,
            groups,
        }
    }
}

/// Checks a kernel's size and dilation: it has taps, and spans no more than
/// memory can hold.
pub(crate) fn check_taps(size: [usize; 2], dilation: [usize; 2]) {
    assert!(
        !size.contains(&0) && !dilation.contains(&0),
        "a kernel of {size:?} with dilation {dilation:?} has no taps"
    );
    for axis in [0, 1] {
        floats(
            "the extent of a kernel",
            &[size[axis], dilation[axis], BLOCK],
        );
    }
}

/// One matrix of a panel: 16 input channels × panel width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub block: usize,
    pub tap: [usize; 2],
}

/// Where a panel lies.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// First output channel.
    pub first: usize,
    /// 32 or 16.
    pub width: usize,
    /// Offset of its weights, in floats.
    pub start: usize,
    /// Steps of each source, in the list of steps.
    pub steps: Vec<Range<usize>>,
}

impl Panel {
    /// Steps of all sources.
    pub(super) fn count(&self) -> usize {
        self.steps.iter().map(Range::len).sum()
    }

    /// Floats of its weights.
    pub(super) fn floats(&self) -> usize {
        self.count() * BLOCK * self.width
    }
}

/// What a packed kernel remembers of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceShape {
    /// Input channels.
    pub c_in: usize,
    /// `[kh, kw]`.
    pub size: [usize; 2],
    /// Distance between taps, per axis.
    pub dilation: [usize; 2],
    /// Groups of the convolution.
    pub groups: usize,
}
