//! From and to vanilla kernels, every parameter kept.

use alloc::vec::Vec;

use burn::{
    module::Param,
    nn::{
        PaddingConfig1d, PaddingConfig2d, PaddingConfig3d,
        conv::{Conv1d, Conv2d, Conv3d},
    },
    tensor::Tensor,
};
use octave_plan::{Padding, Plan};

use super::{
    MultiOctConv2d, MultiOctConv2dConfig, OctConv1d, OctConv1dConfig, OctConv3d, OctConv3dConfig,
    OctConvNd, OctConvTransposeNd, layer::Parameters,
};
use crate::OctConvError;

/// Groups by which a vanilla kernel is cut. A depthwise one is cut along the output only, with all
/// its channels in one group.
fn kernel_groups<const D: usize>(plan: &Plan<D>) -> usize {
    match plan.is_depthwise() {
        true => 1,
        false => plan.groups,
    }
}

/// The shape of the vanilla kernel, `[out, in / groups, …]` of the plan.
fn vanilla_dims<const D: usize, const R: usize>(plan: &Plan<D>) -> [usize; R] {
    let mut dims = [1; R];
    dims[0] = plan.output.iter().sum();
    dims[1] = plan.input.iter().sum::<usize>() / plan.groups;
    dims[2..].copy_from_slice(&plan.kernel_size);
    dims
}

/// The kernel of each path, cut from a vanilla one.
fn cut_kernel<const D: usize, const R: usize>(
    plan: &Plan<D>,
    weight: Tensor<R>,
) -> Result<Vec<Param<Tensor<R>>>, OctConvError> {
    let expected: [usize; R] = vanilla_dims(plan);
    if weight.dims() != expected {
        return Err(OctConvError::Kernel {
            kernel: weight.dims().into(),
            expected: expected.into(),
        });
    }
    let (groups, taps) = (kernel_groups(plan), plan.kernel_size.iter().product());
    // Detached, since a slice of a tracked parameter is no leaf of the graph.
    let (out, columns) = (expected[0], expected[1]);
    let weight: Tensor<4> = weight
        .detach()
        .reshape([groups, out / groups, columns, taps]);
    let part = |path: &octave_plan::Path| {
        let part = weight
            .clone()
            .narrow(1, path.rows.start, path.rows.len())
            .narrow(2, path.columns.start, path.columns.len());
        let mut dims = expected;
        dims[..2].copy_from_slice(&plan.weight_dims(path));
        Param::from_tensor(part.reshape(dims))
    };
    Ok(plan.paths.iter().map(part).collect())
}

/// The vanilla kernel of which `kernels` are the parts; paths that do not exist become zeros.
fn glue_kernels<const D: usize, const R: usize>(
    plan: &Plan<D>,
    kernels: &[Param<Tensor<R>>],
) -> Tensor<R> {
    let (groups, taps) = (kernel_groups(plan), plan.kernel_size.iter().product());
    let device = kernels[0].device();
    let dtype = kernels[0].val().dtype();
    let levels = |counts: &[usize]| {
        let levels = 0..counts.len();
        levels.filter(|&l| counts[l] > 0).collect::<Vec<_>>()
    };
    let part = |from: usize, to: usize| {
        let columns = match plan.is_depthwise() {
            true => 1,
            false => plan.input[from] / groups,
        };
        let shape = [groups, plan.output[to] / groups, columns, taps];
        let index = plan.paths.iter().position(|p| (p.from, p.to) == (from, to));
        match index {
            Some(index) => kernels[index].val().reshape(shape),
            None => Tensor::zeros(shape, (&device, dtype)),
        }
    };
    let row = |&to: &usize| {
        // One filter per channel reads its own group alone.
        let from = levels(&plan.input).into_iter();
        let from = from.filter(|&from| !plan.is_depthwise() || from == to);
        Tensor::cat(from.map(|from| part(from, to)).collect(), 2)
    };
    let rows = levels(&plan.output).iter().map(row).collect();
    Tensor::cat(rows, 1).detach().reshape(vanilla_dims(plan))
}

/// The biases of groups of `counts` channels, cut from a vanilla one.
fn cut_bias(counts: &[usize], groups: usize, bias: Tensor<1>) -> Vec<Option<Param<Tensor<1>>>> {
    let channels = bias.dims()[0];
    let bias = bias.detach().reshape([groups, channels / groups]);
    let mut start = 0;
    let cut = |&count: &usize| {
        start += count;
        (count > 0).then(|| {
            let part = bias
                .clone()
                .narrow(1, (start - count) / groups, count / groups);
            Param::from_tensor(part.reshape([count]))
        })
    };
    counts.iter().map(cut).collect()
}

/// The vanilla bias of which `biases` are the parts, if there are any.
fn glue_bias(groups: usize, biases: &[Option<Param<Tensor<1>>>]) -> Option<Tensor<1>> {
    let parts = biases.iter().flatten().map(|bias| {
        let channels = bias.dims()[0];
        bias.val().reshape([groups, channels / groups])
    });
    let parts: Vec<Tensor<2>> = parts.collect();
    (!parts.is_empty()).then(|| Tensor::cat(parts, 1).detach().flatten(0, 1))
}

/// A bias that does not have one value per output channel does not fit.
fn check_bias(counts: &[usize], bias: Option<&Tensor<1>>) -> Result<(), OctConvError> {
    let expected: usize = counts.iter().sum();
    match bias.map(|bias| bias.dims()) {
        Some(dims) if dims != [expected] => Err(OctConvError::Kernel {
            kernel: dims.into(),
            expected: [expected].into(),
        }),
        _ => Ok(()),
    }
}

/// The parameters of a layer of this plan with a bias for each of `biased` channels, cut from vanilla
/// ones.
fn cut<const D: usize, const R: usize>(
    plan: &Plan<D>,
    biased: &[usize],
    weight: Tensor<R>,
    bias: Option<Tensor<1>>,
) -> Result<Parameters<R>, OctConvError> {
    check_bias(biased, bias.as_ref())?;
    let biases = bias.map(|bias| cut_bias(biased, kernel_groups(plan), bias));
    Ok(Parameters {
        kernels: cut_kernel(plan, weight)?,
        biases: biases.unwrap_or_default(),
    })
}

/// The vanilla kernel and bias of which a layer's are the parts.
fn glue<const D: usize, const R: usize>(
    plan: &Plan<D>,
    kernels: &[Param<Tensor<R>>],
    biases: &[Option<Param<Tensor<1>>>],
) -> (Tensor<R>, Option<Tensor<1>>) {
    let bias = glue_bias(kernel_groups(plan), biases);
    (glue_kernels(plan, kernels), bias)
}

impl<const D: usize, const R: usize> OctConvNd<D, R> {
    /// The layer with the weights of a vanilla one, cut in pieces. The channels of each group follow
    /// each other; in a grouped convolution each of its groups keeps channels of all frequencies.
    ///
    /// # Shapes
    ///
    /// - weight: `[channels_out, channels_in / groups, …]`
    /// - bias: `[channels_out]`
    ///
    /// # Errors
    ///
    /// [`OctConvError::Kernel`] if the shapes are not those of the layer.
    pub fn with_vanilla(
        self,
        weight: Tensor<R>,
        bias: Option<Tensor<1>>,
    ) -> Result<Self, OctConvError> {
        let Parameters { kernels, biases } = cut(&self.plan, &self.plan.output, weight, bias)?;
        let plan = self.plan;
        Ok(Self {
            kernels,
            biases,
            plan,
        })
    }

    /// Kernel and bias of the vanilla convolution of which the layer's are the parts: the inverse of
    /// [`with_vanilla`](Self::with_vanilla), exact to the bit. Paths that do not exist become zeros.
    pub fn to_vanilla(&self) -> (Tensor<R>, Option<Tensor<1>>) {
        glue(&self.plan, &self.kernels, &self.biases)
    }
}

impl<const D: usize, const R: usize> OctConvTransposeNd<D, R> {
    /// The layer with the weights of a vanilla one, cut in pieces, as
    /// [`OctConvNd::with_vanilla`] cuts them.
    ///
    /// # Shapes
    ///
    /// - weight: `[channels_in, channels_out / groups, …]`
    /// - bias: `[channels_out]`
    ///
    /// # Errors
    ///
    /// [`OctConvError::Kernel`] if the shapes are not those of the layer.
    pub fn with_vanilla(
        self,
        weight: Tensor<R>,
        bias: Option<Tensor<1>>,
    ) -> Result<Self, OctConvError> {
        let Parameters { kernels, biases } = cut(&self.plan, &self.plan.input, weight, bias)?;
        Ok(Self {
            kernels,
            biases,
            ..self
        })
    }

    /// Kernel and bias of the vanilla layer of which the layer's are the parts: the inverse of
    /// [`with_vanilla`](Self::with_vanilla), exact to the bit. Paths that do not exist become zeros.
    pub fn to_vanilla(&self) -> (Tensor<R>, Option<Tensor<1>>) {
        glue(&self.plan, &self.kernels, &self.biases)
    }
}

/// Whether shares are those of a plain tensor.
fn plain(shares: &[f64]) -> bool {
    shares.first() == Some(&1.0)
}

macro_rules! vanilla {
    (
        $layer:ident, $config:ident, $vanilla:ident, $from:ident, $to:ident, $d:literal,
        |$conv:ident| $sizes:expr, |$layer_to:ident, $weight:ident, $bias:ident| $built:expr
    ) => {
        impl $layer {
            #[doc = concat!("Cuts a vanilla [`", stringify!($vanilla), "`] in pieces, with the given")]
            /// shares of input and output channels and every other option as by default.
            ///
            /// The parameters are the same, the function is not: the channels of lower frequencies
            /// lose what does not survive their octaves. Only where input and output are plain the
            /// layer computes what `conv` does, also with stride 2, which it then takes by strided
            /// convolution. Otherwise stride 2 pools first, as the paper does.
            ///
            /// # Errors
            ///
            /// An [`OctConvError`] if the shares are illegal, or the convolution's stride, padding or
            /// groups have no octave form.
            pub fn $from(
                $conv: &$vanilla,
                shares_in: &[f64],
                shares_out: &[f64],
            ) -> Result<Self, OctConvError> {
                let [out, per_group, ..] = $conv.weight.dims();
                let (kernel_size, stride, dilation) = $sizes;
                let config = $config::new([per_group * $conv.groups, out], kernel_size)
                    .with_stride(stride)
                    .with_dilation(dilation)
                    .with_groups($conv.groups)
                    .with_padding($conv.padding.clone())
                    .with_bias($conv.bias.is_some())
                    .with_shares_in(shares_in.into())
                    .with_shares_out(shares_out.into())
                    .with_strided(plain(shares_in) && plain(shares_out));
                let weight = $conv.weight.val();
                let layer = config.try_init(&weight.device())?;
                layer.with_vanilla(weight, $conv.bias.as_ref().map(|bias| bias.val()))
            }

            #[doc = concat!("Glues all kernels to a vanilla [`", stringify!($vanilla), "`]: the inverse of")]
            #[doc = concat!("[`", stringify!($layer), "::", stringify!($from), "`], exact to the bit.")]
            /// Paths that do not exist become zeros.
            pub fn $to(&self) -> $vanilla {
                let $layer_to = self;
                let (weight, bias) = self.to_vanilla();
                let $weight = Param::from_tensor(weight);
                let $bias = bias.map(Param::from_tensor);
                $built
            }
        }
    };
}

vanilla!(
    OctConv1d,
    OctConv1dConfig,
    Conv1d,
    from_conv1d,
    to_conv1d,
    1,
    |conv| ([conv.kernel_size], [conv.stride], [conv.dilation]),
    |layer, weight, bias| Conv1d {
        weight,
        bias,
        stride: layer.plan.strides()[0],
        kernel_size: layer.plan.kernel_size[0],
        dilation: layer.plan.dilation[0],
        groups: layer.plan.groups,
        padding: match layer.plan.padding {
            Padding::Same => PaddingConfig1d::Same,
            Padding::Explicit([(left, right)]) => PaddingConfig1d::Explicit(left, right),
        },
    }
);

vanilla!(
    MultiOctConv2d,
    MultiOctConv2dConfig,
    Conv2d,
    from_conv2d,
    to_conv2d,
    2,
    |conv| (conv.kernel_size, conv.stride, conv.dilation),
    |layer, weight, bias| Conv2d {
        weight,
        bias,
        stride: layer.plan.strides(),
        kernel_size: layer.plan.kernel_size,
        dilation: layer.plan.dilation,
        groups: layer.plan.groups,
        padding: match layer.plan.padding {
            Padding::Same => PaddingConfig2d::Same,
            Padding::Explicit([(top, bottom), (left, right)]) => {
                PaddingConfig2d::Explicit(top, left, bottom, right)
            }
        },
    }
);

vanilla!(
    OctConv3d,
    OctConv3dConfig,
    Conv3d,
    from_conv3d,
    to_conv3d,
    3,
    |conv| (conv.kernel_size, conv.stride, conv.dilation),
    |layer, weight, bias| Conv3d {
        weight,
        bias,
        stride: layer.plan.strides(),
        kernel_size: layer.plan.kernel_size,
        dilation: layer.plan.dilation,
        groups: layer.plan.groups,
        padding: match layer.plan.padding {
            Padding::Same => PaddingConfig3d::Same,
            // Burn's has the same at both ends, and so has what was made of it.
            Padding::Explicit([(depth, _), (height, _), (width, _)]) => {
                PaddingConfig3d::Explicit(depth, height, width)
            }
        },
    }
);
