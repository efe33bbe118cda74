//! Batch norm with residual and activation in one operation, against Burn's layers one by one.

use burn::{
    module::{Module, Param, RunningState},
    nn::{BatchNorm, BatchNormConfig},
    tensor::{Device, Distribution, Gradients, Tensor, TensorData},
};
use burn_octconv::{
    OctBatchNorm, OctBatchNormConfig, OctFeatures,
    ops::norm::{Activation, batch_norm},
};
use proptest::prelude::*;

fn random<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(dims, Distribution::Normal(0.5, 2.0), device)
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
    activation.forward(match residual {
        Some(residual) => y + residual,
        None => y,
    })
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
            error < 2e-6,
            "{name} of {dims:?}, residual {with_residual}, {activation:?}: {error:.1e}"
        );
    }
    assert_eq!(fused.values[2].is_empty(), !with_residual);
}

const ACTIVATIONS: [Activation; 3] = [Activation::Identity, Activation::Relu, Activation::Relu6];

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_fused_norm_equals_burns_layers(
        (batch, channels, height, width) in (1usize..4, 1usize..20, 1usize..12, 2usize..12),
        with_residual in any::<bool>(),
        activation in prop::sample::select(ACTIVATIONS.to_vec()),
    ) {
        let dims = [batch, channels, height, width];
        compare(&Device::flex().autodiff(), dims, with_residual, activation);
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
    let shifted =
        |dims, shift| Tensor::<4>::random(dims, Distribution::Normal(shift, 2.0), &device);
    let features = OctFeatures::new(shifted([4, 2, 8, 8], 5.0), shifted([4, 2, 4, 4], -3.0));
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
