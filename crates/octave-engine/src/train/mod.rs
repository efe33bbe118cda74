//! Training: one octave convolution at a time, on plain NCHW tensors.
//!
//! Inputs are brought into the blocked layout a few images at a time, so that
//! what one region writes the next one reads from the cache; pooled copies and
//! 2×2 sums are made in the same pass. Results leave the kernels as NCHW, tile
//! by tile. All memory in between lives in a [`Workspace`].
//!
//! What a layer is comes from its [plan](octave_plan::Plan). For each path from level `i` to
//! level `j`, with W its kernel,
//!
//! ```text
//! Y_j  += up(W ⋆ pool(X_i))
//! dX_i += U(Wᵀ · S(dY_j))        dW = pool(X_i) ⋆ S(dY_j)
//! ```
//!
//! with S the 2×2 sum (adjoint of the upsampling) and U the spreading over 2×2
//! pixels (adjoint of the pooling), each as often as the plan says. What comes
//! from several resolutions is summed from the lowest one up, so every level is
//! upsampled, or spread, once.

mod backward;
mod depthwise;
mod forward;
mod geometry;
mod intake;
pub mod norm;
mod strided;
mod transposed;
mod weight_grad;

pub use geometry::OctConv;

use super::conv::PackedWeights;
use super::map::BlockedMap;

/// Levels of resolution that a layer may have: 1, ½, ¼ and ⅛.
pub const LEVELS: usize = 4;

/// Resolutions in which a map is read: pooled down all levels, and once for a stride.
const HALVINGS: usize = LEVELS + 1;

/// What a layer is computed from: contiguous NCHW tensors, kernels `[c_out, c_in / groups, kh, kw]`
/// and biases.
#[derive(Clone, Default)]
pub struct Operands<'a> {
    /// The inputs by level.
    pub inputs: [Option<&'a [f32]>; LEVELS],
    /// The kernels, in the order of the plan's paths.
    pub kernels: Vec<&'a [f32]>,
    /// The biases by level of the output.
    pub biases: [Option<&'a [f32]>; LEVELS],
}

impl<'a> Operands<'a> {
    fn input(&self, level: usize) -> &'a [f32] {
        self.inputs[level].unwrap_or_else(|| panic!("no input of level {level}"))
    }
}

/// Where gradients go, shaped like what they are gradients of; `None` where
/// one is not wanted.
#[derive(Default)]
pub struct Gradients<'a> {
    /// Of the inputs by level.
    pub inputs: [Option<&'a mut [f32]>; LEVELS],
    /// Of the kernels, in the order of the plan's paths.
    pub kernels: Vec<Option<&'a mut [f32]>>,
    /// Of the biases by level of the output.
    pub biases: [Option<&'a mut [f32]>; LEVELS],
}

/// Memory that is kept from call to call: layers of any shape can share one.
#[derive(Default)]
pub struct Workspace {
    /// Inputs by level and by how often they are pooled.
    x: [[BlockedMap; HALVINGS]; LEVELS],
    /// Gradients of outputs by level and by how often they are summed.
    dy: [[BlockedMap; HALVINGS]; LEVELS],
    /// Kernels of the products by level and by how often their sum is halved.
    packed: [[PackedWeights; HALVINGS]; LEVELS],
    /// Gradients of the kernels of the paths.
    grads: Vec<PackedWeights>,
    stem: strided::StemSpace,
}

/// The images `range` of a tensor of `images` images.
fn images_of<T>(x: &[T], images: usize, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let one = x.len() / images;
    range.start * one..range.end * one
}

#[cfg(test)]
mod tests;
