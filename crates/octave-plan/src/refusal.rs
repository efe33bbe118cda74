use core::fmt;

use crate::{Downsample, Padding, Path, Plan, Upsample};

/// Why fused kernels do not compute a layer, so that it is composed of other operations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The engine is switched off for the calling thread.
    SwitchedOff,
    /// There is no engine for the backend of a tensor.
    Backend,
    /// A tensor has another precision than f32.
    Precision,
    /// Gradients are tracked where only results are computed.
    Tracked,
    /// More groups of channels than kernels have levels for, or an axis that all of them share.
    Frequencies,
    /// A stride other than 1 and 2.
    Stride {
        /// The stride.
        stride: usize,
    },
    /// Strided convolutions in a layer with more than the path H→H.
    Strided,
    /// A strided convolution with a dilation, or with a padding that is wider than half the kernel
    /// or depends on the size.
    StridedPadding,
    /// Going down other than by average pooling.
    Downsample,
    /// Going up other than by nearest neighbour.
    Upsample,
    /// A padding that differs at the two ends of an axis, or is wider than the kernel.
    Padding {
        /// `(begin, end)` per axis.
        padding: [(usize, usize); 2],
    },
    /// A padding that does not keep the size, in a layer with more than the path H→H.
    Misaligned {
        /// `(begin, end)` per axis.
        padding: [(usize, usize); 2],
    },
    /// No images, or maps smaller than the kernel.
    Empty,
    /// More numbers in a map or a kernel than can be addressed.
    TooLarge,
    /// What is computed together does not have the same shape.
    Shape,
    /// A pooling that the kernels do not have.
    Pooling,
    /// A layer that has no kernel, by its name.
    Layer(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::SwitchedOff => "the engine is switched off",
            Self::Backend => "a backend without an engine",
            Self::Precision => "a precision other than f32",
            Self::Tracked => "tracked gradients",
            Self::Frequencies => "more than four frequencies, or an axis that is not halved",
            Self::Stride { stride } => return write!(f, "stride {stride}"),
            Self::Strided => "strided convolutions between several frequencies",
            Self::StridedPadding => "padding or dilation of a strided convolution",
            Self::Downsample => "downsampling other than by average pooling",
            Self::Upsample => "upsampling other than by nearest neighbour",
            Self::Padding { padding } => return write!(f, "padding {padding:?}"),
            Self::Misaligned { padding } => {
                return write!(f, "padding {padding:?}, which does not keep the size");
            }
            Self::Empty => "empty maps",
            Self::TooLarge => "maps or kernels too large to address",
            Self::Shape => "shapes that differ",
            Self::Pooling => "windows of the pooling",
            Self::Layer(name) => name,
        };
        f.write_str(text)
    }
}

impl core::error::Error for Refusal {}

/// Whether the stride is taken along one of two axes only.
fn strides_apart(plan: &Plan<2>) -> bool {
    let [rows, columns] = plan.strides();
    rows != columns
}

impl Plan<2> {
    /// The padding at the top and at the left of each path's convolution, if fused kernels compute
    /// the layer: sums of convolutions whose inputs are average-pooled and whose results are
    /// repeated over 2×2 pixels.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] found.
    pub fn fused_padding(&self) -> Result<[usize; 2], Refusal> {
        let alone = matches!(&self.paths[..], [path] if (path.from, path.to) == (0, 0));
        let strides = self.strided && self.stride == 2;
        if self.octave_axes != [true; 2] {
            return Err(Refusal::Frequencies);
        }
        if !matches!(self.stride, 1 | 2) {
            return Err(Refusal::Stride {
                stride: self.stride,
            });
        }
        if strides_apart(self) {
            return Err(Refusal::Stride { stride: 1 });
        }
        let any = |of: fn(&Path) -> bool| self.paths.iter().any(of);
        if any(|path| path.to > path.from) && self.downsample != Downsample::Average {
            return Err(Refusal::Downsample);
        }
        if any(|path| path.up > 0) && self.upsample != Upsample::Nearest {
            return Err(Refusal::Upsample);
        }
        if strides && !alone {
            return Err(Refusal::Strided);
        }
        let padding = self.padding_at_stride_1();
        if padding.iter().any(|(begin, end)| begin != end) {
            return Err(Refusal::Padding { padding });
        }
        // `Same` with a strided convolution depends on the size and may pad at the end only.
        if strides && self.padding == Padding::Same && self.extent() != [1; 2] {
            return Err(Refusal::StridedPadding);
        }
        if !self.keeps_size() && !alone {
            return Err(Refusal::Misaligned { padding });
        }
        Ok(padding.map(|(begin, _)| begin))
    }
}

#[cfg(test)]
mod tests;
