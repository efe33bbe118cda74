//! Layers that the engine computes as they are, or in another view: those over one axis, over two that
//! are both halved, and over three where time is not; transposed ones over one and two axes.

use alloc::{vec, vec::Vec};

use burn::tensor::{
    Tensor,
    ops::{ConvOptions, PadMode},
};
use octave_engine::train::LEVELS;
use octave_plan::{Exchange, Layer, Padding, Path, Plan};

use super::{OctMaps, Scale, resample};
use crate::{
    OctFeatures,
    ops::{
        self, OctKernels,
        backend::{self, ByLevel},
        eligibility,
        engine::readable,
    },
};

/// Computes a convolution by the engine, if that has it.
pub(super) fn convolve<const D: usize, const R: usize>(
    plan: &Plan<D>,
    input: &OctMaps<D, R>,
    kernels: &[Tensor<R>],
    biases: &[Option<Tensor<1>>],
) -> Option<OctMaps<D, R>> {
    if !all_readable(input, kernels, biases) {
        return None;
    }
    let view = View::new(plan, input.size())?;
    let images = input.batch() * view.frames;
    let geometry = eligibility::geometry(&view.plan, images, view.size, false).ok()?;
    let groups = input.clone().into_groups().into_iter();
    let maps = by_level(groups.map(|x| x.map(|x| view.map(x))));
    let kernels = kernels.iter().map(|kernel| view.kernel(kernel));
    let biases = by_level(biases.iter().cloned());
    let groups = match plan.input.len().max(plan.output.len()) {
        ..=2 => view.two_frequencies(maps, kernels, biases)?,
        _ => backend::convolve(maps, view.by_path(kernels), biases, geometry),
    };
    Some(view.result(groups, plan, plan.output_size(input.size())))
}

/// Computes the adjoint of a convolution by the engine, if that has it: from maps of the plan's output
/// to maps of its input, of full resolution `size`.
pub(super) fn transpose<const D: usize, const R: usize>(
    plan: &Plan<D>,
    input: &OctMaps<D, R>,
    kernels: &[Tensor<R>],
    biases: &[Option<Tensor<1>>],
    (size, scale): ([usize; D], Scale),
) -> Option<OctMaps<D, R>> {
    // The frames that a kernel sees at a time are channels of the view, and would have to be summed.
    if D == 3 || !all_readable(input, kernels, biases) {
        return None;
    }
    if scale == Scale::Mean && !halves_evenly(plan, size) {
        return None;
    }
    let view = View::new(plan, size)?;
    let geometry = eligibility::geometry(&view.plan, input.batch(), view.size, true).ok()?;
    let groups = input.clone().into_groups().into_iter();
    let maps = by_level(groups.map(|x| x.map(|x| view.map(x))));
    let kernels = kernels.iter().zip(&plan.paths).map(|(kernel, path)| {
        let kernel = view.kernel(kernel);
        match scale {
            Scale::Adjoint => kernel,
            Scale::Mean => scaled(kernel, mean_over_sum::<D>(path)),
        }
    });
    let biases = by_level(biases.iter().cloned());
    let groups = backend::convolve(maps, view.by_path(kernels), biases, geometry);
    Some(view.result(groups, plan, size))
}

/// Whether no window of a pooling reaches over the end of a map.
fn halves_evenly<const D: usize>(plan: &Plan<D>, size: [usize; D]) -> bool {
    let levels = plan.input.len().max(plan.output.len());
    let halvings = levels - 1 + usize::from(plan.pools());
    size.iter().all(|size| size.is_multiple_of(1 << halvings))
}

/// How much more a path weighs that averages and repeats than one that sums and shares out.
fn mean_over_sum<const D: usize>(path: &Path) -> f32 {
    let octaves = (path.pool + path.down) as i32 - path.up as i32;
    2f32.powi(D as i32 * octaves)
}

fn scaled(kernel: Tensor<4>, factor: f32) -> Tensor<4> {
    if factor == 1.0 {
        return kernel;
    }
    kernel * factor
}

/// Whether an engine reads everything.
fn all_readable<const D: usize, const R: usize>(
    input: &OctMaps<D, R>,
    kernels: &[Tensor<R>],
    biases: &[Option<Tensor<1>>],
) -> bool {
    let maps = input.clone().into_groups();
    let mut maps = maps.iter().flatten();
    let mut biases = biases.iter().flatten();
    maps.all(|x| readable(x).is_ok())
        && kernels.iter().all(|w| readable(w).is_ok())
        && biases.all(|b| readable(b).is_ok())
}

/// What there is of each level.
fn by_level<T>(values: impl Iterator<Item = Option<T>>) -> [Option<T>; LEVELS] {
    let mut values = values.fuse();
    core::array::from_fn(|_| values.next().flatten())
}

/// Computes the convolution of a single path by the engine, if that has it.
pub(super) fn single<const D: usize, const R: usize>(
    x: &Tensor<R>,
    kernel: &Tensor<R>,
    bias: &Option<Tensor<1>>,
    options: &ConvOptions<D>,
) -> Option<Tensor<R>> {
    let (dims, weight) = (x.dims(), kernel.dims());
    let stride = options.stride.into_iter().max().unwrap_or(1);
    // Time is the axis that a view of a video keeps.
    let octave_axes = core::array::from_fn(|a| D < 3 || a > 0);
    let layer = Layer {
        stride,
        stride_axes: options.stride.map(|s| s == stride),
        strided: true,
        padding: Padding::Explicit(options.padding),
        dilation: options.dilation,
        groups: options.groups,
        octave_axes,
        ..Layer::new(
            [dims[1]],
            [weight[0]],
            core::array::from_fn(|a| weight[2 + a]),
        )
    };
    if (0..D).any(|a| layer.strides()[a] != options.stride[a]) {
        return None;
    }
    let size = core::array::from_fn(|a| dims[2 + a]);
    let map = OctMaps::new(vec![Some(x.clone())], size, octave_axes).ok()?;
    let plan = Plan::new(layer, Exchange::Both);
    let kernels = core::slice::from_ref(kernel);
    let y = convolve(&plan, &map, kernels, core::slice::from_ref(bias))?;
    y.into_groups().into_iter().flatten().next()
}

/// A layer over two axes that computes what one over `D` axes does.
struct View<const D: usize> {
    plan: Plan<2>,
    /// The full resolution of the planes.
    size: [usize; 2],
    /// Frames of each image, 1 but for videos.
    frames: usize,
    /// Spacing and zero frames at the beginning and the end, of the kernel over time.
    time: (usize, usize, usize),
}

impl<const D: usize> View<D> {
    /// If there is one, for maps of full resolution `size`.
    fn new(plan: &Plan<D>, size: [usize; D]) -> Option<Self> {
        let (frames, axes) = match D {
            // A row of pixels: halving one row leaves one row.
            1 => (1, [None, Some(0)]),
            2 => (1, [Some(0), Some(1)]),
            _ => (size[0], [Some(1), Some(2)]),
        };
        let halved = axes.into_iter().flatten().all(|a| plan.octave_axes[a]);
        let kept = D < 3 || (!plan.octave_axes[0] && plan.strides()[0] == 1);
        let strides = plan.strides();
        let mut strides = axes.into_iter().flatten().map(|a| strides[a]);
        let alike = strides.all(|stride| stride == plan.stride);
        // The engine gives back no gradient of a group that it does not read.
        let mut levels = (0..plan.input.len()).filter(|&level| plan.input[level] > 0);
        let all_read = levels.all(|level| plan.paths.iter().any(|path| path.from == level));
        // Frames become channels, which groups share out.
        let channels = D < 3 || plan.groups == 1;
        if !(halved && kept && alike && channels && all_read) || (D == 3 && !plan.keeps_size()) {
            return None;
        }
        let time = match D {
            3 => {
                let (begin, end) = plan.padding_at_stride_1()[0];
                (plan.dilation[0], begin, end)
            }
            _ => (1, 0, 0),
        };
        let taps = if D == 3 { plan.kernel_size[0] } else { 1 };
        let pick = |values: [usize; D]| axes.map(|a| a.map_or(1, |a| values[a]));
        // Two levels at least, as a layer of two frequencies has.
        let levels = plan.input.len().max(plan.output.len()).max(2);
        let counts = |counts: &[usize], factor: usize| -> Vec<usize> {
            let count = |level| counts.get(level).copied().unwrap_or(0);
            (0..levels).map(|level| factor * count(level)).collect()
        };
        let layer = Layer {
            stride: plan.stride,
            strided: plan.strided,
            padding: match plan.padding {
                Padding::Same => Padding::Same,
                Padding::Explicit(padding) => {
                    Padding::Explicit(axes.map(|a| a.map_or((0, 0), |a| padding[a])))
                }
            },
            dilation: pick(plan.dilation),
            groups: plan.groups,
            downsample: plan.downsample,
            upsample: plan.upsample,
            ..Layer::new(
                counts(&plan.input, taps),
                counts(&plan.output, 1),
                pick(plan.kernel_size),
            )
        };
        let mut view = Self {
            plan: Plan::new(layer, Exchange::Both),
            size: pick(size),
            frames,
            time,
        };
        let exists = |from, to| plan.path(from, to).is_some();
        view.plan.paths.retain(|path| exists(path.from, path.to));
        Some(view)
    }

    /// A group's map as planes; the frames that a kernel sees at a time side by side as channels.
    fn map<const R: usize>(&self, x: Tensor<R>) -> Tensor<4> {
        let dims = x.dims();
        if D < 3 {
            let [height, width] = [R - 2, R - 1].map(|axis| if axis < 2 { 1 } else { dims[axis] });
            return x.reshape([dims[0], dims[1], height, width]);
        }
        let (dilation, begin, end) = self.time;
        let extent = begin + end;
        let x = match extent {
            0 => x,
            _ => {
                let mut padding = [(0, 0); R];
                padding[2] = (begin, end);
                x.pad(padding, PadMode::Constant(0.0))
            }
        };
        let taps = extent / dilation + 1;
        let seen = (0..taps).map(|tap| resample::narrow(x.clone(), 2, tap * dilation, dims[2]));
        let seen: Tensor<R> = Tensor::cat(seen.collect(), 1);
        let seen = seen.permute(time_first());
        seen.reshape([dims[0] * dims[2], taps * dims[1], dims[R - 2], dims[R - 1]])
    }

    /// The planes of a result as a group's map.
    fn back<const R: usize>(&self, y: Tensor<4>) -> Tensor<R> {
        let [images, channels, height, width] = y.dims();
        let mut dims = [1; R];
        if D < 3 {
            dims[..2].copy_from_slice(&[images, channels]);
            dims[R - 1] = width;
            if D == 2 {
                dims[2] = height;
            }
            return y.reshape(dims);
        }
        dims[..3].copy_from_slice(&[images / self.frames, self.frames, channels]);
        dims[R - 2] = height;
        dims[R - 1] = width;
        let y: Tensor<R> = y.reshape(dims);
        y.permute(time_first())
    }

    /// A kernel over planes; one over time has the taps side by side as channels.
    fn kernel<const R: usize>(&self, w: &Tensor<R>) -> Tensor<4> {
        let dims = w.dims();
        let [height, width] = self.plan.kernel_size;
        if D < 3 {
            return w.clone().reshape([dims[0], dims[1], height, width]);
        }
        let w = w.clone().permute(time_first());
        w.reshape([dims[0], dims[1] * dims[2], height, width])
    }

    /// The kernels by the level that their path leads from, and by the one that it leads to.
    fn by_path(&self, kernels: impl Iterator<Item = Tensor<4>>) -> [ByLevel<4>; LEVELS] {
        let mut all = [const { [const { None }; LEVELS] }; LEVELS];
        for (path, kernel) in self.plan.paths.iter().zip(kernels) {
            all[path.from][path.to] = Some(kernel);
        }
        all
    }

    /// Computes a layer of two frequencies as `OctConv2d` does.
    fn two_frequencies(
        &self,
        [high, low, ..]: ByLevel<4>,
        kernels: impl Iterator<Item = Tensor<4>>,
        [bias_high, bias_low, ..]: ByLevel<1>,
    ) -> Option<ByLevel<4>> {
        let features = OctFeatures::try_new(high, low, self.size).ok()?;
        let [[h2h, h2l, ..], [l2h, l2l, ..], ..] = self.by_path(kernels);
        let kernels = OctKernels {
            h2h,
            h2l,
            l2h,
            l2l,
            bias_high,
            bias_low,
            ..OctKernels::default()
        };
        let (high, low) = ops::octconv2d(features, kernels, &self.plan).into_parts();
        Some(by_level([high, low].into_iter()))
    }

    /// The map of which these are the planes.
    fn result<const R: usize>(
        &self,
        groups: ByLevel<4>,
        plan: &Plan<D>,
        size: [usize; D],
    ) -> OctMaps<D, R> {
        let groups = groups.map(|y| y.map(|y| self.back(y)));
        OctMaps::new(groups.into(), size, plan.octave_axes).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Swaps channels and time of a map, or columns and time of a kernel.
fn time_first<const R: usize>() -> [usize; R] {
    let mut axes = core::array::from_fn(|axis| axis);
    axes.swap(1, 2);
    axes
}

#[cfg(test)]
mod tests;
