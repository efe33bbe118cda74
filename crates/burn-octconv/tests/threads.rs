//! Layers called from many tasks at once: each result is that of a call alone, bit for bit.
//!
//! A worker of a rayon pool that waits for its helpers runs other tasks meanwhile, on the same
//! stack and with the same thread-locals. That takes more than two threads and more tasks than
//! threads.

#![cfg(feature = "flex")]

use burn::{
    module::Module,
    nn::{BatchNorm, BatchNormConfig, conv::Conv2dConfig},
    tensor::{Device, Int, Tensor, TensorData},
};
use burn_octconv::{
    OctConv2d, OctConv2dConfig, OctFeatures,
    ops::{
        conv2d,
        norm::{Activation, batch_norm},
        without_engine,
    },
};
use rayon::prelude::*;

const TASKS: usize = 97;

fn image(channels: usize, device: &Device) -> Tensor<4> {
    let wave = Tensor::<1, Int>::arange(0..(2 * channels * 13 * 18) as i64, device)
        .float()
        .sin();
    wave.reshape([2, channels, 13, 18])
}

fn layer(device: &Device) -> OctConv2d {
    OctConv2dConfig::new([40, 48], [3, 3])
        .with_alpha_in(0.0)
        .init(device)
}

fn data(features: OctFeatures) -> Vec<TensorData> {
    let (high, low) = features.into_parts();
    [high, low]
        .into_iter()
        .flatten()
        .map(Tensor::into_data)
        .collect()
}

/// Runs `task(0..TASKS)` in pools of several sizes, and from plain threads at the same time.
fn everywhere<T: PartialEq + std::fmt::Debug + Send + Sync>(
    expected: impl Fn(usize) -> T + Sync,
    task: impl Fn(usize) -> T + Sync,
) {
    let alone: Vec<T> = (0..TASKS).map(&expected).collect();
    let check = |i: usize| assert_eq!(task(i), alone[i], "task {i}");
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        std::thread::scope(|scope| {
            for start in [0, 1] {
                scope.spawn(move || (start..TASKS).step_by(16).for_each(check));
            }
            pool.install(|| (0..TASKS).into_par_iter().with_max_len(1).for_each(check));
        });
    }
}

/// The same for each task.
fn same<T: PartialEq + std::fmt::Debug + Send + Sync>(task: impl Fn() -> T + Sync) {
    everywhere(|_| task(), |_| task());
}

#[test]
fn inference() {
    let device = Device::flex();
    let (layer, x) = (layer(&device), image(40, &device));
    same(|| data(layer.forward(x.clone())));
}

/// Output and gradients of a layer. Burn holds the lock of a graph while it goes back through it, so
/// a task must not wait for the graph of another one on the same stack: each has parameters, and
/// with them a graph, of its own.
fn step(
    shared: &OctConv2d,
    x: &Tensor<4>,
    forward: impl FnOnce(&OctConv2d, Tensor<4>) -> OctFeatures,
) -> Vec<TensorData> {
    let layer = shared.clone().fork(&shared.device());
    let x = Tensor::from_inner(x.clone()).require_grad();
    let output = forward(&layer, x.clone());
    let sum = |y: &Tensor<4>| y.clone().square().sum();
    let loss = sum(output.high().unwrap()) + sum(output.low().unwrap());
    let gradients = loss.backward();
    let kernels = layer.kernels();
    let mut results = data(output);
    for tracked in [&x, &kernels.h2h.unwrap(), &kernels.h2l.unwrap()] {
        results.push(tracked.grad(&gradients).unwrap().into_data());
    }
    results
}

#[test]
fn forward_and_backward() {
    let device = Device::flex().autodiff();
    let (layer, x) = (layer(&device), image(40, &Device::flex()));
    same(|| step(&layer, &x, |layer, x| layer.forward(x)));
}

#[test]
fn norms() {
    let device = Device::flex().autodiff();
    let x = image(40, &Device::flex());
    let run = || {
        let norm: BatchNorm = BatchNormConfig::new(40).init(&device);
        let x = Tensor::from_inner(x.clone()).require_grad();
        let residual = Some(x.clone().into());
        let y = batch_norm(&norm, x.clone(), residual, Activation::Relu).into_high();
        let gradients = y.clone().square().sum().backward();
        [y, x.grad(&gradients).map(Tensor::from_inner).unwrap()].map(Tensor::into_data)
    };
    same(run);
}

/// A stem, an octave layer and a mean, of which threads share the packed kernels.
#[test]
fn networks() {
    let device = Device::flex();
    let stem = Conv2dConfig::new([3, 24], [3, 3]).with_stride([2, 2]);
    let stem = stem.init(&device);
    let layer = OctConv2dConfig::new([24, 32], [3, 3]).with_alpha_in(0.0);
    let layer = layer.init(&device);
    let x = image(3, &device);
    same(|| {
        let x = conv2d(&stem, x.clone()).relu();
        layer.forward(x).relu().global_avg_pool().into_data()
    });
}

/// Both forms at once: the engine and the composed form differ in the last bits, so that a task
/// that ran in the form of another would show.
#[test]
fn a_scope_without_engine_holds_for_its_own_task_alone() {
    let device = Device::flex();
    let (layer, x) = (layer(&device), image(40, &device));
    let (engine, composed) = (
        data(layer.forward(x.clone())),
        without_engine(|| data(layer.forward(x.clone()))),
    );
    assert_ne!(engine, composed);
    everywhere(
        |task| [&engine, &composed][task % 2].clone(),
        |task| match task % 2 {
            0 => data(layer.forward(x.clone())),
            _ => without_engine(|| data(layer.forward(x.clone()))),
        },
    );
}

#[test]
fn a_scope_without_engine_holds_for_its_own_gradients_alone() {
    let device = Device::flex().autodiff();
    let (layer, x) = (layer(&device), image(40, &Device::flex()));
    let engine = || step(&layer, &x, |layer, x| layer.forward(x));
    let composed = || step(&layer, &x, |layer, x| without_engine(|| layer.forward(x)));
    let expected = [engine(), composed()];
    for (engine, composed) in expected[0].iter().zip(&expected[1]) {
        assert_ne!(engine, composed);
    }
    everywhere(
        |task| expected[task % 2].clone(),
        |task| match task % 2 {
            0 => engine(),
            _ => composed(),
        },
    );
}
