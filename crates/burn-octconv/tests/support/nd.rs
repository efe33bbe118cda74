//! Octave convolution and its adjoint over any number of axes and frequencies, as plain f64 loops
//! written from the equations, sharing nothing with the crate but the names of the options.

use burn_octconv::{Downsample, Exchange, Reach, Scale, Upsample};

/// A map `[batch, channels, …]`, a kernel `[out, in / groups, …]` or a bias `[channels]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub dims: Vec<usize>,
    pub data: Vec<f64>,
}

/// All indices of an array of these dimensions, the last axis fastest.
pub fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let dims = dims.to_vec();
    (0..dims.iter().product()).map(move |mut flat: usize| {
        let mut index = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            index[axis] = flat % dims[axis];
            flat /= dims[axis];
        }
        index
    })
}

impl Array {
    pub fn zeros(dims: impl Into<Vec<usize>>) -> Self {
        let dims = dims.into();
        let data = vec![0.0; dims.iter().product()];
        Self { dims, data }
    }

    fn flat(&self, index: &[usize]) -> usize {
        let axes = self.dims.iter().zip(index);
        axes.fold(0, |flat, (size, i)| flat * size + i)
    }

    pub fn at(&self, index: &[usize]) -> f64 {
        self.data[self.flat(index)]
    }

    pub fn at_mut(&mut self, index: &[usize]) -> &mut f64 {
        let flat = self.flat(index);
        &mut self.data[flat]
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            dims: self.dims.clone(),
            data: self.data.iter().map(|&x| f(x)).collect(),
        }
    }

    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.dims, other.dims);
        let pairs = self.data.iter().zip(&other.data);
        Self {
            dims: self.dims.clone(),
            data: pairs.map(|(&a, &b)| f(a, b)).collect(),
        }
    }

    pub fn dot(&self, other: &Self) -> f64 {
        self.zip(other, |a, b| a * b).data.iter().sum()
    }
}

/// How one axis is padded.
#[derive(Debug, Clone, Copy)]
pub enum Pad {
    /// `(begin, end)`.
    Explicit(usize, usize),
    /// So that the output has `⌈input / stride⌉` elements, the odd one at the end.
    Same,
}

/// The hyper-parameters, per axis.
#[derive(Debug, Clone)]
pub struct Options {
    pub stride: Vec<usize>,
    pub strided: bool,
    pub padding: Vec<Pad>,
    pub dilation: Vec<usize>,
    pub octave_axes: Vec<bool>,
    pub downsample: Downsample,
    pub upsample: Upsample,
    pub exchange: Exchange,
    pub reach: Reach,
    pub depthwise: bool,
    /// Of the transposed layer.
    pub scale: Scale,
}

/// Groups, kernels `[from][to]`, biases of the output.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub groups: Vec<Option<Array>>,
    pub kernels: Vec<Vec<Option<Array>>>,
    pub biases: Vec<Option<Array>>,
}

impl Inputs {
    /// Everything replaced by its magnitude: bounds what rounding errors are relative to.
    pub fn magnitudes(&self) -> Self {
        let abs = |x: &Option<Array>| x.as_ref().map(|x| x.map(f64::abs));
        Self {
            groups: self.groups.iter().map(abs).collect(),
            kernels: self
                .kernels
                .iter()
                .map(|row| row.iter().map(abs).collect())
                .collect(),
            biases: self.biases.iter().map(abs).collect(),
        }
    }
}

impl Options {
    /// The size `level` octaves below `size`.
    pub fn level(&self, size: &[usize], level: usize) -> Vec<usize> {
        let mut size = size.to_vec();
        for (size, halved) in size.iter_mut().zip(&self.octave_axes) {
            for _ in 0..level {
                *size = if *halved { size.div_ceil(2) } else { *size };
            }
        }
        size
    }

    pub fn output(&self, size: &[usize]) -> Vec<usize> {
        let axes = size.iter().zip(&self.stride);
        axes.map(|(size, stride)| size.div_ceil(*stride)).collect()
    }

    pub fn exists(&self, from: usize, to: usize) -> bool {
        let near = self.reach == Reach::All || from.abs_diff(to) <= 1;
        let exchange = !self.depthwise
            && match to > from {
                true => matches!(self.exchange, Exchange::Both | Exchange::HighToLow),
                false => matches!(self.exchange, Exchange::Both | Exchange::LowToHigh),
            };
        from == to || (near && exchange)
    }

    /// The axes along which a path takes the stride itself.
    fn own_stride(&self, from: usize, to: usize) -> Vec<bool> {
        let axes = self.stride.iter().zip(&self.octave_axes);
        axes.map(|(stride, halved)| *stride == 2 && !(to < from && *halved))
            .collect()
    }

    /// The axes that each step of a path's upsampling doubles: along an octave axis with stride 2
    /// the input has one resolution more than the output asks for.
    fn ups(&self, from: usize, to: usize) -> Vec<Vec<bool>> {
        let step = |step: usize| {
            let axes = self.stride.iter().zip(&self.octave_axes);
            let steps = from - to;
            axes.map(|(stride, halved)| *halved && step < steps + 1 - stride)
                .collect()
        };
        (0..from.saturating_sub(to)).map(step).collect()
    }

    /// Sizes between the steps of a path's upsampling, from the last to the first.
    fn up_sizes(&self, from: usize, to: usize, output: &[usize]) -> Vec<Vec<usize>> {
        let mut sizes = vec![self.level(output, to)];
        for axes in self.ups(from, to).iter().rev() {
            let size = sizes.last().unwrap().iter().zip(axes);
            sizes.push(
                size.map(|(size, up)| if *up { size.div_ceil(2) } else { *size })
                    .collect(),
            );
        }
        sizes
    }
}

/// Where a window of 2 along `axes` lies.
fn window(index: &[usize], axes: &[bool], size: &[usize]) -> Vec<Vec<usize>> {
    let offsets: Vec<usize> = axes.iter().map(|a| 1 + usize::from(*a)).collect();
    indices(&offsets)
        .map(|offset| {
            (0..axes.len())
                .map(|a| index[a] * offsets[a] + offset[a])
                .collect::<Vec<_>>()
        })
        .filter(|pixel| pixel.iter().zip(size).all(|(p, s)| p < s))
        .collect()
}

fn halved(dims: &[usize], axes: &[bool]) -> Vec<usize> {
    let mut dims = dims.to_vec();
    for (size, axis) in dims[2..].iter_mut().zip(axes) {
        *size = if *axis { size.div_ceil(2) } else { *size };
    }
    dims
}

fn pool(x: &Array, axes: &[bool], max: bool) -> Array {
    let mut y = Array::zeros(halved(&x.dims, axes));
    for index in indices(&y.dims.clone()) {
        let pixels = window(&index[2..], axes, &x.dims[2..]);
        let values: Vec<f64> = pixels
            .iter()
            .map(|pixel| x.at(&[&index[..2], pixel].concat()))
            .collect();
        *y.at_mut(&index) = match max {
            true => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            false => values.iter().sum::<f64>() / values.len() as f64,
        };
    }
    y
}

/// The adjoint of average pooling: each pixel of a window gets its share.
fn unpool(y: &Array, axes: &[bool], size: &[usize]) -> Array {
    let mut x = Array::zeros([&y.dims[..2], size].concat());
    for index in indices(&y.dims) {
        let pixels = window(&index[2..], axes, size);
        for pixel in &pixels {
            *x.at_mut(&[&index[..2], pixel].concat()) = y.at(&index) / pixels.len() as f64;
        }
    }
    x
}

/// The adjoint of upsampling: sums of blocks.
fn block_sum(x: &Array, axes: &[bool]) -> Array {
    let mut y = Array::zeros(halved(&x.dims, axes));
    for index in indices(&x.dims) {
        let mut block = index.clone();
        for (i, axis) in block[2..].iter_mut().zip(axes) {
            *i /= 1 + usize::from(*axis);
        }
        *y.at_mut(&block) += x.at(&index);
    }
    y
}

fn upsample(x: &Array, axes: &[bool], size: &[usize], method: Upsample) -> Array {
    let mut y = Array::zeros([&x.dims[..2], size].concat());
    for index in indices(&y.dims.clone()) {
        // The two neighbours along each axis, and their weights.
        let taps: Vec<[(usize, f64); 2]> = (0..axes.len())
            .map(|a| {
                let i = index[2 + a];
                match (axes[a], method) {
                    (false, _) => [(i, 1.0), (i, 0.0)],
                    (true, Upsample::Nearest) => [(i / 2, 1.0), (i / 2, 0.0)],
                    (true, Upsample::Bilinear) => {
                        let centre = ((i as f64 + 0.5) / 2.0 - 0.5).max(0.0);
                        let first = centre.floor() as usize;
                        let share = centre - first as f64;
                        let next = (first + 1).min(x.dims[2 + a] - 1);
                        [(first, 1.0 - share), (next, share)]
                    }
                }
            })
            .collect();
        let mut sum = 0.0;
        for choice in indices(&vec![2; axes.len()]) {
            let chosen = choice.iter().zip(&taps).map(|(c, taps)| taps[*c]);
            let pixel: Vec<usize> = chosen.clone().map(|(i, _)| i).collect();
            let weight: f64 = chosen.map(|(_, weight)| weight).product();
            sum += weight * x.at(&[&index[..2], &pixel].concat());
        }
        *y.at_mut(&index) = sum;
    }
    y
}

/// Stride and padding at the beginning of a path's convolution, and the size that it gives.
fn geometry(
    options: &Options,
    stride: &[usize],
    read: &[usize],
    kernel: &[usize],
) -> (Vec<usize>, Vec<usize>) {
    (0..read.len())
        .map(|a| {
            let extent = options.dilation[a] * (kernel[a] - 1) + 1;
            let (begin, end) = match options.padding[a] {
                Pad::Explicit(begin, end) => (begin, end),
                Pad::Same => {
                    let out = read[a].div_ceil(stride[a]);
                    let total = ((out - 1) * stride[a] + extent).saturating_sub(read[a]);
                    (total / 2, total - total / 2)
                }
            };
            (begin, (read[a] + begin + end - extent) / stride[a] + 1)
        })
        .unzip()
}

/// Every pair of an output pixel and the input pixel that a tap of the kernel joins it to.
fn taps(
    options: &Options,
    stride: &[usize],
    begin: &[usize],
    read: &[usize],
    out: &[usize],
    kernel: &[usize],
    mut each: impl FnMut(&[usize], &[usize], &[usize]),
) {
    for pixel in indices(out) {
        for tap in indices(kernel) {
            let source: Option<Vec<usize>> = (0..read.len())
                .map(|a| {
                    let position = pixel[a] * stride[a] + tap[a] * options.dilation[a];
                    position.checked_sub(begin[a]).filter(|i| *i < read[a])
                })
                .collect();
            if let Some(source) = source {
                each(&pixel, &source, &tap);
            }
        }
    }
}

fn conv(x: &Array, w: &Array, stride: &[usize], options: &Options) -> Array {
    let (read, kernel) = (&x.dims[2..], &w.dims[2..]);
    let (begin, out) = geometry(options, stride, read, kernel);
    let (rows, columns) = (w.dims[0], w.dims[1]);
    let per_group = rows / (x.dims[1] / columns);
    let mut y = Array::zeros([&[x.dims[0], rows], &out[..]].concat());
    taps(options, stride, &begin, read, &out, kernel, |p, s, t| {
        for index in indices(&[x.dims[0], rows, columns]) {
            let (n, row, column) = (index[0], index[1], index[2]);
            let channel = row / per_group * columns + column;
            *y.at_mut(&[&[n, row], p].concat()) +=
                w.at(&[&[row, column], t].concat()) * x.at(&[&[n, channel], s].concat());
        }
    });
    y
}

/// The adjoint of [`conv`] to a map of size `read`.
fn conv_transpose(
    y: &Array,
    w: &Array,
    stride: &[usize],
    read: &[usize],
    channels: usize,
    options: &Options,
) -> Array {
    let kernel = &w.dims[2..];
    let (begin, out) = geometry(options, stride, read, kernel);
    assert_eq!(out, y.dims[2..]);
    let (rows, columns) = (w.dims[0], w.dims[1]);
    let per_group = rows / (channels / columns);
    let mut x = Array::zeros([&[y.dims[0], channels], read].concat());
    taps(options, stride, &begin, read, &out, kernel, |p, s, t| {
        for index in indices(&[y.dims[0], rows, columns]) {
            let (n, row, column) = (index[0], index[1], index[2]);
            let channel = row / per_group * columns + column;
            *x.at_mut(&[&[n, channel], s].concat()) +=
                w.at(&[&[row, column], t].concat()) * y.at(&[&[n, row], p].concat());
        }
    });
    x
}

fn add(sum: &mut Option<Array>, term: Array) {
    *sum = Some(match sum {
        Some(sum) => sum.zip(&term, |a, b| a + b),
        None => term,
    });
}

fn add_bias(y: &mut Option<Array>, bias: Option<&Array>) {
    if let (Some(y), Some(bias)) = (y, bias) {
        for index in indices(&y.dims.clone()) {
            *y.at_mut(&index) += bias.at(&[index[1]]);
        }
    }
}

/// The stride of a path's convolution.
fn conv_stride(options: &Options, from: usize, to: usize) -> Vec<usize> {
    let own = options.own_stride(from, to);
    let down = to.saturating_sub(from);
    (0..own.len())
        .map(|a| {
            let octave = options.downsample == Downsample::Strided && options.octave_axes[a];
            let stride = if options.strided && own[a] { 2 } else { 1 };
            if octave { stride << down } else { stride }
        })
        .collect()
}

/// How often a path pools along the octave axes.
fn pools(options: &Options, from: usize, to: usize) -> usize {
    match options.downsample {
        Downsample::Strided => 0,
        _ => to.saturating_sub(from),
    }
}

/// Y_j = Σ_{i<j} f(pool^{j−i}(X_i); W_ij) + f(X_j; W_jj) + Σ_{i>j} up^{i−j}(f(X_i; W_ij)) + b_j, for a
/// full resolution of the input of `size`.
pub fn octconv(inputs: &Inputs, size: &[usize], options: &Options) -> Vec<Option<Array>> {
    let output = options.output(size);
    let count = inputs.kernels[0].len();
    let mut result = vec![None; count];
    for (to, result) in result.iter_mut().enumerate() {
        for (from, x) in inputs.groups.iter().enumerate() {
            let (Some(x), Some(w)) = (x, &inputs.kernels[from][to]) else {
                continue;
            };
            let mut x = x.clone();
            if !options.strided {
                x = pool(&x, &options.own_stride(from, to), false);
            }
            for _ in 0..pools(options, from, to) {
                let max = options.downsample == Downsample::Max;
                x = pool(&x, &options.octave_axes, max);
            }
            let mut y = conv(&x, w, &conv_stride(options, from, to), options);
            let sizes = options.up_sizes(from, to, &output);
            let sizes = sizes[..sizes.len() - 1].iter().rev();
            for (axes, size) in options.ups(from, to).iter().zip(sizes) {
                y = upsample(&y, axes, size, options.upsample);
            }
            add(result, y);
        }
        add_bias(result, inputs.biases.get(to).and_then(Option::as_ref));
    }
    result
}

/// The adjoint of [`octconv`] with the same kernels, plus the biases, for an output of full resolution
/// `size` and `channels` of its groups; `inputs.groups` are the Y:
/// X_i = Σ_{j<i} fᵀ(S^{i−j}(Y_j); W_ij) + fᵀ(Y_i; W_ii) + Σ_{j>i} U^{j−i}(fᵀ(Y_j; W_ij)) + b_i.
pub fn transpose(
    inputs: &Inputs,
    size: &[usize],
    channels: &[usize],
    options: &Options,
) -> Vec<Option<Array>> {
    let mut result = vec![None; channels.len()];
    for (to, result) in result.iter_mut().enumerate() {
        for (from, y) in inputs.groups.iter().enumerate() {
            let (Some(y), Some(w)) = (y, &inputs.kernels[to][from]) else {
                continue;
            };
            let mut y = y.clone();
            for axes in options.ups(to, from).iter().rev() {
                y = match options.scale {
                    Scale::Adjoint => block_sum(&y, axes),
                    Scale::Mean => pool(&y, axes, false),
                };
            }
            // What the convolution read, after each of its poolings.
            let mut reads = vec![(options.level(size, to), vec![])];
            let mut shrink = |axes: Vec<bool>| {
                let dims = [&[1, 1], &reads.last().unwrap().0[..]].concat();
                reads.push((halved(&dims, &axes)[2..].to_vec(), axes));
            };
            if !options.strided {
                shrink(options.own_stride(to, from));
            }
            for _ in 0..pools(options, to, from) {
                shrink(options.octave_axes.clone());
            }
            let stride = conv_stride(options, to, from);
            let (read, _) = reads.last().unwrap();
            let mut x = conv_transpose(&y, w, &stride, read, channels[to], options);
            for pair in reads.windows(2).rev() {
                let (axes, size) = (&pair[1].1, &pair[0].0);
                x = match options.scale {
                    Scale::Adjoint => unpool(&x, axes, size),
                    Scale::Mean => upsample(&x, axes, size, Upsample::Nearest),
                };
            }
            add(result, x);
        }
        add_bias(result, inputs.biases.get(to).and_then(Option::as_ref));
    }
    result
}
