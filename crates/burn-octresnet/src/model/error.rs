use burn_octconv::OctConvError;

use super::{Alpha, Arch, Shares, Stem, Stride};

/// The widest that a network can be: four thousand times the kernels. Beyond, merely naming the parts
/// takes gigabytes for the norms.
pub(super) const MAX_WIDTH: f64 = 64.0;

/// Why a network cannot be built. Every message is one line and names the offending value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// An α outside `[0, 1]`.
    #[error(transparent)]
    OctConv(#[from] OctConvError),
    /// A layer that cannot be built, mostly since its groups do not divide its channels at this α
    /// and width.
    #[error("{arch}, {layer}: {error}")]
    Layer {
        /// The network.
        arch: Arch,
        /// Where the layer stands, such as `layer1.0.conv2`.
        layer: String,
        /// What is wrong with it; boxed, as it is large and errors are rare.
        error: Box<OctConvError>,
    },
    /// A network that cannot tell anything apart.
    #[error("num_classes is {0}: a classifier needs at least 1 class")]
    Classes(usize),
    /// A width that is no positive number, or of a network that no machine holds.
    #[error(
        "width is {0}: the width multiplier must be a positive number of at most {MAX_WIDTH}, such as 1.0"
    )]
    Width(f64),
    /// A stem that the architecture does not have.
    #[error("{arch} has no stem '{stem}': use '{}'", arch.default_stem())]
    Stem {
        /// The network.
        arch: Arch,
        /// The stem asked for.
        stem: Stem,
    },
    /// A way to take stride 2 for a network that has no convolutions of stride 2 in its stages.
    #[error("{arch} pools between its stages at any alpha: use stride 'auto', not '{stride}'")]
    Stride {
        /// The network.
        arch: Arch,
        /// The stride asked for.
        stride: Stride,
    },
    /// More than two frequencies in a network whose blocks have no more.
    #[error(
        "{arch} has blocks of two frequencies only, as all MobileNets and DenseNets have: shares {shares} are \
         more; use alpha, or a ResNet, ResNeXt or SE-ResNet"
    )]
    Frequencies {
        /// The network.
        arch: Arch,
        /// The shares of a stage; boxed, as is what is given below: both are large.
        shares: Box<Shares>,
    },
    /// A low frequency in the last stage.
    #[error(
        "{arch} has three stages, and the last has alpha 0: the third share must be 0, not {third}"
    )]
    LastStage {
        /// The network.
        arch: Arch,
        /// What was given for the third stage.
        third: Box<Alpha>,
    },
}
