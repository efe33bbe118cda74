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
mod operands;
mod strided;
mod transposed;
mod weight_grad;

pub use geometry::OctConv;
pub use operands::{Gradients, LEVELS, Operands};

use super::conv::PackedWeights;
use super::map::BlockedMap;
use operands::HALVINGS;

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

#[cfg(test)]
mod tests;
