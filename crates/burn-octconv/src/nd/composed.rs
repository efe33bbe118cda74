//! Octave convolution written with Burn's operations, for any number of axes and frequencies.

use alloc::vec::Vec;

use burn::tensor::{
    Tensor,
    ops::{ConvOptions, ConvTransposeOptions},
};
use octave_plan::{Downsample, Path, Plan, Upsample};

use super::{MapTensor, OctMaps, Scale, resample};
use crate::ops::uses_engine;

/// Maps that several paths read, each made once.
struct Made<K, const R: usize>(Vec<(K, Tensor<R>)>);

impl<K: PartialEq, const R: usize> Made<K, R> {
    fn get(&self, key: &K) -> Option<Tensor<R>> {
        let found = self.0.iter().find(|(made, _)| made == key);
        found.map(|(_, x)| x.clone())
    }

    fn keep(&mut self, key: K, x: Tensor<R>) -> Tensor<R> {
        self.0.push((key, x.clone()));
        x
    }
}

/// The group, the axes along which it is pooled to take the stride, and how often it then goes down.
type Read<const D: usize> = (usize, [bool; D], usize);

/// What a path's convolution reads.
fn read<const D: usize, const R: usize>(
    made: &mut Made<Read<D>, R>,
    input: &OctMaps<D, R>,
    plan: &Plan<D>,
    key: Read<D>,
) -> Tensor<R> {
    if let Some(x) = made.get(&key) {
        return x;
    }
    let (from, pool, down) = key;
    let x = if down > 0 {
        let x = read(made, input, plan, (from, pool, down - 1));
        match plan.downsample {
            Downsample::Max => resample::max_pool(x, plan.octave_axes),
            _ => resample::avg_pool(x, plan.octave_axes),
        }
    } else {
        let x = input.group(from).expect("the group that a path reads");
        resample::avg_pool(x.clone(), pool)
    };
    made.keep(key, x)
}

/// A path's own share of the stride that is taken by pooling, per axis.
fn pooled_axes<const D: usize>(plan: &Plan<D>, path: &Path) -> [bool; D] {
    match path.pool {
        0 => [false; D],
        _ => plan.stride_axes_of(path),
    }
}

/// The paths that end in a group, at the `end` that is meant, the group's own first: that carries the
/// bias, since upsampling keeps constants.
fn own_first<const D: usize>(plan: &Plan<D>, group: usize, end: fn(&Path) -> usize) -> Vec<usize> {
    let into = (0..plan.paths.len()).filter(|&i| end(&plan.paths[i]) == group);
    let own = |&i: &usize| plan.paths[i].from == plan.paths[i].to;
    let (own, others): (Vec<_>, Vec<_>) = into.partition(own);
    [own, others].concat()
}

/// The sum of the paths into every group. `kernels` are those of the plan's paths, in order.
pub(super) fn convolve<const D: usize, const R: usize>(
    plan: &Plan<D>,
    input: &OctMaps<D, R>,
    kernels: &[Tensor<R>],
    biases: &[Option<Tensor<1>>],
) -> OctMaps<D, R>
where
    Tensor<R>: MapTensor<D>,
{
    let size = input.size();
    let output = plan.output_size(size);
    let mut made = Made(Vec::new());
    let mut convolve = |path: &Path, kernel: Tensor<R>, bias| {
        let key = (path.from, pooled_axes(plan, path), path.down);
        let x = read(&mut made, input, plan, key);
        let groups = x.dims()[1] / kernel.dims()[1];
        let (stride, padding) = (plan.stride_of(path), plan.padding_of(path, size));
        let options = ConvOptions::new_with_padding(stride, padding, plan.dilation, groups);
        let y = conv(x, kernel, bias, options);
        (0..path.up).fold(y, |y, step| {
            let axes = plan.up_axes(path, step);
            let size = plan.up_size(path, output, step + 1);
            match plan.upsample {
                Upsample::Nearest => resample::upsample_nearest(y, axes, size),
                Upsample::Bilinear => resample::upsample_linear(y, axes, size),
            }
        })
    };
    let mut group = |to: usize| {
        let mut bias = biases.get(to).cloned().flatten();
        let paths = own_first(plan, to, |path| path.to).into_iter();
        let parts = paths.map(|i| convolve(&plan.paths[i], kernels[i].clone(), bias.take()));
        parts.reduce(|sum, y| sum + y)
    };
    let groups = (0..plan.output.len()).map(&mut group).collect();
    OctMaps::new(groups, output, plan.octave_axes).unwrap_or_else(|e| panic!("{e}"))
}

/// A path's convolution.
fn conv<const D: usize, const R: usize>(
    x: Tensor<R>,
    kernel: Tensor<R>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<D>,
) -> Tensor<R>
where
    Tensor<R>: MapTensor<D>,
{
    match by_engine(&x, &kernel, &bias, &options) {
        Some(y) => y,
        None => x.conv(kernel, bias, options),
    }
}

/// A path's convolution by an engine, if there is one that has it.
fn by_engine<const D: usize, const R: usize>(
    x: &Tensor<R>,
    kernel: &Tensor<R>,
    bias: &Option<Tensor<1>>,
    options: &ConvOptions<D>,
) -> Option<Tensor<R>> {
    #[cfg(feature = "flex")]
    return super::engine::single(x, kernel, bias, options);
    #[cfg(not(feature = "flex"))]
    {
        let _ = (x, kernel, bias, options);
        None
    }
}

/// The adjoint of [`convolve`] with the same plan and kernels, plus biases, on the scale of `scale`: from
/// maps of the plan's output to maps of its input, of full resolution `size`.
pub(super) fn transpose<const D: usize, const R: usize>(
    plan: &Plan<D>,
    input: &OctMaps<D, R>,
    kernels: &[Tensor<R>],
    biases: &[Option<Tensor<1>>],
    (size, scale): ([usize; D], Scale),
) -> OctMaps<D, R>
where
    Tensor<R>: MapTensor<D>,
{
    let mut made = Made(Vec::new());
    let mut group = |to: usize| {
        let mut bias = biases.get(to).cloned().flatten();
        let paths = own_first(plan, to, |path| path.from).into_iter();
        let parts = paths.map(|i| {
            let path = &plan.paths[i];
            let x = summed(&mut made, input, plan, path, scale);
            // Spreading over windows does not keep constants.
            let kept = path.pool + path.down == 0;
            let bias = bias.take_if(|_| kept);
            let y = conv_transpose(plan, path, x, kernels[i].clone(), bias, size);
            spread(plan, path, y, (size, scale))
        });
        let sum = parts.reduce(|sum, y| sum + y)?;
        Some(match bias {
            None => sum,
            Some(bias) => {
                let mut dims = [1; R];
                dims[1] = bias.dims()[0];
                sum + bias.reshape(dims)
            }
        })
    };
    let groups = (0..plan.input.len()).map(&mut group).collect();
    OctMaps::new(groups, size, plan.octave_axes).unwrap_or_else(|e| panic!("{e}"))
}

/// The group that a path wrote, and the axes that its last steps of upsampling doubled.
type Sum<const D: usize> = (usize, Vec<[bool; D]>);

/// The adjoint of a path's upsampling: block sums, the last step first.
fn summed<const D: usize, const R: usize>(
    made: &mut Made<Sum<D>, R>,
    input: &OctMaps<D, R>,
    plan: &Plan<D>,
    path: &Path,
    scale: Scale,
) -> Tensor<R> {
    let down = match scale {
        Scale::Adjoint => resample::block_sum,
        Scale::Mean => resample::avg_pool,
    };
    let x = input.group(path.to).expect("the group that a path wrote");
    let mut key = (path.to, Vec::new());
    (0..path.up).rev().fold(x.clone(), |x, step| {
        let axes = plan.up_axes(path, step);
        key.1.push(axes);
        match made.get(&key) {
            Some(x) => x,
            None => made.keep(key.clone(), down(x, axes)),
        }
    })
}

/// The adjoint of a path's convolution, to the map that it read.
fn conv_transpose<const D: usize, const R: usize>(
    plan: &Plan<D>,
    path: &Path,
    x: Tensor<R>,
    kernel: Tensor<R>,
    bias: Option<Tensor<1>>,
    size: [usize; D],
) -> Tensor<R>
where
    Tensor<R>: MapTensor<D>,
{
    let (stride, extent) = (plan.stride_of(path), plan.extent());
    let (read, dims) = (plan.read_size(path, size), x.dims());
    let padding = plan.padding_of(path, size).map(|(begin, _)| begin);
    // With the padding of the beginning at both ends, what is missing or too much at the end.
    let given: [usize; D] = core::array::from_fn(|a| {
        ((dims[2 + a] - 1) * stride[a] + extent[a]).saturating_sub(2 * padding[a])
    });
    let missing = core::array::from_fn(|a| read[a].saturating_sub(given[a]));
    let groups = plan.input[path.from] / kernel.dims()[1];
    // With stride 1 it is a convolution with the kernel turned round.
    let turns = groups == 1 && stride == [1; D] && (0..D).all(|a| padding[a] < extent[a]);
    if turns && uses_engine(&x.device()) {
        let padding = core::array::from_fn(|a| {
            let begin = extent[a] - 1 - padding[a];
            (begin, begin + missing[a])
        });
        let options = ConvOptions::new_with_padding([1; D], padding, plan.dilation, 1);
        let axes: [isize; D] = core::array::from_fn(|a| 2 + a as isize);
        let turned = kernel.clone().swap_dims(0, 1).flip(axes);
        if let Some(y) = by_engine(&x, &turned, &bias, &options) {
            return (0..D).fold(y, |y, a| resample::narrow(y, 2 + a, 0, read[a]));
        }
    }
    let options = ConvTransposeOptions::new(stride, padding, missing, plan.dilation, groups);
    let y = x.conv_transpose(kernel, bias, options);
    (0..D).fold(y, |y, a| resample::narrow(y, 2 + a, 0, read[a]))
}

/// The adjoint of a path's pooling.
fn spread<const D: usize, const R: usize>(
    plan: &Plan<D>,
    path: &Path,
    y: Tensor<R>,
    (size, scale): ([usize; D], Scale),
) -> Tensor<R> {
    let up = match scale {
        Scale::Adjoint => resample::unpool,
        Scale::Mean => resample::upsample_nearest,
    };
    let level = plan.level_size(size, path.from);
    let axes = pooled_axes(plan, path);
    let pooled = octave_plan::half_size(level, axes);
    let steps = (0..path.down).rev();
    let y = steps.fold(y, |y, step| {
        let size = (0..step).fold(pooled, |size, _| {
            octave_plan::half_size(size, plan.octave_axes)
        });
        up(y, plan.octave_axes, size)
    });
    match axes.contains(&true) {
        true => up(y, axes, level),
        false => y,
    }
}
