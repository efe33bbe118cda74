//! The octave convolution as plain f64 loops, written from the equations of the paper and
//! sharing nothing with the crate but the names of the options.

use burn_octconv::{Downsample, Upsample};

/// A map `[batch, channels, height, width]`, a kernel `[out, in / groups, height, width]`, or a
/// bias `[1, channels, 1, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    pub dims: [usize; 4],
    pub data: Vec<f64>,
}

impl Map {
    pub fn zeros(dims: [usize; 4]) -> Self {
        Self {
            dims,
            data: vec![0.0; dims.iter().product()],
        }
    }

    pub fn at(&self, n: usize, c: usize, y: usize, x: usize) -> f64 {
        self.data[self.index(n, c, y, x)]
    }

    pub fn at_mut(&mut self, n: usize, c: usize, y: usize, x: usize) -> &mut f64 {
        let index = self.index(n, c, y, x);
        &mut self.data[index]
    }

    fn index(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        let [_, channels, height, width] = self.dims;
        ((n * channels + c) * height + y) * width + x
    }

    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            dims: self.dims,
            data: self.data.iter().map(|&x| f(x)).collect(),
        }
    }

    /// Every value rounded to a multiple of 2^-`bits`.
    pub fn rounded(&self, bits: i32) -> Self {
        let scale = f64::powi(2.0, bits);
        self.map(|x| (x * scale).round() / scale)
    }

    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.dims, other.dims);
        let pairs = self.data.iter().zip(&other.data);
        Self {
            dims: self.dims,
            data: pairs.map(|(&a, &b)| f(a, b)).collect(),
        }
    }

    pub fn dot(&self, other: &Self) -> f64 {
        assert_eq!(self.dims, other.dims);
        self.data.iter().zip(&other.data).map(|(a, b)| a * b).sum()
    }
}

/// How the reference pads one axis.
#[derive(Debug, Clone, Copy)]
pub enum Pad {
    /// `(begin, end)`.
    Explicit(usize, usize),
    /// So that the output has `⌈input / stride⌉` elements, the odd one at the end.
    Same,
}

/// The operator's hyper-parameters.
#[derive(Debug, Clone)]
pub struct Options {
    pub stride: usize,
    pub strided: bool,
    pub padding: [Pad; 2],
    pub dilation: [usize; 2],
    pub downsample: Downsample,
    pub upsample: Upsample,
}

/// Everything that the operator reads.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    pub high: Option<Map>,
    pub low: Option<Map>,
    pub h2h: Option<Map>,
    pub h2l: Option<Map>,
    pub l2h: Option<Map>,
    pub l2l: Option<Map>,
    pub bias_high: Option<Map>,
    pub bias_low: Option<Map>,
}

/// The names of [`Inputs::parts`], in order.
pub const NAMES: [&str; 8] = [
    "high",
    "low",
    "h2h",
    "h2l",
    "l2h",
    "l2l",
    "bias_high",
    "bias_low",
];

impl Inputs {
    pub fn parts(&self) -> [&Option<Map>; 8] {
        let Self {
            high,
            low,
            h2h,
            h2l,
            l2h,
            l2l,
            bias_high,
            bias_low,
        } = self;
        [high, low, h2h, h2l, l2h, l2l, bias_high, bias_low]
    }

    pub fn parts_mut(&mut self) -> [&mut Option<Map>; 8] {
        let Self {
            high,
            low,
            h2h,
            h2l,
            l2h,
            l2l,
            bias_high,
            bias_low,
        } = self;
        [high, low, h2h, h2l, l2h, l2l, bias_high, bias_low]
    }

    /// All values rounded to multiples of 2^-`bits`.
    pub fn rounded(mut self, bits: i32) -> Self {
        for part in self.parts_mut().into_iter().flatten() {
            *part = part.rounded(bits);
        }
        self
    }

    /// All values replaced by their magnitudes: the operator over them bounds the sums of
    /// magnitudes that rounding errors are relative to.
    pub fn magnitudes(&self) -> Self {
        let mut result = self.clone();
        for part in result.parts_mut().into_iter().flatten() {
            *part = part.map(f64::abs);
        }
        result
    }
}

/// `[Y^H, Y^L]`. `size` is the full resolution of the input; `selector` decides which pixel a max
/// pooling selects (the high input itself, or the point at which a derivative is taken).
pub fn octconv(
    inputs: &Inputs,
    size: [usize; 2],
    options: &Options,
    selector: Option<&Map>,
) -> [Option<Map>; 2] {
    let pools = options.stride == 2 && !options.strided;
    let stride = if options.strided { options.stride } else { 1 };
    let selector = selector.or(inputs.high.as_ref());
    let pooled = |x: &Option<Map>| match x {
        Some(x) if pools => Some(avg_pool(x)),
        x => x.clone(),
    };
    let high = pooled(&inputs.high);
    let low = pooled(&inputs.low);
    let selector = pooled(&selector.cloned());

    let mut y_high: Option<Map> = None;
    let mut y_low: Option<Map> = None;
    if let (Some(x), Some(w)) = (&high, &inputs.h2h) {
        add(&mut y_high, conv(x, w, stride, options));
    }
    if let (Some(x), Some(w)) = (&inputs.low, &inputs.l2h) {
        let y = conv(x, w, 1, options);
        if options.stride == 2 {
            add(&mut y_high, y);
        } else {
            let full = match &y_high {
                Some(high) => [high.dims[2], high.dims[3]],
                None if size.map(|s| s.div_ceil(2)) == [y.dims[2], y.dims[3]] => size,
                None => [2 * y.dims[2], 2 * y.dims[3]],
            };
            add(&mut y_high, upsample(&y, full, options.upsample));
        }
    }
    if let (Some(x), Some(w)) = (&low, &inputs.l2l) {
        add(&mut y_low, conv(x, w, stride, options));
    }
    if let (Some(x), Some(w)) = (&high, &inputs.h2l) {
        let y = match options.downsample {
            Downsample::Average => conv(&avg_pool(x), w, stride, options),
            Downsample::Max => {
                let selector = selector.as_ref().expect("there is a high input");
                conv(&max_pool(x, selector), w, stride, options)
            }
            Downsample::Strided => conv(x, w, 2 * stride, options),
        };
        add(&mut y_low, y);
    }
    add_bias(&mut y_high, &inputs.bias_high);
    add_bias(&mut y_low, &inputs.bias_low);
    [y_high, y_low]
}

fn add(sum: &mut Option<Map>, term: Map) {
    *sum = Some(match sum {
        Some(sum) => sum.zip(&term, |a, b| a + b),
        None => term,
    });
}

fn add_bias(y: &mut Option<Map>, bias: &Option<Map>) {
    if let (Some(y), Some(bias)) = (y, bias) {
        let [batch, channels, height, width] = y.dims;
        for (n, c, i, j) in indices([batch, channels, height, width]) {
            *y.at_mut(n, c, i, j) += bias.at(0, c, 0, 0);
        }
    }
}

pub fn indices(dims: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let [a, b, c, d] = dims;
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}

pub fn conv(x: &Map, w: &Map, stride: usize, options: &Options) -> Map {
    let [batch, channels, height, width] = x.dims;
    let [out, per_group, kernel_height, kernel_width] = w.dims;
    let groups = channels / per_group;
    let axis = |axis: usize, size: usize, kernel: usize| -> (usize, usize) {
        let extent = options.dilation[axis] * (kernel - 1) + 1;
        let (begin, end) = match options.padding[axis] {
            Pad::Explicit(begin, end) => (begin, end),
            Pad::Same => {
                let out = size.div_ceil(stride);
                let total = ((out - 1) * stride + extent).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        };
        (begin, (size + begin + end - extent) / stride + 1)
    };
    let (top, out_height) = axis(0, height, kernel_height);
    let (left, out_width) = axis(1, width, kernel_width);
    let mut y = Map::zeros([batch, out, out_height, out_width]);
    for (n, o, i, j) in indices(y.dims) {
        let first = o / (out / groups) * per_group;
        let mut sum = 0.0;
        for (c, a, b) in (0..per_group).flat_map(|c| {
            (0..kernel_height).flat_map(move |a| (0..kernel_width).map(move |b| (c, a, b)))
        }) {
            let row = (i * stride + a * options.dilation[0]).checked_sub(top);
            let column = (j * stride + b * options.dilation[1]).checked_sub(left);
            if let (Some(row), Some(column)) = (row, column)
                && row < height
                && column < width
            {
                sum += x.at(n, first + c, row, column) * w.at(o, c, a, b);
            }
        }
        *y.at_mut(n, o, i, j) = sum;
    }
    y
}

/// The pixels of a 2×2 window that exist.
fn window(dims: [usize; 4], i: usize, j: usize) -> Vec<(usize, usize)> {
    let [_, _, height, width] = dims;
    [(0, 0), (0, 1), (1, 0), (1, 1)]
        .into_iter()
        .map(|(a, b)| (2 * i + a, 2 * j + b))
        .filter(|&(row, column)| row < height && column < width)
        .collect()
}

pub fn avg_pool(x: &Map) -> Map {
    let [batch, channels, height, width] = x.dims;
    let mut y = Map::zeros([batch, channels, height.div_ceil(2), width.div_ceil(2)]);
    for (n, c, i, j) in indices(y.dims) {
        let pixels = window(x.dims, i, j);
        let sum: f64 = pixels.iter().map(|&(a, b)| x.at(n, c, a, b)).sum();
        *y.at_mut(n, c, i, j) = sum / pixels.len() as f64;
    }
    y
}

pub fn max_pool(x: &Map, selector: &Map) -> Map {
    let [batch, channels, height, width] = x.dims;
    let mut y = Map::zeros([batch, channels, height.div_ceil(2), width.div_ceil(2)]);
    for (n, c, i, j) in indices(y.dims) {
        let best = window(x.dims, i, j)
            .into_iter()
            .max_by(|&(a, b), &(d, e)| selector.at(n, c, a, b).total_cmp(&selector.at(n, c, d, e)))
            .expect("a window has a pixel");
        *y.at_mut(n, c, i, j) = x.at(n, c, best.0, best.1);
    }
    y
}

pub fn upsample(x: &Map, [height, width]: [usize; 2], method: Upsample) -> Map {
    let [batch, channels, rows, columns] = x.dims;
    let mut y = Map::zeros([batch, channels, height, width]);
    // Weights of the two neighbours: output pixel centres lie at (i + ½) / 2 − ½ of the input.
    let taps = |i: usize, size: usize| -> [(usize, f64); 2] {
        match method {
            Upsample::Nearest => [(i / 2, 1.0), (i / 2, 0.0)],
            Upsample::Bilinear => {
                let centre = ((i as f64 + 0.5) / 2.0 - 0.5).max(0.0);
                let first = centre.floor() as usize;
                let share = centre - first as f64;
                [(first, 1.0 - share), ((first + 1).min(size - 1), share)]
            }
        }
    };
    for (n, c, i, j) in indices(y.dims) {
        for (row, a) in taps(i, rows) {
            for (column, b) in taps(j, columns) {
                // A pixel without weight is not read: it may be infinite.
                if a * b > 0.0 {
                    *y.at_mut(n, c, i, j) += a * b * x.at(n, c, row, column);
                }
            }
        }
    }
    y
}
