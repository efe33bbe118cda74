//! Octave convolutions against plain loops in f64, forward and backward.

use super::*;
use crate::isa::Isa;
use crate::naive::{Conv, average_pool2, close};
use crate::testing::Rng;
use octave_plan::{Exchange, Layer, Padding, Plan, Refusal};
use proptest::prelude::*;

/// A layer as the reference sees it: what happens on a path is said once more here, not read from
/// the plan. Frequency groups are `[high, low]`.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub images: usize,
    pub size: [usize; 2],
    pub c_in: [usize; 2],
    pub c_out: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: usize,
    pub strided: bool,
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Case {
    /// One image through a small layer with all four paths.
    pub(super) fn small() -> Self {
        Self {
            images: 1,
            size: [8, 9],
            c_in: [4, 4],
            c_out: [4, 4],
            kernel: [3, 3],
            stride: 1,
            strided: false,
            padding: [1, 1],
            dilation: [1, 1],
            groups: 1,
        }
    }

    pub(super) fn plan(&self) -> Plan<2> {
        let layer = Layer {
            stride: self.stride,
            strided: self.strided,
            padding: Padding::Explicit(self.padding.map(|p| (p, p))),
            dilation: self.dilation,
            groups: self.groups,
            ..Layer::new(self.c_in, self.c_out, self.kernel)
        };
        Plan::new(layer, Exchange::Both)
    }

    pub(super) fn conv(&self) -> Result<OctConv, Refusal> {
        OctConv::new(self.plan(), self.images, self.size)
    }

    fn in_sizes(&self) -> [[usize; 2]; 2] {
        [self.size, self.size.map(|s| s.div_ceil(2))]
    }

    fn out_sizes(&self) -> [[usize; 2]; 2] {
        let pooled = self.stride == 2 && !self.strided;
        self.in_sizes().map(|size| {
            [0, 1].map(|a| {
                let size = if pooled { size[a].div_ceil(2) } else { size[a] };
                let reach = (self.kernel[a] - 1) * self.dilation[a];
                let stride = if self.strided { self.stride } else { 1 };
                (size + 2 * self.padding[a] - reach - 1) / stride + 1
            })
        })
    }
}

/// Inputs, kernels (hh, hl, lh, ll), biases and output gradients of a layer.
#[derive(Clone)]
struct Data {
    x: [Vec<f32>; 2],
    w: [Vec<f32>; 4],
    bias: [Vec<f32>; 2],
    dy: [Vec<f32>; 2],
}

/// Paths: input group, output group.
const PATHS: [[usize; 2]; 4] = [[0, 0], [0, 1], [1, 0], [1, 1]];

fn exists(c: &Case, path: usize) -> bool {
    let [from, to] = PATHS[path];
    c.c_in[from] > 0 && c.c_out[to] > 0
}

impl Data {
    fn new(c: &Case, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (ins, outs) = (c.in_sizes(), c.out_sizes());
        let taps = c.kernel[0] * c.kernel[1];
        let x = [0, 1].map(|g| rng.vec(c.images * c.c_in[g] * ins[g][0] * ins[g][1]));
        let w = [0, 1, 2, 3].map(|p| {
            let [from, to] = PATHS[p];
            rng.vec(c.c_out[to] * c.c_in[from] / c.groups * taps)
        });
        let bias = c.c_out.map(|n| rng.vec(n));
        let dy = [0, 1].map(|g| rng.vec(c.images * c.c_out[g] * outs[g][0] * outs[g][1]));
        Self { x, w, bias, dy }
    }

    fn abs(&self) -> Self {
        let abs = |v: &Vec<f32>| v.iter().map(|x| x.abs()).collect();
        Self {
            x: [abs(&self.x[0]), abs(&self.x[1])],
            w: [0, 1, 2, 3].map(|i| abs(&self.w[i])),
            bias: [abs(&self.bias[0]), abs(&self.bias[1])],
            dy: [abs(&self.dy[0]), abs(&self.dy[1])],
        }
    }
}

/// y_h, y_l, dx_h, dx_l, d hh, d hl, d lh, d ll, d bias_h, d bias_l.
type Results<T> = [Vec<T>; 10];

fn upsample(x: &[f64], planes: usize, [h, w]: [usize; 2]) -> Vec<f64> {
    let (hl, wl) = (h.div_ceil(2), w.div_ceil(2));
    (0..planes * h * w)
        .map(|i| x[i / (h * w) * hl * wl + i % (h * w) / w / 2 * wl + i % w / 2])
        .collect()
}

/// Adjoint of `upsample`.
fn block_sum(y: &[f64], planes: usize, [h, w]: [usize; 2]) -> Vec<f64> {
    let (hl, wl) = (h.div_ceil(2), w.div_ceil(2));
    let mut x = vec![0.0; planes * hl * wl];
    for (i, v) in y.iter().enumerate() {
        x[i / (h * w) * hl * wl + i % (h * w) / w / 2 * wl + i % w / 2] += v;
    }
    x
}

/// Adjoint of average pooling of a map of the given size.
fn unpool(y: &[f64], planes: usize, [h, w]: [usize; 2]) -> Vec<f64> {
    let mut x = upsample(y, planes, [h, w]);
    for (i, v) in x.iter_mut().enumerate() {
        let (row, col) = (i % (h * w) / w / 2 * 2, i % w / 2 * 2);
        *v /= ((h - row).min(2) * (w - col).min(2)) as f64;
    }
    x
}

/// Straight from the definition.
fn reference(c: &Case, d: &Data) -> Results<f64> {
    let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let (ins, outs) = (c.in_sizes(), c.out_sizes());
    let n = c.images;
    let mut r: Results<f64> = std::array::from_fn(|_| vec![]);
    for g in 0..2 {
        let plane = outs[g][0] * outs[g][1];
        for _ in 0..n {
            for b in &d.bias[g] {
                r[g].extend(std::iter::repeat_n(f64::from(*b), plane));
            }
        }
        r[2 + g] = vec![0.0; d.x[g].len()];
        r[8 + g] = vec![0.0; d.bias[g].len()];
        for (i, v) in d.dy[g].iter().enumerate() {
            r[8 + g][i / plane % c.c_out[g]] += f64::from(*v);
        }
    }
    for (p, [from, to]) in PATHS.into_iter().enumerate() {
        r[4 + p] = vec![0.0; d.w[p].len()];
        if !exists(c, p) {
            continue;
        }
        // How often the input is pooled, and whether the output is upsampled.
        let halve = c.stride == 2 && !c.strided;
        let pools = match (from, to) {
            (0, 1) => 1 + usize::from(halve),
            (1, 0) => 0,
            _ => usize::from(halve),
        };
        let up = (from, to) == (1, 0) && !halve;
        let (mut x, mut size) = (wide(&d.x[from]), ins[from]);
        let mut sizes = vec![];
        for _ in 0..pools {
            x = average_pool2(&x, [n, c.c_in[from], size[0], size[1]]);
            sizes.push(size);
            size = size.map(|s| s.div_ceil(2));
        }
        let conv = Conv {
            dims: [n, c.c_in[from], size[0], size[1]],
            c_out: c.c_out[to],
            kernel: c.kernel,
            stride: if c.strided { c.stride } else { 1 },
            padding: c.padding,
            dilation: c.dilation,
            groups: c.groups,
        };
        let w = wide(&d.w[p]);
        let [oh, ow] = conv.out();
        let planes = n * c.c_out[to];
        let mut y = vec![0.0; planes * oh * ow];
        conv.each(|o, i, k| y[o] += x[i] * w[k]);
        let y = if up { upsample(&y, planes, outs[0]) } else { y };
        r[to].iter_mut().zip(&y).for_each(|(a, b)| *a += b);
        let dy = wide(&d.dy[to]);
        let dy = if up {
            block_sum(&dy, planes, outs[0])
        } else {
            dy
        };
        let mut dx = vec![0.0; x.len()];
        conv.each(|o, i, k| {
            dx[i] += dy[o] * w[k];
            r[4 + p][k] += dy[o] * x[i];
        });
        for size in sizes.into_iter().rev() {
            dx = unpool(&dx, n * c.c_in[from], size);
        }
        r[2 + from].iter_mut().zip(&dx).for_each(|(a, b)| *a += b);
    }
    r
}

/// The number of a path in the order H→H, H→L, L→H, L→L.
fn number(path: &octave_plan::Path) -> usize {
    2 * path.from + path.to
}

fn operands<'a>(c: &Case, conv: &OctConv, d: &'a Data) -> Operands<'a> {
    let group = |g: usize| (c.c_in[g] > 0).then(|| d.x[g].as_slice());
    let paths = conv.plan().paths.iter();
    Operands {
        inputs: [group(0), group(1)],
        kernels: paths.map(|path| d.w[number(path)].as_slice()).collect(),
        biases: d.bias.each_ref().map(|bias| Some(bias.as_slice())),
    }
}

/// The elements of `all` for which there is something to compute.
fn present(all: &mut [Vec<f32>; 2], channels: [usize; 2]) -> [Option<&mut [f32]>; 2] {
    let mut channels = channels.into_iter();
    all.each_mut()
        .map(|v| (channels.next()? > 0).then_some(v.as_mut_slice()))
}

fn engine(isa: Isa, c: &Case, d: &Data, ws: &mut Workspace) -> Results<f32> {
    let conv = c.conv().unwrap();
    let operands = operands(c, &conv, d);
    let nan = |v: &Vec<f32>| vec![f32::NAN; v.len()];
    let mut y = d.dy.each_ref().map(nan);
    conv.forward(isa, &operands, present(&mut y, c.c_out), ws);
    let mut dx = d.x.each_ref().map(nan);
    let mut db = d.bias.each_ref().map(nan);
    let mut dw = d.w.each_ref().map(nan);
    let paths = conv.plan().paths.iter();
    let mut slots = dw.each_mut().map(Some);
    let gradients = Gradients {
        inputs: present(&mut dx, c.c_in),
        kernels: paths
            .map(|path| slots[number(path)].take().map(Vec::as_mut_slice))
            .collect(),
        biases: present(&mut db, c.c_out),
    };
    let dy = [0, 1].map(|g| (c.c_out[g] > 0).then(|| d.dy[g].as_slice()));
    conv.backward(isa, &operands, dy, gradients, ws);
    for (p, dw) in dw.iter_mut().enumerate() {
        if !exists(c, p) {
            dw.fill(0.0);
        }
    }
    let ([y_h, y_l], [x_h, x_l], [b_h, b_l]) = (y, dx, db);
    let [hh, hl, lh, ll] = dw;
    [y_h, y_l, x_h, x_l, hh, hl, lh, ll, b_h, b_l]
}

const NAMES: [&str; 10] = [
    "y_h", "y_l", "dx_h", "dx_l", "d hh", "d hl", "d lh", "d ll", "d bias_h", "d bias_l",
];

fn check(c: &Case, seed: u64) -> Result<(), String> {
    let data = Data::new(c, seed);
    let want = reference(c, &data);
    let scale = reference(c, &data.abs());
    for isa in Isa::available() {
        let mut ws = Workspace::default();
        for round in 0..2 {
            let got = engine(isa, c, &data, &mut ws);
            for i in 0..10 {
                close(&got[i], &want[i], &scale[i])
                    .map_err(|e| format!("{isa:?}, round {round}, {}: {e}", NAMES[i]))?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn octave_layers_match_plain_loops(
        (images, h, w) in (1usize..4, 1usize..24, 1usize..34),
        (ih, il, oh, ol) in (0usize..36, 0usize..36, 0usize..36, 0usize..36),
        (half, dilation, groups, stride) in (0usize..3, 1usize..3, 0usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        let groups = [1, 1, 3][groups];
        let c_in = [ih.max(usize::from(il == 0)) * groups, il * groups];
        let c_out = [oh.max(usize::from(ol == 0)) * groups, ol * groups];
        let k = 2 * half + 1;
        let conv = Case {
            images, size: [h, w], c_in, c_out, kernel: [k, k], stride, strided: false,
            padding: [half * dilation; 2], dilation: [dilation; 2], groups,
        };
        // One filter per channel: then there are other paths.
        prop_assume!(!conv.plan().is_depthwise());
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }

    #[test]
    fn vanilla_layers_match_plain_loops(
        (images, h, w) in (1usize..4, 1usize..24, 1usize..34),
        (c_in, c_out) in (1usize..40, 1usize..40),
        (kh, kw, stride) in (1usize..6, 1usize..6, 1usize..3),
        (ph, pw) in (0usize..3, 0usize..3),
        seed in any::<u64>(),
    ) {
        let padding = [ph.min((kh - 1) / 2), pw.min((kw - 1) / 2)];
        let (h, w) = (h.max(kh), w.max(kw));
        let conv = Case {
            images, size: [h, w], c_in: [c_in, 0], c_out: [c_out, 0], kernel: [kh, kw],
            stride, strided: true, padding, dilation: [1, 1], groups: 1,
        };
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }
}

fn stem(images: usize, size: [usize; 2], kernel: usize) -> Case {
    Case {
        images,
        size,
        c_in: [3, 0],
        c_out: [40, 0],
        kernel: [kernel; 2],
        stride: 2,
        strided: true,
        padding: [kernel / 2; 2],
        ..Case::small()
    }
}

/// More images than are worked on at a time, and not a multiple of that.
#[test]
fn a_batch_larger_than_the_cache_is_cut_and_summed() {
    let conv = Case {
        images: 7,
        size: [91, 120],
        c_in: [20, 36],
        c_out: [24, 20],
        kernel: [1, 1],
        padding: [0, 0],
        ..Case::small()
    };
    let first = conv
        .conv()
        .unwrap()
        .batches(20 * 91 * 120 + 36 * 46 * 60)
        .next();
    assert!((2..7).contains(&first.unwrap().len()));
    check(&conv, 3).unwrap();
    let conv = stem(5, [300, 290], 3);
    let first = strided::batches(&conv.conv().unwrap()).next();
    assert_eq!(first, Some(0..2));
    check_stem(&conv, 5);
}

#[test]
fn stem_gradients_without_input_gradient() {
    check_stem(&stem(2, [30, 37], 7), 11);
}

fn check_stem(conv: &Case, seed: u64) {
    let data = Data::new(conv, seed);
    let (want, scale) = (reference(conv, &data), reference(conv, &data.abs()));
    for isa in Isa::available() {
        let forward = engine(isa, conv, &data, &mut Workspace::default());
        close(&forward[0], &want[0], &scale[0]).unwrap_or_else(|e| panic!("{isa:?}: {e}"));
        let mut dw = vec![f32::NAN; data.w[0].len()];
        let geometry = conv.conv().unwrap();
        let to = Gradients {
            kernels: vec![Some(&mut dw)],
            ..Default::default()
        };
        let mut ws = Workspace::default();
        let dy = [Some(data.dy[0].as_slice()), None];
        geometry.backward(isa, &operands(conv, &geometry, &data), dy, to, &mut ws);
        close(&dw, &want[4], &scale[4]).unwrap_or_else(|e| panic!("{isa:?}: {e}"));
    }
}

#[test]
fn thread_counts_agree_bit_by_bit() {
    let conv = Case {
        images: 3,
        size: [19, 23],
        c_in: [40, 24],
        c_out: [33, 20],
        ..Case::small()
    };
    let data = Data::new(&conv, 7);
    let [one, two, again] = [1, 2, 2].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| engine(Isa::best(), &conv, &data, &mut Workspace::default()))
    });
    assert_eq!(one, two);
    assert_eq!(two, again);
}
