//! Batch norms folded into convolutions of any rank and any number of frequencies, for inference.

use alloc::vec::Vec;

use burn::{
    module::Param,
    nn::BatchNorm,
    tensor::{DType, Tensor},
};
use octave_plan::Downsample;

use super::{OctConvNd, OctMapsBatchNorm, split::trimmed};
use crate::conv::{Affine, wide};

impl<const D: usize, const R: usize> OctConvNd<D, R> {
    /// The layer that computes what this one followed by `norm` does with its running statistics,
    /// within rounding: [`OctConv2d::fold_batch_norm`](crate::OctConv2d::fold_batch_norm) for any
    /// number of frequencies. It always has a bias.
    ///
    /// # Panics
    ///
    /// If the norm does not have the channels that the layer returns.
    pub fn fold_batch_norm(&self, norm: &OctMapsBatchNorm) -> Self {
        let affine = affines(norm, &self.plan.output);
        let dtype = self.dtype();
        let kernels = self.plan.paths.iter().zip(&self.kernels);
        let kernels = kernels.map(|(path, kernel)| of(&affine, path.to).rows(kernel));
        let biases = affine.iter().enumerate().map(|(level, affine)| {
            let bias = self.biases.get(level).and_then(Option::as_ref);
            affine.as_ref().map(|affine| affine.bias(bias, dtype))
        });
        Self {
            kernels: kernels.collect(),
            biases: biases.collect(),
            plan: self.plan.clone(),
        }
    }

    /// The layer that computes what `norm`, with its running statistics, followed by this one does,
    /// within rounding; it always has a bias. `None` where
    /// [`OctConv2d::fold_input_batch_norm`](crate::OctConv2d::fold_input_batch_norm) has no such layer:
    /// it takes ungrouped, unpadded kernels of one pixel, and no max-pooling.
    ///
    /// # Panics
    ///
    /// If the norm does not have the channels that the layer reads.
    pub fn fold_input_batch_norm(&self, norm: &OctMapsBatchNorm) -> Option<Self> {
        let affine = affines(norm, &self.plan.input);
        let plan = &self.plan;
        let pixelwise = plan.kernel_size == [1; D] && plan.padding_at_stride_1() == [(0, 0); D];
        let goes_down = plan.paths.iter().any(|path| path.down > 0);
        let max_pools = goes_down && plan.downsample == Downsample::Max;
        if !pixelwise || plan.groups > 1 || max_pools {
            return None;
        }
        let dtype = self.dtype();
        let paths = || plan.paths.iter().zip(&self.kernels);
        let bias = |level: usize| {
            let bias = self.biases.get(level).and_then(Option::as_ref);
            let bias = bias.map(|bias| wide(bias.val().detach()));
            // Pooling and upsampling keep constants.
            let into = paths().filter(|(path, _)| path.to == level);
            let constants = into.map(|(path, kernel)| of(&affine, path.from).constant(kernel));
            let sum = bias.into_iter().chain(constants).reduce(Tensor::add);
            sum.map(|sum| Param::from_tensor(sum.cast(dtype)))
        };
        Some(Self {
            kernels: paths()
                .map(|(path, kernel)| of(&affine, path.from).columns(kernel))
                .collect(),
            biases: (0..plan.output.len()).map(bias).collect(),
            plan: plan.clone(),
        })
    }

    fn dtype(&self) -> DType {
        self.kernels[0].val().dtype()
    }
}

/// The norm of each group, which must be those of a layer's groups.
fn affines(norm: &OctMapsBatchNorm, expected: &[usize]) -> Vec<Option<Affine>> {
    let channels = |norm: &Option<BatchNorm>| norm.as_ref().map_or(0, |n| n.gamma.dims()[0]);
    let channels: Vec<usize> = norm.groups.iter().map(channels).collect();
    assert_eq!(
        trimmed(&channels),
        trimmed(expected),
        "channels of each group of the norm and of the convolution beside it"
    );
    let groups = norm.groups.iter();
    groups.map(|n| n.as_ref().map(Affine::new)).collect()
}

/// The norm of a group that a path ends at.
fn of(affines: &[Option<Affine>], level: usize) -> &Affine {
    let affine = affines[level].as_ref();
    affine.expect("a path ends at groups that have channels")
}
