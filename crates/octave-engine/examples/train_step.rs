//! Times forward and backward of every convolution of ResNet-50 and
//! Oct-ResNet-50 (α = .5) at 224×224.
//!
//! Usage: train_step [threads] [batch] [repeats]

use std::array;

use octave_engine::Isa;
use octave_engine::train::norm::{Forward, Norm, ParameterGradients, Residual, Statistics};
use octave_engine::train::{Gradients, LEVELS, OctConv, Operands, Workspace};
use octave_plan::{Exchange, Layer, Padding, Plan};

struct Row {
    name: String,
    count: usize,
    conv: OctConv,
    size: [usize; 2],
    stem: bool,
}

/// Layers with the number of times they occur.
fn layers(batch: usize, alpha: f64) -> Vec<Row> {
    let split = |c: usize, a: f64| {
        let low = (a * c as f64) as usize;
        [c - low, low]
    };
    let mut all: Vec<Row> = vec![];
    let mut add = |name: &str,
                   size: usize,
                   cin: [usize; 2],
                   cout: [usize; 2],
                   k: usize,
                   stride: usize,
                   stem: bool| {
        let layer = Layer {
            stride,
            strided: alpha == 0.0 || stem,
            padding: Padding::Explicit([(k / 2, k / 2); 2]),
            ..Layer::new(cin, cout, [k, k])
        };
        let plan = Plan::new(layer, Exchange::Both);
        let conv = OctConv::new(plan, batch, [size, size]).expect("the engine computes it");
        match all.iter_mut().find(|l| l.conv == conv) {
            Some(l) => l.count += 1,
            None => all.push(Row {
                name: name.into(),
                count: 1,
                conv,
                size: [size, size],
                stem,
            }),
        }
    };
    add("stem", 224, [3, 0], [64, 0], 7, 2, true);
    let mut c = 64;
    let mut size = 56;
    let mut before = 0.0;
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let planes = 64 << stage;
        let a = if stage == 3 { 0.0 } else { alpha };
        for block in 0..blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let name = |part| format!("s{}b{} {part}", stage + 1, block + 1);
            let (cin, mid, out) = (split(c, before), split(planes, a), split(4 * planes, a));
            add(&name("1x1"), size, cin, mid, 1, 1, false);
            add(&name("3x3"), size, mid, mid, 3, stride, false);
            if block == 0 {
                add(&name("proj"), size, cin, out, 1, stride, false);
            }
            size /= stride;
            add(&name("out"), size, mid, out, 1, 1, false);
            (c, before) = (4 * planes, a);
        }
    }
    all
}

fn macs(conv: &OctConv, size: [usize; 2]) -> f64 {
    let plan = conv.plan();
    let per_image: u64 = plan.paths.iter().map(|path| plan.macs(path, size)).sum();
    (per_image * conv.images() as u64) as f64
}

/// The shortest time: others use this machine too.
fn shortest(v: &[f64]) -> f64 {
    v.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Milliseconds of the wall clock.
fn now() -> f64 {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}

fn some(v: &[f32]) -> Option<&[f32]> {
    (!v.is_empty()).then_some(v)
}

fn some_mut(v: &mut [f32]) -> Option<&mut [f32]> {
    if v.is_empty() { None } else { Some(v) }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default| {
        args.get(i)
            .map_or(default, |s: &String| s.parse().expect("a number"))
    };
    let (threads, batch, repeats) = (number(0, 2), number(1, 8), number(2, 3));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        for alpha in [0.0, 0.5] {
            let mut ws = Workspace::default();
            let (mut total_f, mut total_b, mut bound) = (0.0, 0.0, 0.0);
            let mut total_n = [0.0; 2];
            for layer in layers(batch, alpha) {
                let c = &layer.conv;
                let isa = Isa::best();
                let buffer = |len: usize| -> Vec<f32> {
                    (0..len)
                        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
                        .collect()
                };
                let floats = |dims: [usize; 3]| batch * dims.into_iter().product::<usize>();
                let x = array::from_fn::<_, LEVELS, _>(|level| buffer(floats(c.input(level))));
                let mut y = array::from_fn::<_, LEVELS, _>(|level| buffer(floats(c.output(level))));
                let dy = y.clone();
                let mut dx = x.clone();
                let paths = c.plan().paths.iter();
                let kernels: Vec<_> = paths
                    .map(|path| buffer(c.plan().weights(path) as usize))
                    .collect();
                let mut dw = kernels.clone();
                let operands = Operands {
                    inputs: x.each_ref().map(|x| some(x)),
                    kernels: kernels.iter().map(Vec::as_slice).collect(),
                    biases: [None; LEVELS],
                };
                let (mut tf, mut tb) = (vec![], vec![]);
                for r in 0..=repeats {
                    let start = now();
                    c.forward(isa, &operands, y.each_mut().map(|y| some_mut(y)), &mut ws);
                    let f = now() - start;
                    let start = now();
                    let mut inputs = dx.each_mut().map(|dx| some_mut(dx));
                    if layer.stem {
                        inputs[0] = None;
                    }
                    let to = Gradients {
                        inputs,
                        kernels: dw.iter_mut().map(|dw| some_mut(dw)).collect(),
                        biases: [const { None }; LEVELS],
                    };
                    c.backward(isa, &operands, dy.each_ref().map(|dy| some(dy)), to, &mut ws);
                    if r > 0 {
                        tf.push(f);
                        tb.push(now() - start);
                    }
                }
                let mut norm_times = [0.0; 2];
                for (g, y) in y.iter().enumerate() {
                    let [channels, height, width] = c.output(g);
                    if channels == 0 {
                        continue;
                    }
                    let ones = vec![1.0; channels];
                    let norm = Norm {
                        dims: [batch, channels, height * width],
                        gamma: &ones,
                        beta: &ones,
                        epsilon: 1e-5,
                        bounds: [0.0, f32::INFINITY],
                    };
                    let (mut dg, mut db) = (ones.clone(), ones.clone());
                    let (mut z, mut dz) = (y.clone(), y.clone());
                    let mut s = Statistics::default();
                    let mut t = [vec![], vec![]];
                    for _ in 0..repeats {
                        let start = now();
                        norm.forward(isa, y, Residual::None, &mut z, &mut s);
                        t[0].push(now() - start);
                        let start = now();
                        let to = ParameterGradients { gamma: &mut dg, beta: &mut db };
                        let forward = Forward { y: Some(&z), statistics: &s };
                        norm.backward(isa, y, forward, &mut dz, to);
                        t[1].push(now() - start);
                    }
                    (0..2).for_each(|i| norm_times[i] += shortest(&t[i]));
                }
                let (f, b) = (shortest(&tf), shortest(&tb));
                let gflop = 2e-9 * macs(c, layer.size);
                let back = if layer.stem { 1.0 } else { 2.0 };
                println!(
                    "{:10} ×{} forward {f:7.2} ms {:6.1} GFLOP/s, backward {b:7.2} ms {:6.1} GFLOP/s; norm {:6.2} + {:6.2} ms",
                    layer.name, layer.count, gflop / f * 1e3, back * gflop / b * 1e3, norm_times[0], norm_times[1]
                );
                let n = layer.count as f64;
                total_f += n * f;
                total_b += n * b;
                (0..2).for_each(|i| total_n[i] += n * norm_times[i]);
                bound += n * gflop * (1.0 + back) / (0.1 * threads as f64);
            }
            println!(
                "alpha {alpha}: forward {total_f:.0} ms, backward {total_b:.0} ms, sum {:.0} ms; at 100 GFLOP/s per core {bound:.0} ms; norms {:.0} + {:.0} ms\n",
                total_f + total_b, total_n[0], total_n[1]
            );
        }
    });
}
