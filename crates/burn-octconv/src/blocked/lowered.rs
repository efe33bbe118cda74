//! An octave convolution as products of the engine: what is summed into each output group, path by
//! path as the plan says, with the kernels packed.

use burn::tensor::Tensor;
use octave_engine::{
    Isa,
    conv::{DepthwiseWeights, Kernel, PackedWeights, StemWeights, panel_width},
};
use octave_plan::{Path, Plan, Refusal};

use super::packed::{Reading, Sum};
use crate::ops::{engine::untracked, kernels::OctKernels, statistics::Statistics};

/// Scale and shift of every channel.
pub(super) type ScaleShift = [Vec<f32>; 2];

/// A norm with its running statistics as a scale and a shift. It is computed here, not by tensors, since
/// a norm that is not part of a convolution needs it at every call.
pub(super) fn scale_shift(norm: &Statistics) -> Result<ScaleShift, Refusal> {
    let [gamma, beta, mean, variance] = &norm.tensors;
    let (gamma, beta) = (values(gamma.clone())?, values(beta.clone())?);
    let (mean, variance) = (values(mean.clone())?, values(variance.clone())?);
    let epsilon = norm.epsilon as f32;
    let scale = gamma.iter().zip(variance);
    let scale: Vec<_> = scale.map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(mean).zip(&scale);
    let shift = shift.map(|((b, m), scale)| b - m * scale).collect();
    Ok([scale, shift])
}

/// The elements of a tensor, if it is f32 on Flex and outside of autodiff.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Refusal> {
    untracked(&tensor)?;
    tensor.try_into_vec_as().map_err(|_| Refusal::Backend)
}

/// The elements of a bias, if there is one.
pub(super) fn values_of(bias: &Option<Tensor<1>>) -> Result<Option<Vec<f32>>, Refusal> {
    bias.clone().map(values).transpose()
}

/// A convolution that adds to an output group.
struct Term {
    reading: Reading,
    weight: Vec<f32>,
    c_in: usize,
    kernel: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

/// An output group on its way: what is summed at its resolution and, upsampled, at half of it.
#[derive(Default)]
pub(super) struct Group {
    fine: Vec<Term>,
    coarse: Vec<Term>,
    bias: Vec<f32>,
}

/// Adds the paths and biases of a layer to its output groups. `read` says what a path reads.
pub(super) fn add_terms(
    plan: &Plan<2>,
    kernels: &OctKernels,
    groups: &mut [Group; 2],
    read: impl Fn(&Path) -> Reading,
) -> Result<(), Refusal> {
    for path in &plan.paths {
        let kernel = kernels.get(path).ok_or(Refusal::Shape)?;
        let term = Term {
            reading: read(path),
            weight: values(kernel.clone())?,
            c_in: plan.input[path.from],
            kernel: plan.kernel_size,
            dilation: plan.dilation,
            groups: plan.groups,
        };
        let group = &mut groups[path.to];
        match path.up {
            0 => group.fine.push(term),
            _ => group.coarse.push(term),
        }
    }
    for (level, bias) in [&kernels.bias_high, &kernels.bias_low]
        .into_iter()
        .enumerate()
    {
        let sums = &mut groups[level].bias;
        sums.resize(plan.output[level], 0.0);
        for (sum, bias) in sums.iter_mut().zip(values_of(bias)?.unwrap_or_default()) {
            *sum += bias;
        }
    }
    Ok(())
}

impl Group {
    /// Follows the sum with a scale and a shift.
    pub(super) fn scale(&mut self, [scale, shift]: &ScaleShift) {
        for term in self.fine.iter_mut().chain(&mut self.coarse) {
            scale_rows(&mut term.weight, scale);
        }
        shift_bias(&mut self.bias, scale, shift);
    }

    /// Adds another sum.
    pub(super) fn extend(&mut self, other: Self) {
        self.fine.extend(other.fine);
        self.coarse.extend(other.coarse);
        for (sum, bias) in self.bias.iter_mut().zip(other.bias) {
            *sum += bias;
        }
    }

    /// Packs the kernels, of a layer with `groups` groups.
    pub(super) fn pack(self, groups: usize) -> Sum {
        let channels = self.bias.len();
        // The fine and the coarse sum are computed panel by panel.
        let width = panel_width(Isa::best(), channels, groups);
        Sum {
            weights: pack(channels, width, &self.fine, Some(&self.bias)),
            sources: readings(self.fine),
            coarse: (!self.coarse.is_empty()).then(|| {
                let weights = pack(channels, width, &self.coarse, None);
                (weights, readings(self.coarse))
            }),
        }
    }
}

fn pack(channels: usize, width: usize, terms: &[Term], bias: Option<&[f32]>) -> PackedWeights {
    let kernels: Vec<_> = terms
        .iter()
        .map(|term| Kernel {
            weight: &term.weight,
            c_in: term.c_in,
            size: term.kernel,
            dilation: term.dilation,
            groups: term.groups,
            transposed: false,
        })
        .collect();
    let mut packed = PackedWeights::default();
    packed.pack_panels(Isa::best(), channels, width, &kernels, bias);
    packed
}

fn readings(terms: Vec<Term>) -> Vec<Reading> {
    terms.into_iter().map(|term| term.reading).collect()
}

/// The kernel and the bias of a path that alone adds to its group, followed by a scale and a shift.
fn alone(
    kernels: &OctKernels,
    path: &Path,
    affine: Option<&ScaleShift>,
) -> Result<[Vec<f32>; 2], Refusal> {
    let kernel = kernels.get(path).ok_or(Refusal::Shape)?;
    let [rows, ..] = kernel.dims();
    let mut weight = values(kernel.clone())?;
    let bias = [&kernels.bias_high, &kernels.bias_low][path.to];
    let mut bias = values_of(bias)?.unwrap_or_else(|| vec![0.0; rows]);
    if let Some([scale, shift]) = affine {
        scale_rows(&mut weight, scale);
        shift_bias(&mut bias, scale, shift);
    }
    Ok([weight, bias])
}

/// Packs the kernel of a path of a depthwise layer, followed by a scale and a shift.
pub(super) fn depthwise(
    plan: &Plan<2>,
    kernels: &OctKernels,
    path: &Path,
    affine: Option<&ScaleShift>,
) -> Result<DepthwiseWeights, Refusal> {
    let [weight, bias] = alone(kernels, path, affine)?;
    let channels = plan.input[path.from];
    let (size, dilation) = (plan.kernel_size, plan.dilation);
    let bias = Some(&*bias);
    Ok(DepthwiseWeights::new(
        &weight, channels, size, dilation, bias,
    ))
}

/// Packs the kernel of a path of a first layer, followed by a scale and a shift.
pub(super) fn first(
    plan: &Plan<2>,
    kernels: &OctKernels,
    path: &Path,
    affine: Option<&ScaleShift>,
) -> Result<StemWeights, Refusal> {
    let [weight, bias] = alone(kernels, path, affine)?;
    let (c_out, c_in) = (plan.output[path.to], plan.input[path.from]);
    let bias = Some(&*bias);
    Ok(StemWeights::new(
        &weight,
        c_out,
        c_in,
        plan.kernel_size,
        bias,
    ))
}

/// Multiplies each row of a kernel by an element of `scale`.
fn scale_rows(weight: &mut [f32], scale: &[f32]) {
    let row = weight.len() / scale.len();
    for (row, scale) in weight.chunks_exact_mut(row).zip(scale) {
        row.iter_mut().for_each(|weight| *weight *= scale);
    }
}

fn shift_bias(bias: &mut [f32], scale: &[f32], shift: &[f32]) {
    for ((bias, scale), shift) in bias.iter_mut().zip(scale).zip(shift) {
        *bias = *bias * scale + shift;
    }
}
