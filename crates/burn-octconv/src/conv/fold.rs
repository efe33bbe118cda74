//! Batch norms folded into the convolutions beside them, for inference.
//!
//! With fixed statistics a batch norm is an affine map of each channel,
//!
//! ```text
//! bn(x) = s · x + t    where s = γ / √(σ² + ε), t = β − s · μ
//! ```
//!
//! and a convolution before it takes it in: the rows of its kernels times s, and a bias.

use burn::{
    module::Param,
    nn::{BatchNorm, conv::Conv2d},
    tensor::{DType, Tensor},
};

use super::OctConv2d;
use crate::{Downsample, OctBatchNorm, ops::statistics::Statistics};

/// A kernel `[channels_out, channels_in / groups, …]`.
type Kernel<const R: usize> = Param<Tensor<R>>;
type Bias = Param<Tensor<1>>;

/// A batch norm with fixed statistics: `scale · x + shift`, each `[channels]`.
pub(crate) struct Affine {
    pub(crate) scale: Tensor<1>,
    pub(crate) shift: Tensor<1>,
}

impl Affine {
    pub(crate) fn new(norm: &BatchNorm) -> Self {
        let Statistics { tensors, epsilon } = Statistics::new(norm);
        let device = tensors[0].device();
        let fixed = |x: Tensor<1>| wide(x.detach().to_device(&device));
        let [gamma, beta, mean, variance] = tensors.map(fixed);
        let scale = gamma / (variance + epsilon).sqrt();
        let shift = beta - mean * scale.clone();
        Self { scale, shift }
    }

    /// The kernel of a convolution followed by the norm.
    pub(crate) fn rows<const R: usize>(&self, kernel: &Kernel<R>) -> Kernel<R> {
        let kernel = kernel.val().detach();
        let (dtype, mut dims) = (kernel.dtype(), [1; R]);
        dims[0] = kernel.dims()[0];
        let scale = self.scale.clone().reshape(dims);
        Param::from_tensor((wide(kernel) * scale).cast(dtype))
    }

    /// The bias of a convolution followed by the norm, in the precision of its kernel.
    pub(crate) fn bias(&self, bias: Option<&Bias>, dtype: DType) -> Bias {
        let shift = self.shift.clone();
        let bias = match bias {
            Some(bias) => wide(bias.val().detach()) * self.scale.clone() + shift,
            None => shift,
        };
        Param::from_tensor(bias.cast(dtype))
    }

    /// The kernel of a 1×1 convolution after the norm.
    pub(crate) fn columns<const R: usize>(&self, kernel: &Kernel<R>) -> Kernel<R> {
        let kernel = kernel.val().detach();
        let (dtype, mut dims) = (kernel.dtype(), [1; R]);
        dims[1] = kernel.dims()[1];
        let scale = self.scale.clone().reshape(dims);
        Param::from_tensor((wide(kernel) * scale).cast(dtype))
    }

    /// What a 1×1 convolution after the norm adds to every pixel: its kernel times the shift.
    pub(crate) fn constant<const R: usize>(&self, kernel: &Kernel<R>) -> Tensor<1> {
        let kernel = wide(kernel.val().detach());
        let (rows, columns) = (kernel.dims()[0], kernel.dims()[1]);
        let shift = self.shift.clone().reshape([columns, 1]);
        kernel
            .reshape([rows, columns])
            .matmul(shift)
            .reshape([rows])
    }
}

/// In a precision that holds variances, which overflow and underflow f16.
pub(crate) fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(DType::F32),
        _ => x,
    }
}

impl OctConv2d {
    /// The layer that computes what this one followed by `norm` does with its running statistics,
    /// within rounding. It always has a bias.
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use burn_octconv::{OctBatchNormConfig, OctConv2dConfig};
    ///
    /// let device = Device::default();
    /// let conv = OctConv2dConfig::new([3, 8], [3, 3]).with_alpha_in(0.0).init(&device);
    /// let norm = OctBatchNormConfig::new(8).init(&device);
    /// let folded = conv.fold_batch_norm(&norm);
    ///
    /// let x = Tensor::<4>::random([1, 3, 9, 6], Distribution::Default, &device);
    /// let expected = norm.forward(conv.forward(x.clone())).merge();
    /// let error = (folded.forward(x).merge() - expected).abs().max();
    /// assert!(error.into_scalar::<f32>() < 1e-5);
    /// ```
    ///
    /// # Panics
    ///
    /// If the norm does not have the channels that the layer returns.
    pub fn fold_batch_norm(&self, norm: &OctBatchNorm) -> Self {
        self.assert_channels(norm, &self.plan.output);
        let dtype = self.dtype();
        let mut folded = self.clone();
        if let Some(high) = norm.high.as_ref().map(Affine::new) {
            folded.h2h = self.h2h.as_ref().map(|kernel| high.rows(kernel));
            folded.l2h = self.l2h.as_ref().map(|kernel| high.rows(kernel));
            folded.bias_high = Some(high.bias(self.bias_high.as_ref(), dtype));
        }
        if let Some(low) = norm.low.as_ref().map(Affine::new) {
            folded.h2l = self.h2l.as_ref().map(|kernel| low.rows(kernel));
            folded.l2l = self.l2l.as_ref().map(|kernel| low.rows(kernel));
            folded.bias_low = Some(low.bias(self.bias_low.as_ref(), dtype));
        }
        folded
    }

    /// The layer that computes what `norm`, with its running statistics, followed by this one
    /// does, within rounding; it always has a bias. `None` if there is no such layer: where a
    /// kernel sees padding, which the norm does not shift, or where H→L max-pools, which does not
    /// commute with a negative scale; so only for ungrouped, unpadded 1×1 kernels.
    ///
    /// # Panics
    ///
    /// If the norm does not have the channels that the layer reads.
    pub fn fold_input_batch_norm(&self, norm: &OctBatchNorm) -> Option<Self> {
        self.assert_channels(norm, &self.plan.input);
        let pixelwise =
            self.plan.kernel_size == [1, 1] && self.plan.padding_at_stride_1() == [(0, 0); 2];
        let max_pools = self.h2l.is_some() && self.plan.downsample == Downsample::Max;
        if !pixelwise || self.plan.groups > 1 || max_pools {
            return None;
        }
        let dtype = self.dtype();
        let high = norm.high.as_ref().map(Affine::new);
        let low = norm.low.as_ref().map(Affine::new);
        let paths =
            |from_high: &Option<Kernel<4>>, from_low: &Option<Kernel<4>>, bias: &Option<Bias>| {
                let from_high = from_high.as_ref().zip(high.as_ref());
                let from_low = from_low.as_ref().zip(low.as_ref());
                let mut constants = bias.as_ref().map(|bias| wide(bias.val().detach()));
                for (kernel, affine) in [from_high, from_low].into_iter().flatten() {
                    let constant = affine.constant(kernel);
                    constants = Some(match constants {
                        Some(sum) => sum + constant,
                        None => constant,
                    });
                }
                (
                    from_high.map(|(kernel, affine)| affine.columns(kernel)),
                    from_low.map(|(kernel, affine)| affine.columns(kernel)),
                    constants.map(|bias| Param::from_tensor(bias.cast(dtype))),
                )
            };
        let (h2h, l2h, bias_high) = paths(&self.h2h, &self.l2h, &self.bias_high);
        let (h2l, l2l, bias_low) = paths(&self.h2l, &self.l2l, &self.bias_low);
        Some(Self {
            h2h,
            h2l,
            l2h,
            l2l,
            bias_high,
            bias_low,
            ..self.clone()
        })
    }

    fn dtype(&self) -> DType {
        let kernels = [&self.h2h, &self.h2l, &self.l2h, &self.l2l];
        let kernel = kernels.into_iter().flatten().next();
        kernel.expect("a layer has at least one path").val().dtype()
    }

    fn assert_channels(&self, norm: &OctBatchNorm, expected: &[usize]) {
        let channels = [&norm.high, &norm.low]
            .map(|norm| norm.as_ref().map_or(0, |norm| norm.gamma.dims()[0]));
        assert_eq!(
            channels, expected,
            "high and low channels of the norm and of the convolution beside it"
        );
    }
}

/// The vanilla convolution that computes what `conv` followed by `norm` does with its running
/// statistics, within rounding. It always has a bias.
///
/// # Panics
///
/// If the norm does not have the channels that the convolution returns.
pub fn fold_batch_norm(conv: &Conv2d, norm: &BatchNorm) -> Conv2d {
    let affine = Affine::new(norm);
    let dtype = conv.weight.val().dtype();
    Conv2d {
        weight: affine.rows(&conv.weight),
        bias: Some(affine.bias(conv.bias.as_ref(), dtype)),
        ..conv.clone()
    }
}
