//! Batch norm with residual and activation in one operation, against Burn's layers one by one.

use std::cell::Cell;

use burn::{
    module::{Module, Param, RunningState},
    nn::{BatchNorm, BatchNormConfig},
    tensor::{Device, Gradients, Tensor, TensorData},
};
use burn_octconv::{
    OctBatchNorm, OctBatchNormConfig, OctFeatures,
    ops::{
        norm::{self, Activation, activate, batch_norm_max_pool},
        without_engine,
    },
};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

/// The operation of plain tensors.
fn batch_norm(
    norm: &BatchNorm,
    x: Tensor<4>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    norm::batch_norm(norm, x, residual.map(Into::into), activation).into_high()
}

thread_local! {
    /// The state of the numbers of a test: the same in every run. Where an activation has its kink,
    /// rounding decides which side a value is on, and one run in a hundred would fail.
    static STATE: Cell<u64> = const { Cell::new(1) };
}

/// Numbers around 0.5, with a deviation of about 2.
fn random<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    let uniform = || {
        // SplitMix64, https://prng.di.unimi.it/splitmix64.c
        let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    };
    let normal = || 0.5 + 3.5 * (uniform() + uniform() + uniform() + uniform() - 2.0);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| normal()).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// A norm whose parameters and running statistics are not those of a new one.
fn norm(channels: usize, device: &Device) -> BatchNorm {
    let mut norm = BatchNormConfig::new(channels)
        .with_momentum(0.3)
        .init(device);
    norm.gamma = Param::from_tensor(random([channels], device));
    norm.beta = Param::from_tensor(random([channels], device));
    norm
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data: TensorData = tensor.into_data();
    data.iter::<f64>().collect()
}

/// Everything that a step gives: the output, four gradients, two running statistics.
struct Step {
    names: [&'static str; 7],
    values: [Vec<f64>; 7],
}

type Form = fn(&BatchNorm, Tensor<4>, Option<Tensor<4>>, Activation) -> Tensor<4>;

/// Burn's own layers.
fn step_by_step(
    norm: &BatchNorm,
    x: Tensor<4>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let y = norm.forward(x);
    let y = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    activate(activation, y)
}

/// The same norm with running statistics of its own, which a clone would share.
fn own_statistics(norm: &BatchNorm) -> BatchNorm {
    BatchNorm {
        running_mean: RunningState::new(norm.running_mean.value_sync()),
        running_var: RunningState::new(norm.running_var.value_sync()),
        ..norm.clone()
    }
}

fn step(
    form: Form,
    norm: &BatchNorm,
    [x, residual, weights]: [&Tensor<4>; 3],
    with_residual: bool,
    activation: Activation,
) -> Step {
    let norm = own_statistics(norm);
    let x = x.clone().require_grad();
    let residual = residual.clone().require_grad();
    let given = with_residual.then(|| residual.clone());
    let y = form(&norm, x.clone(), given, activation);
    let gradients = (y.clone() * weights.clone()).sum().backward();
    fn of<const D: usize>(tensor: &Tensor<D>, gradients: &Gradients) -> Vec<f64> {
        tensor.grad(gradients).map_or(vec![], read)
    }
    Step {
        names: ["y", "dx", "dr", "dγ", "dβ", "mean", "variance"],
        values: [
            read(y),
            of(&x, &gradients),
            of(&residual, &gradients),
            of(&norm.gamma.val(), &gradients),
            of(&norm.beta.val(), &gradients),
            read(norm.running_mean.value_sync()),
            read(norm.running_var.value_sync()),
        ],
    }
}

/// The largest difference, relative to the largest value.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, f64::max) / scale
}

fn compare(device: &Device, dims: [usize; 4], with_residual: bool, activation: Activation) {
    let norm = norm(dims[1], device);
    let tensors = [(); 3].map(|()| random(dims, device));
    let tensors = tensors.each_ref();
    let fused = step(batch_norm, &norm, tensors, with_residual, activation);
    let burn = step(step_by_step, &norm, tensors, with_residual, activation);
    for ((name, fused), burn) in fused.names.iter().zip(&fused.values).zip(&burn.values) {
        let error = difference(fused, burn);
        assert!(
            error < 5e-6,
            "{name} of {dims:?}, residual {with_residual}, {activation:?}: {error:.1e}"
        );
    }
    assert_eq!(fused.values[2].is_empty(), !with_residual);
}

const ACTIVATIONS: [Activation; 3] = [Activation::Identity, Activation::Relu, Activation::Relu6];

#[test]
fn the_fused_norm_equals_burns_layers() {
    let device = Device::flex().autodiff();
    let config = ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..Default::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    // Of two values that lie close, either form gets a gradient that is all rounding: no maps of
    // fewer than eight pixels.
    let dims = [1usize..4, 1usize..20, 1usize..12, 8usize..17];
    let activation = prop::sample::select(ACTIVATIONS.to_vec());
    let cases = (dims, any::<bool>(), activation);
    let tried =
        TestRunner::new_with_rng(config, rng).run(&cases, |(dims, residual, activation)| {
            compare(&device, dims, residual, activation);
            Ok(())
        });
    tried.unwrap();
}

/// The form without an engine, with the statistics of the batch and with running ones.
#[test]
fn the_composed_norm_equals_burns_layers() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let norm = norm(5, &device);
        let [x, residual] = [(); 2].map(|()| random([2, 5, 6, 9], &device));
        for (residual, activation) in [
            (None, ACTIVATIONS[1]),
            (Some(residual.clone()), ACTIVATIONS[0]),
            (Some(residual), ACTIVATIONS[2]),
        ] {
            let run = |form: Form| {
                let norm = own_statistics(&norm);
                read(form(&norm, x.clone(), residual.clone(), activation))
            };
            let composed = without_engine(|| run(batch_norm));
            assert_eq!(composed, run(step_by_step));
        }
    }
}

/// The pooling that ends a stem, on sizes that it divides and on others.
#[test]
fn the_pooled_norm_equals_burns_layers() {
    use burn::nn::{PaddingConfig2d, pool::MaxPool2dConfig};
    let device = Device::flex().autodiff();
    let pool = MaxPool2dConfig::new([3, 3])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init();
    // Without autodiff, with the running statistics.
    let fixed = norm(5, &Device::flex());
    let x = random([2, 5, 9, 12], &Device::flex());
    let pooled = batch_norm_max_pool(&fixed, x.clone(), Activation::Relu, &pool).into_high();
    let expected = pool.forward(step_by_step(&fixed, x, None, Activation::Relu));
    assert_eq!(pooled.into_data(), expected.into_data());
    for (size, activation) in [
        ([12, 16], ACTIVATIONS[1]),
        ([9, 7], ACTIVATIONS[2]),
        ([5, 8], ACTIVATIONS[0]),
    ] {
        let norm = norm(5, &device);
        let x = random([2, 5, size[0], size[1]], &device);
        let weights = random(pool.forward(x.clone()).dims(), &device);
        let run = |fused: bool| {
            let norm = own_statistics(&norm);
            let x = x.clone().require_grad();
            let y = if fused {
                batch_norm_max_pool(&norm, x.clone(), activation, &pool).into_high()
            } else {
                pool.forward(step_by_step(&norm, x.clone(), None, activation))
            };
            let gradients = (y.clone() * weights.clone()).sum().backward();
            [
                read(y),
                read(x.grad(&gradients).unwrap()),
                read(norm.gamma.val().grad(&gradients).unwrap()),
                read(norm.beta.val().grad(&gradients).unwrap()),
                read(norm.running_mean.value_sync()),
                read(norm.running_var.value_sync()),
            ]
        };
        for (fused, burn) in run(true).iter().zip(&run(false)) {
            assert!(difference(fused, burn) < 5e-6, "{size:?} {activation:?}");
        }
    }
}

/// Two groups, of which only one may depend on the input that is differentiated.
#[test]
fn the_groups_of_an_octave_norm_are_normalised_apart() {
    let device = Device::flex().autodiff();
    let layer = OctBatchNormConfig::new(12).with_alpha(0.25).init(&device);
    let OctBatchNorm { high, low } = layer.clone();
    let x = OctFeatures::new(random([2, 9, 7, 5], &device), random([2, 3, 4, 3], &device));
    let y = layer.forward_with(x.clone(), Some(x.clone()), Activation::Relu);
    let (y_high, y_low) = y.into_parts();
    let (x_high, x_low) = x.into_parts();
    for (y, x, norm) in [(y_high, x_high, high), (y_low, x_low, low)] {
        let (y, x, norm) = (y.unwrap(), x.unwrap(), norm.unwrap());
        let want = step_by_step(&norm, x.clone(), Some(x), Activation::Relu);
        assert!(difference(&read(y), &read(want)) < 2e-6);
    }
}

/// The residual's buffer is written over where nobody else needs it, and only there.
#[test]
fn a_residual_that_is_used_again_keeps_its_values() {
    let device = Device::flex().autodiff();
    let norm = norm(3, &device);
    let x = random::<4>([2, 3, 4, 4], &device);
    let residual = random::<4>([2, 3, 4, 4], &device);
    let before = read(residual.clone());
    let y = batch_norm(&norm, x.clone(), Some(residual.clone()), Activation::Relu);
    assert_eq!(read(residual.clone()), before);
    let alone = batch_norm(&norm, x, Some(residual * 1.0), Activation::Relu);
    assert_eq!(read(y), read(alone));
}

/// The backward pass writes over the input where nobody else needs it, and only there.
#[test]
fn an_input_that_is_used_again_keeps_its_values() {
    let device = Device::flex().autodiff();
    let norm = norm(3, &device);
    let x = random::<4>([2, 3, 4, 4], &device).require_grad();
    let residual = random::<4>([2, 3, 4, 4], &device).require_grad();
    let before = read(x.clone());
    let y = batch_norm(&norm, x.clone(), Some(residual), Activation::Relu);
    let gradients = y.clone().sum().backward();
    let values = read(y);
    assert!(x.grad(&gradients).is_some());
    assert_eq!(read(x), before);
    assert!(values.iter().all(|v| *v >= 0.0));
}

#[test]
fn outside_of_training_the_running_statistics_decide_and_stay() {
    for frozen in [false, true] {
        let device = Device::flex();
        let device = if frozen { device.autodiff() } else { device };
        let norm = norm(4, &device);
        let norm = if frozen { norm.freeze() } else { norm };
        let x = random::<4>([2, 4, 5, 6], &device);
        let mean = read(norm.running_mean.value_sync());
        let fused = batch_norm(&norm, x.clone(), None, Activation::Relu);
        let burn = step_by_step(&norm, x, None, Activation::Relu);
        assert_eq!(read(fused), read(burn));
        assert_eq!(read(norm.running_mean.value_sync()), mean);
    }
}

/// Other precisions than f32 are composed.
#[test]
fn a_norm_in_f64_is_as_exact_as_burns() {
    use burn::tensor::{DType, FloatDType};
    let device = Device::flex().autodiff();
    let wide = |x: Tensor<4>| x.cast(FloatDType::F64);
    let mut norm = norm(3, &device);
    norm.gamma = Param::from_tensor(norm.gamma.val().cast(FloatDType::F64).detach());
    norm.beta = Param::from_tensor(norm.beta.val().cast(FloatDType::F64).detach());
    norm.running_mean = RunningState::new(norm.running_mean.value_sync().cast(FloatDType::F64));
    norm.running_var = RunningState::new(norm.running_var.value_sync().cast(FloatDType::F64));
    let x = wide(random([2, 3, 5, 4], &device));
    let y = batch_norm(&norm, x.clone(), None, Activation::Relu);
    assert_eq!(y.dtype(), DType::F64);
    let want = step_by_step(&norm, x, None, Activation::Relu);
    assert!(difference(&read(y), &read(want)) < 1e-14);
}

#[test]
fn norms_keep_statistics_by_frequency() {
    let device = Device::flex().autodiff();
    let norm = OctBatchNormConfig::new(4).init(&device);
    let shifted = |dims, shift: f64| random::<4>(dims, &device) + shift;
    let features = OctFeatures::new(shifted([4, 2, 8, 8], 4.5), shifted([4, 2, 4, 4], -3.5));
    let normed = norm.forward(features);
    for group in [normed.high(), normed.low()] {
        let mean = group.unwrap().clone().mean().into_scalar::<f32>();
        assert!(mean.abs() < 1e-4, "{mean}");
    }
    // The running statistics moved towards each group's own.
    let mean = |norm: &Option<BatchNorm>| {
        norm.as_ref()
            .unwrap()
            .running_mean
            .value_sync()
            .mean()
            .into_scalar::<f32>()
    };
    assert!(mean(&norm.high) > 0.3 && mean(&norm.low) < -0.2);

    let all_low = OctBatchNormConfig::new(4).with_alpha(1.0).init(&device);
    assert!(all_low.high.is_none());
    let _: Param<Tensor<1>> = all_low.low.unwrap().gamma;
}
