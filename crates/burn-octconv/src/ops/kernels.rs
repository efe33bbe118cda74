use burn::tensor::Tensor;
use octave_plan::Path;

#[cfg(feature = "flex")]
use crate::blocked::PackedKernels;

/// The kernels and biases of one octave convolution. A path without a kernel does not exist.
#[derive(Debug, Clone, Default)]
pub struct OctKernels {
    /// H→H, `[channels_high_out, channels_high_in / groups, kernel_height, kernel_width]`.
    pub h2h: Option<Tensor<4>>,
    /// H→L, `[channels_low_out, channels_high_in / groups, kernel_height, kernel_width]`.
    pub h2l: Option<Tensor<4>>,
    /// L→H, `[channels_high_out, channels_low_in / groups, kernel_height, kernel_width]`.
    pub l2h: Option<Tensor<4>>,
    /// L→L, `[channels_low_out, channels_low_in / groups, kernel_height, kernel_width]`.
    pub l2l: Option<Tensor<4>>,
    /// Bias of the high output, `[channels_high_out]`.
    pub bias_high: Option<Tensor<1>>,
    /// Bias of the low output, `[channels_low_out]`.
    pub bias_low: Option<Tensor<1>>,
    /// Where an engine keeps them as it reads them, from call to call.
    #[cfg(feature = "flex")]
    pub packed: PackedKernels,
}

impl OctKernels {
    /// The kernel of a path.
    pub fn get(&self, path: &Path) -> Option<&Tensor<4>> {
        let kernel = match (path.from, path.to) {
            (0, 0) => &self.h2h,
            (0, 1) => &self.h2l,
            (1, 0) => &self.l2h,
            (1, 1) => &self.l2l,
            _ => return None,
        };
        kernel.as_ref()
    }
}
