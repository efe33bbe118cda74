//! Single kernels of the CPU engine, named by shape. The throughput is in multiply–adds.
//!
//! ```sh
//! cargo bench --workspace --bench kernels -- "product/256x"
//! ```

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use octave_engine::{
    BlockedMap, Isa,
    conv::{
        Activation, Coarse, Kernel, Output, PackedWeights, Product, Source, Stem, StemWeights, run,
    },
    from_nchw,
    pool::average_pool2,
    to_nchw,
    train::{Gradients, OctConv, Operands, Workspace},
};
use octave_plan::{Exchange, Layer, Plan};

/// Numbers around zero, the same every time.
fn numbers(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0)
        .collect()
}

fn map(dims: [usize; 4], pad: usize) -> BlockedMap {
    let mut map = BlockedMap::zeros(dims, pad);
    from_nchw(Isa::best(), &numbers(dims.iter().product()), &mut map);
    map
}

fn weights(c_out: usize, c_in: usize, k: usize) -> PackedWeights {
    let data = numbers(c_out * c_in * k * k);
    PackedWeights::new(Isa::best(), c_out, &[Kernel::new(&data, c_in, k)], None)
}

/// One output group without a coarse sum: a vanilla convolution of one image.
fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("product");
    for [c_in, c_out, k, size] in [
        [64, 64, 3, 56],
        [64, 256, 1, 56],
        [256, 64, 1, 56],
        [128, 128, 3, 28],
        [256, 256, 3, 14],
        [1024, 256, 1, 14],
        [512, 512, 3, 7],
    ] {
        let input = map([1, c_in, size, size], k / 2);
        let mut output = BlockedMap::zeros([1, c_out, size, size], 0);
        let weights = weights(c_out, c_in, k);
        group.throughput(Throughput::Elements(
            (c_in * c_out * k * k * size * size) as u64,
        ));
        group.bench_function(format!("{c_in}x{c_out}_{k}x{k}_{size}"), |bencher| {
            bencher.iter(|| {
                let sources = vec![Source::new(&input, k / 2)];
                let to = Output::Map(&mut output, 0);
                run(
                    Isa::best(),
                    vec![Product::new(&weights, sources, [1, size, size], to)],
                );
            });
        });
    }
    group.finish();
}

/// Both groups of an octave convolution of one image in one region, α = ½ on both sides, all that
/// they read already there.
fn octave_layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("octave");
    for [channels, k, size] in [[64, 3, 56], [128, 3, 28], [256, 3, 14], [256, 1, 56]] {
        let half = channels / 2;
        let isa = Isa::best();
        let high = map([1, half, size, size], k / 2);
        let low = map([1, half, size / 2, size / 2], k / 2);
        let mut pooled = BlockedMap::zeros(low.dims(), k / 2);
        average_pool2(isa, &high, &mut pooled);
        let (hh, lh) = (weights(half, half, k), weights(half, half, k));
        let data = numbers(half * half * k * k);
        let kernels = [Kernel::new(&data, half, k); 2];
        let to_low = PackedWeights::new(isa, half, &kernels, None);
        let mut y_high = BlockedMap::zeros([1, half, size, size], 0);
        let mut y_low = BlockedMap::zeros(low.dims(), 0);
        let low_pixels = size * size / 4;
        let macs = half * half * k * k * (size * size + 3 * low_pixels);
        group.throughput(Throughput::Elements(macs as u64));
        group.bench_function(format!("{channels}x{channels}_{k}x{k}_{size}"), |bencher| {
            bencher.iter(|| {
                let pad = k / 2;
                let coarse = Coarse {
                    weights: &lh,
                    sources: vec![Source::new(&low, pad)],
                    spread: false,
                };
                let to_high = Product {
                    coarse: vec![coarse],
                    ..Product::new(
                        &hh,
                        vec![Source::new(&high, pad)],
                        [1, size, size],
                        Output::Map(&mut y_high, 0),
                    )
                };
                let to_low = Product::new(
                    &to_low,
                    vec![Source::new(&pooled, pad), Source::new(&low, pad)],
                    [1, size / 2, size / 2],
                    Output::Map(&mut y_low, 0),
                );
                run(isa, vec![to_high, to_low]);
            });
        });
    }
    group.finish();
}

/// Training's octave convolution on plain tensors, 8 images, α = ½ on both sides.
fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("train");
    group.sample_size(20);
    for [channels, k, size] in [[64, 3, 56], [256, 3, 14]] {
        let (isa, half, images) = (Isa::best(), channels / 2, 8);
        let plan = Plan::new(Layer::new([half; 2], [half; 2], [k; 2]), Exchange::Both);
        let conv = OctConv::new(plan, images, [size; 2]).expect("the engine computes it");
        let full = images * half * size * size;
        let (high, low) = (numbers(full), numbers(full / 4));
        let kernel = numbers(half * half * k * k);
        let operands = Operands {
            inputs: [Some(&high), Some(&low), None, None],
            kernels: vec![&kernel; 4],
            biases: [None; 4],
        };
        let mut workspace = Workspace::default();
        let (mut y_high, mut y_low) = (high.clone(), low.clone());
        let macs = (half * half * k * k * images * (size * size + 3 * size * size / 4)) as u64;
        let name = format!("{channels}x{channels}_{k}x{k}_{size}");
        group.throughput(Throughput::Elements(macs));
        group.bench_function(format!("forward/{name}"), |bencher| {
            bencher.iter(|| {
                let outputs = [Some(&mut y_high[..]), Some(&mut y_low[..]), None, None];
                conv.forward(isa, &operands, outputs, &mut workspace);
            });
        });
        let mut gradients = [(); 4].map(|()| kernel.clone());
        let (mut dx_high, mut dx_low) = (high.clone(), low.clone());
        group.throughput(Throughput::Elements(2 * macs));
        group.bench_function(format!("backward/{name}"), |bencher| {
            bencher.iter(|| {
                let to = Gradients {
                    inputs: [Some(&mut dx_high), Some(&mut dx_low), None, None],
                    kernels: gradients.iter_mut().map(|g| Some(&mut g[..])).collect(),
                    biases: [const { None }; 4],
                };
                let outputs = [Some(&y_high[..]), Some(&y_low[..]), None, None];
                conv.backward(isa, &operands, outputs, to, &mut workspace);
            });
        });
    }
    group.finish();
}

/// What stands around the products.
fn around(c: &mut Criterion) {
    let isa = Isa::best();
    let dims = [1, 256, 56, 56];
    let plain = numbers(dims.iter().product());
    let mut blocked = map(dims, 0);
    let mut half = BlockedMap::zeros([1, 256, 28, 28], 0);
    let mut back = plain.clone();
    c.bench_function("average_pool2/256_56", |bencher| {
        bencher.iter(|| average_pool2(isa, black_box(&blocked), &mut half));
    });
    c.bench_function("to_nchw/256_56", |bencher| {
        bencher.iter(|| to_nchw(isa, black_box(&blocked), &mut back));
    });
    c.bench_function("from_nchw/256_56", |bencher| {
        bencher.iter(|| from_nchw(isa, black_box(&plain), &mut blocked));
    });
    let image = numbers(3 * 224 * 224);
    let weights = StemWeights::new(&numbers(64 * 3 * 49), 64, 3, [7, 7], None);
    let stem = Stem {
        weights: &weights,
        input: &image,
        size: [1, 224, 224],
        stride: 2,
        padding: [3, 3],
        activation: Activation::Relu,
        max_pool: true,
    };
    let mut output = BlockedMap::zeros(stem.out_dims(), 0);
    c.bench_function("stem/3x64_7x7_224", |bencher| {
        bencher.iter(|| stem.run(isa, &mut output));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    products(&mut criterion);
    octave_layers(&mut criterion);
    training(&mut criterion);
    around(&mut criterion);
    criterion.final_summary();
}
