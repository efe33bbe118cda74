//! Layers that the engine of `OctConv2d` computes as they are, or in another view: those of one or two
//! frequencies over one axis, over two that are both halved, and over three where time is not.

use alloc::vec;

use burn::tensor::{
    DType, Tensor,
    ops::{ConvOptions, PadMode},
};
use octave_plan::{Exchange, Layer, Padding, Plan};

use super::{OctMaps, resample};
use crate::{
    OctFeatures,
    ops::{self, OctKernels},
};

/// Computes a convolution by the engine, if that has it.
pub(super) fn convolve<const D: usize, const R: usize>(
    plan: &Plan<D>,
    input: &OctMaps<D, R>,
    kernels: &[Tensor<R>],
    biases: &[Option<Tensor<1>>],
) -> Option<OctMaps<D, R>> {
    let view = View::new(plan, input)?;
    let groups = input.clone().into_groups();
    let single = |dtype: DType| dtype == DType::F32;
    let (mut maps, mut weights) = (groups.iter().flatten(), kernels.iter());
    if !maps.all(|x| single(x.dtype())) || !weights.all(|w| single(w.dtype())) {
        return None;
    }
    let mut groups = groups.into_iter().map(|x| x.map(|x| view.map(x)));
    let mut next = || groups.next().flatten();
    let features = OctFeatures::try_new(next(), next(), view.size).ok()?;
    let output = ops::octconv2d(features, view.kernels(kernels, biases), &view.plan);
    let (high, low) = output.into_parts();
    let groups = [high, low].map(|y| y.map(|y| view.back(y)));
    let size = plan.output_size(input.size());
    Some(OctMaps::new(groups.into(), size, plan.octave_axes).unwrap_or_else(|e| panic!("{e}")))
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
    /// If there is one that the engine computes.
    fn new<const R: usize>(plan: &Plan<D>, input: &OctMaps<D, R>) -> Option<Self> {
        let size = input.size();
        let (frames, axes) = match D {
            // A row of pixels: halving one row leaves one row.
            1 => (1, [None, Some(0)]),
            2 => (1, [Some(0), Some(1)]),
            _ => (size[0], [Some(1), Some(2)]),
        };
        let halved = axes.into_iter().flatten().all(|a| plan.octave_axes[a]);
        let kept = D < 3 || (!plan.octave_axes[0] && plan.strides()[0] == 1);
        let two = plan.input.len().max(plan.output.len()) <= 2;
        let strides = plan.strides();
        let mut strides = axes.into_iter().flatten().map(|a| strides[a]);
        let alike = strides.all(|stride| stride == plan.stride);
        // The engine gives back no gradient of a group that it does not read.
        let mut levels = (0..plan.input.len()).filter(|&level| plan.input[level] > 0);
        let all_read = levels.all(|level| plan.paths.iter().any(|path| path.from == level));
        // Frames become channels, which groups share out.
        let channels = D < 3 || plan.groups == 1;
        if !(halved && kept && two && alike && channels && all_read)
            || (D == 3 && !plan.keeps_size())
        {
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
        let two_groups = |counts: &[usize], factor: usize| {
            [0, 1].map(|level| factor * counts.get(level).copied().unwrap_or(0))
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
                two_groups(&plan.input, taps),
                two_groups(&plan.output, 1),
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
        let images = input.batch() * frames;
        let refusal = ops::refusal(&view.plan, images, view.size, &input.device());
        refusal.is_none().then_some(view)
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

    /// The kernels over planes; those over time have the taps side by side as channels.
    fn kernels<const R: usize>(
        &self,
        kernels: &[Tensor<R>],
        biases: &[Option<Tensor<1>>],
    ) -> OctKernels {
        let plane = |w: &Tensor<R>| {
            let dims = w.dims();
            let [height, width] = self.plan.kernel_size;
            match D {
                3 => {
                    let w = w.clone().permute(time_first());
                    w.reshape([dims[0], dims[1] * dims[2], height, width])
                }
                _ => w.clone().reshape([dims[0], dims[1], height, width]),
            }
        };
        let of = |from, to| {
            let paths = &mut self.plan.paths.iter();
            let index = paths.position(|path| (path.from, path.to) == (from, to));
            index.map(|index| plane(&kernels[index]))
        };
        let bias = |level: usize| biases.get(level).cloned().flatten();
        OctKernels {
            h2h: of(0, 0),
            h2l: of(0, 1),
            l2h: of(1, 0),
            l2l: of(1, 1),
            bias_high: bias(0),
            bias_low: bias(1),
            ..OctKernels::default()
        }
    }
}

/// Swaps channels and time of a map, or columns and time of a kernel.
fn time_first<const R: usize>() -> [usize; R] {
    let mut axes = core::array::from_fn(|axis| axis);
    axes.swap(1, 2);
    axes
}
