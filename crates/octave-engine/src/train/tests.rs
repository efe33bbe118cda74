//! Octave convolutions against plain loops in f64, forward and backward.

use super::*;
use crate::isa::Isa;
use crate::naive::{Conv, average_pool2, close};
use crate::testing::Rng;
use proptest::prelude::*;

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

fn exists(c: &OctConv, path: usize) -> bool {
    let [from, to] = PATHS[path];
    c.c_in[from] > 0 && c.c_out[to] > 0
}

impl Data {
    fn new(c: &OctConv, seed: u64) -> Self {
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
fn reference(c: &OctConv, d: &Data) -> Results<f64> {
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

fn engine(isa: Isa, c: &OctConv, d: &Data, ws: &mut Workspace) -> Results<f32> {
    let some = |there: bool| there.then_some(());
    let path = |p: usize| some(exists(c, p)).map(|()| d.w[p].as_slice());
    let weights = OctWeights {
        hh: path(0),
        hl: path(1),
        lh: path(2),
        ll: path(3),
        bias_h: Some(&d.bias[0]),
        bias_l: Some(&d.bias[1]),
    };
    let group = |g: usize| some(c.c_in[g] > 0).map(|()| d.x[g].as_slice());
    let nan = |v: &Vec<f32>| vec![f32::NAN; v.len()];
    let (mut y_h, mut y_l) = (nan(&d.dy[0]), nan(&d.dy[1]));
    let out = |g: usize| some(c.c_out[g] > 0);
    octconv2d_forward(
        isa,
        c,
        group(0),
        group(1),
        &weights,
        out(0).map(|()| y_h.as_mut_slice()),
        out(1).map(|()| y_l.as_mut_slice()),
        ws,
    );
    let mut dx = [nan(&d.x[0]), nan(&d.x[1])];
    let mut dw = [0, 1, 2, 3].map(|p| nan(&d.w[p]));
    let mut db = [nan(&d.bias[0]), nan(&d.bias[1])];
    let grad = |g: usize| out(g).map(|()| d.dy[g].as_slice());
    {
        let [x_h, x_l] = &mut dx;
        let [hh, hl, lh, ll] = &mut dw;
        let [bias_h, bias_l] = &mut db;
        let kernel = |p: usize, w| if exists(c, p) { Some(w) } else { None };
        let gradients = Gradients {
            x_h: group(0).map(|_| x_h.as_mut_slice()),
            x_l: group(1).map(|_| x_l.as_mut_slice()),
            hh: kernel(0, hh.as_mut_slice()),
            hl: kernel(1, hl.as_mut_slice()),
            lh: kernel(2, lh.as_mut_slice()),
            ll: kernel(3, ll.as_mut_slice()),
            bias_h: out(0).map(|()| bias_h.as_mut_slice()),
            bias_l: out(1).map(|()| bias_l.as_mut_slice()),
        };
        octconv2d_backward(
            isa,
            c,
            group(0),
            group(1),
            &weights,
            grad(0),
            grad(1),
            gradients,
            ws,
        );
    }
    let [x_h, x_l] = dx;
    let [hh, hl, lh, ll] = dw;
    let [b_h, b_l] = db;
    let mut r = [y_h, y_l, x_h, x_l, hh, hl, lh, ll, b_h, b_l];
    for (p, [from, to]) in PATHS.into_iter().enumerate() {
        let _ = (from, to);
        if !exists(c, p) {
            r[4 + p].fill(0.0);
        }
    }
    r
}

const NAMES: [&str; 10] = [
    "y_h", "y_l", "dx_h", "dx_l", "d hh", "d hl", "d lh", "d ll", "d bias_h", "d bias_l",
];

fn check(c: &OctConv, seed: u64) -> Result<(), String> {
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
        let conv = OctConv {
            images, size: [h, w], c_in, c_out, kernel: [k, k], stride, strided: false,
            padding: [half * dilation; 2], dilation: [dilation; 2], groups,
        };
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
        let conv = OctConv {
            images, size: [h, w], c_in: [c_in, 0], c_out: [c_out, 0], kernel: [kh, kw],
            stride, strided: true, padding, dilation: [1, 1], groups: 1,
        };
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }
}

fn stem(images: usize, size: [usize; 2], kernel: usize) -> OctConv {
    OctConv {
        images,
        size,
        c_in: [3, 0],
        c_out: [40, 0],
        kernel: [kernel; 2],
        stride: 2,
        strided: true,
        padding: [kernel / 2; 2],
        dilation: [1, 1],
        groups: 1,
    }
}

/// More images than are worked on at a time, and not a multiple of that.
#[test]
fn a_batch_larger_than_the_cache_is_cut_and_summed() {
    let conv = OctConv {
        images: 7,
        size: [91, 120],
        c_in: [20, 36],
        c_out: [24, 20],
        kernel: [1, 1],
        stride: 1,
        strided: false,
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    assert!((2..7).contains(&conv.images_at_once(20 * 91 * 120 + 36 * 46 * 60)));
    check(&conv, 3).unwrap();
    let conv = stem(5, [300, 290], 3);
    assert_eq!(strided::images_at_once(&conv), 2);
    check_stem(&conv, 5);
}

#[test]
fn stem_gradients_without_input_gradient() {
    check_stem(&stem(2, [30, 37], 7), 11);
}

fn check_stem(conv: &OctConv, seed: u64) {
    let data = Data::new(conv, seed);
    let (want, scale) = (reference(conv, &data), reference(conv, &data.abs()));
    for isa in Isa::available() {
        let forward = engine(isa, conv, &data, &mut Workspace::default());
        close(&forward[0], &want[0], &scale[0]).unwrap_or_else(|e| panic!("{isa:?}: {e}"));
        let mut dw = vec![f32::NAN; data.w[0].len()];
        let weights = OctWeights {
            hh: Some(&data.w[0]),
            ..Default::default()
        };
        let to = Gradients {
            hh: Some(&mut dw),
            ..Default::default()
        };
        let mut ws = Workspace::default();
        octconv2d_backward(
            isa,
            conv,
            Some(&data.x[0]),
            None,
            &weights,
            Some(&data.dy[0]),
            None,
            to,
            &mut ws,
        );
        close(&dw, &want[4], &scale[4]).unwrap_or_else(|e| panic!("{isa:?}: {e}"));
    }
}

#[test]
fn thread_counts_agree_bit_by_bit() {
    let conv = OctConv {
        images: 3,
        size: [19, 23],
        c_in: [40, 24],
        c_out: [33, 20],
        kernel: [3, 3],
        stride: 1,
        strided: false,
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
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

#[test]
fn what_has_no_kernel_says_why() {
    let fine = OctConv {
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
    };
    let all = [true; 4];
    assert_eq!(fine.unsupported(all), None);
    let cases = [
        (
            OctConv {
                stride: 3,
                ..fine.clone()
            },
            "stride 3, only 1 and 2 have kernels",
        ),
        (
            OctConv {
                strided: true,
                ..fine.clone()
            },
            "a strided convolution with more than the path H→H",
        ),
        (
            OctConv {
                padding: [0, 1],
                ..fine.clone()
            },
            "padding [0, 1] turns [[8, 9], [4, 5]] into [[6, 9], [2, 5]]",
        ),
        (
            OctConv {
                padding: [3, 3],
                ..fine.clone()
            },
            "padding [3, 3] wider than the kernel",
        ),
        (
            OctConv {
                size: [2, 9],
                padding: [0, 0],
                ..fine.clone()
            },
            "a high output of size [0, 7] from [2, 9]",
        ),
    ];
    for (conv, reason) in cases {
        assert_eq!(conv.unsupported(all).as_deref(), Some(reason));
    }
}
