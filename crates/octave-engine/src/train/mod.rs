//! Training: one octave convolution at a time, on plain NCHW tensors.
//!
//! Inputs are brought into the blocked layout a few images at a time, so that
//! what one region writes the next one reads from the cache; pooled copies and
//! 2×2 sums are made in the same pass. Results leave the kernels as NCHW, tile
//! by tile. All memory in between lives in a [`Workspace`].

mod backward;
mod forward;
mod intake;
pub mod norm;
mod strided;
mod weight_grad;

pub use backward::{Gradients, octconv2d_backward};
pub use forward::octconv2d_forward;

use super::conv::{Kernel, PackedWeights};
use super::map::BlockedMap;

/// Geometry of an octave convolution. Frequency groups are ordered
/// `[high, low]`; a group without channels does not exist.
#[derive(Clone, Debug, PartialEq)]
pub struct OctConv {
    /// Images.
    pub images: usize,
    /// Height and width of the input's full resolution; the low group has half
    /// of each, rounded up.
    pub size: [usize; 2],
    /// Input channels.
    pub c_in: [usize; 2],
    /// Output channels.
    pub c_out: [usize; 2],
    /// `[kh, kw]`.
    pub kernel: [usize; 2],
    /// 1 or 2. A stride of 2 pools the inputs and convolves with stride 1.
    pub stride: usize,
    /// Use the stride in the convolution itself; only for H→H alone.
    pub strided: bool,
    /// Pixels added on all sides, per axis.
    pub padding: [usize; 2],
    /// Distance between taps, per axis.
    pub dilation: [usize; 2],
    /// Groups, the same in all paths.
    pub groups: usize,
}

/// Weights `[c_out, c_in / groups, kh, kw]` of the four paths, contiguous, and
/// biases. A path without a weight does not exist.
#[derive(Clone, Copy, Default)]
pub struct OctWeights<'a> {
    /// H→H
    pub hh: Option<&'a [f32]>,
    /// H→L
    pub hl: Option<&'a [f32]>,
    /// L→H
    pub lh: Option<&'a [f32]>,
    /// L→L
    pub ll: Option<&'a [f32]>,
    /// Of the high outputs.
    pub bias_h: Option<&'a [f32]>,
    /// Of the low outputs.
    pub bias_l: Option<&'a [f32]>,
}

/// Memory that is kept from call to call: layers of any shape can share one.
#[derive(Default)]
pub struct Workspace {
    /// X^H, its pooled and twice pooled forms.
    x_high: [BlockedMap; 3],
    /// X^L and its pooled form.
    x_low: [BlockedMap; 2],
    /// dY^H and its 2×2 sums.
    dy_high: [BlockedMap; 2],
    dy_low: BlockedMap,
    /// Kernels of the two products, fine and coarse.
    fine: [PackedWeights; 2],
    coarse: [PackedWeights; 2],
    /// Gradients of hh, hl, lh, ll.
    grads: [PackedWeights; 4],
    stem: strided::StemSpace,
}

impl OctConv {
    /// Sizes of the high and the low input.
    pub fn in_sizes(&self) -> [[usize; 2]; 2] {
        [self.size, self.size.map(|s| s.div_ceil(2))]
    }

    /// Sizes of the high and the low output.
    pub fn out_sizes(&self) -> [[usize; 2]; 2] {
        let [high, low] = self.conv_sizes();
        let out = |size: [usize; 2]| {
            [0, 1].map(|a| {
                let (reach, padded) = (
                    (self.kernel[a] - 1) * self.dilation[a],
                    size[a] + 2 * self.padding[a],
                );
                let stride = if self.strided { self.stride } else { 1 };
                // Zero where the kernel does not fit.
                (padded + stride).saturating_sub(reach + 1) / stride
            })
        };
        [out(high), out(low)]
    }

    /// Sizes of the high and the low map that the convolutions read.
    fn conv_sizes(&self) -> [[usize; 2]; 2] {
        let pooled = self.stride == 2 && !self.strided;
        self.in_sizes()
            .map(|s| if pooled { s.map(|v| v.div_ceil(2)) } else { s })
    }

    fn pools(&self) -> bool {
        self.stride == 2 && !self.strided
    }

    /// Border that the maps need, for the convolution and for its transpose.
    fn border(&self) -> usize {
        let back = self.back_padding();
        self.padding.into_iter().chain(back).max().unwrap_or(0)
    }

    /// Padding of the transposed convolution.
    fn back_padding(&self) -> [usize; 2] {
        [0, 1].map(|a| {
            let reach = (self.kernel[a] - 1) * self.dilation[a];
            assert!(
                self.padding[a] <= reach,
                "padding {:?} wider than the kernel",
                self.padding
            );
            reach - self.padding[a]
        })
    }

    fn kernel<'a>(&self, weight: &'a [f32], c_in: usize, transposed: bool) -> Kernel<'a> {
        Kernel {
            weight,
            c_in,
            size: self.kernel,
            dilation: self.dilation,
            groups: self.groups,
            transposed,
        }
    }

    /// The kernels that exist, each with its input channels.
    fn kernels<'a>(
        &self,
        paths: &[(Option<&'a [f32]>, usize)],
        transposed: bool,
    ) -> Vec<Kernel<'a>> {
        paths
            .iter()
            .filter_map(|&(w, c)| Some(self.kernel(w?, c, transposed)))
            .collect()
    }

    /// Why the kernels here cannot compute this layer forward and backward,
    /// or `None` if they can. `paths` says which of H→H, H→L, L→H and L→L
    /// exist. Callers compose the layer from other operations instead.
    pub fn unsupported(&self, paths: [bool; 4]) -> Option<String> {
        let [hh, hl, lh, ll] = paths;
        if !matches!(self.stride, 1 | 2) {
            return Some(format!("stride {}, only 1 and 2 have kernels", self.stride));
        }
        if self.strided && !(hh && !hl && !lh && !ll) {
            return Some("a strided convolution with more than the path H→H".into());
        }
        for (group, (c, out)) in self.c_out.into_iter().zip(self.out_sizes()).enumerate() {
            if c > 0 && out.contains(&0) {
                let name = ["high", "low"][group];
                return Some(format!(
                    "a {name} output of size {out:?} from {:?}",
                    self.size
                ));
            }
        }
        for axis in [0, 1] {
            let reach = (self.kernel[axis] - 1) * self.dilation[axis];
            if self.padding[axis] > reach {
                return Some(format!("padding {:?} wider than the kernel", self.padding));
            }
            if self.strided
                && self.stride == 2
                && (self.dilation[axis] > 1 || 2 * self.padding[axis] > reach)
            {
                return Some(format!(
                    "stride 2 with dilation {:?} and padding {:?}",
                    self.dilation, self.padding
                ));
            }
        }
        let (before, after) = (self.conv_sizes(), self.out_sizes());
        if (hl || lh) && before != after {
            return Some(format!(
                "padding {:?} turns {before:?} into {after:?}",
                self.padding
            ));
        }
        None
    }

    fn check(&self, w: &OctWeights<'_>) {
        let paths = [w.hh, w.hl, w.lh, w.ll].map(|w| w.is_some());
        if let Some(reason) = self.unsupported(paths) {
            panic!("{reason}");
        }
    }

    /// Images to work on at a time: as many as keep the blocked maps, of
    /// `floats` per image, in a cache that the cores share.
    fn images_at_once(&self, floats: usize) -> usize {
        const BUDGET: usize = 2 << 20;
        (BUDGET / floats.max(1)).clamp(1, self.images.max(1))
    }
}

/// The images `range` of a tensor of `images` images.
fn images_of<T>(x: &[T], images: usize, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let one = x.len() / images;
    range.start * one..range.end * one
}

#[cfg(test)]
mod tests;
