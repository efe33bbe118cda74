//! The operator against f64 loops written from the equations, on every backend compiled in.

mod support;

use burn::tensor::Device;
use burn_octconv::{Downsample, OctConv2dConfig, Upsample};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use support::{
    case::{Case, Errors, Form, Limits, as_built, cases, compare, composed, forward_error},
    reference::{self, Pad},
};

/// Relative to the sum of magnitudes. Rounding of f32 stays below 3e-7 for the at most 500
/// products here; a wrong pixel, weight or divisor shows as 1e-3 and more.
const TOLERANCE: f64 = 2e-6;

/// Compares `count` random configurations and reports the worst error.
///
/// `OPERATOR_CASES` in the environment makes it fewer, and leaves out the large known shapes, for
/// many runs on changed code.
fn sweep(name: &str, device: Device, form: Form, count: u32, limits: Limits) {
    let most = std::env::var("OPERATOR_CASES").map(|n| n.parse().expect("a number of cases"));
    let known = if most.is_ok() { vec![] } else { known_shapes() };
    let count = count.min(most.unwrap_or(u32::MAX));
    // A fixed seed: a failure is reproduced by running the test again.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = cases(limits);
    let mut worst = Errors::default();
    let random = (0..count).map(|_| {
        let tree = strategy.new_tree(&mut runner).expect("a legal case");
        tree.current()
    });
    let cases = known.iter().cloned().chain(random);
    for case in cases {
        let errors = compare(&case, &device, form);
        assert!(
            errors.forward.max(errors.backward) < limits.tolerance,
            "{name}: {errors:?} for {case:#?}"
        );
        worst.forward = worst.forward.max(errors.forward);
        worst.backward = worst.backward.max(errors.backward);
    }
    println!(
        "{name}: {count} random configurations and {} known shapes, worst relative error {:.1e} forward, {:.1e} backward",
        known.len(),
        worst.forward,
        worst.backward
    );
}

/// Shapes of 1×1 convolutions that autotuning on wgpu once computed wrongly
/// (<https://github.com/tracel-ai/burn/issues/5626>), as a vanilla layer and as all four paths.
fn known_shapes() -> Vec<Case> {
    let shapes = [[104, 208], [440, 440]];
    let case = |[input, output]: [usize; 2], alpha: f64| Case {
        config: OctConv2dConfig::new([input, output], [1, 1]).with_alpha(alpha),
        batch: 2,
        size: [4, 6],
        seed: 1,
    };
    let vanilla = shapes.map(|channels| case(channels, 0.0));
    let octave = shapes.map(|channels| case(channels.map(|c| 2 * c), 0.5));
    vanilla.into_iter().chain(octave).collect()
}

const USUAL: Limits = Limits {
    size: 13,
    channels: 4,
    tolerance: TOLERANCE,
};

#[test]
fn flex_equals_the_reference() {
    sweep("flex", Device::flex(), as_built, 4000, USUAL);
}

#[test]
fn the_composed_form_on_flex_equals_the_reference() {
    sweep("flex, composed", Device::flex(), composed, 2000, USUAL);
}

/// Channel counts and sizes on both sides of the tiles of the engine.
#[test]
fn flex_equals_the_reference_on_larger_layers() {
    // Gradients of kernels and biases are sums over thousands of pixels here.
    let limits = Limits {
        size: 40,
        channels: 40,
        tolerance: 1e-5,
    };
    sweep("flex, larger", Device::flex(), as_built, 60, limits);
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated, reason = "Burn deprecates NdArray; it still has users")]
fn ndarray_equals_the_reference() {
    sweep("ndarray", Device::ndarray(), as_built, 200, USUAL);
}

/// On a machine without a GPU this runs on a software device (Mesa's llvmpipe), hence small maps.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_equals_the_reference() {
    let limits = Limits {
        size: 7,
        channels: 3,
        tolerance: TOLERANCE,
    };
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    sweep("wgpu", device, as_built, 100, limits);
}

/// CubeCL's own CPU runtime.
#[cfg(feature = "cpu")]
#[test]
fn cubecl_cpu_equals_the_reference() {
    let limits = Limits {
        size: 7,
        channels: 3,
        tolerance: TOLERANCE,
    };
    sweep("cpu", Device::cpu(), as_built, 100, limits);
}

/// The suite would notice: against a reference with one rule changed, errors are far beyond the
/// tolerance in a good part of the cases.
#[test]
fn a_broken_operator_is_noticed() {
    type Break = fn(&mut reference::Options);
    let breaks: [(&str, Break); 5] = [
        ("stride by pooling", |o| o.strided = !o.strided),
        ("dilation", |o| o.dilation[0] = 3 - o.dilation[0]),
        ("down-sampling", |o| {
            o.downsample = match o.downsample {
                Downsample::Average => Downsample::Max,
                _ => Downsample::Average,
            }
        }),
        ("up-sampling", |o| {
            o.upsample = match o.upsample {
                Upsample::Nearest => Upsample::Bilinear,
                Upsample::Bilinear => Upsample::Nearest,
            }
        }),
        ("padding", |o| {
            if let Pad::Explicit(begin, end) = &mut o.padding[0] {
                std::mem::swap(begin, end);
            }
        }),
    ];
    let mut runner = TestRunner::deterministic();
    let strategy = cases(USUAL);
    let mut noticed = [0; 5];
    for _ in 0..500 {
        let case = strategy
            .new_tree(&mut runner)
            .expect("a legal case")
            .current();
        for (count, (_, change)) in noticed.iter_mut().zip(&breaks) {
            let mut options = case.options();
            change(&mut options);
            let error = forward_error(&case, &options, &Device::flex());
            if error.is_none_or(|error| error > 100.0 * TOLERANCE) {
                *count += 1;
            }
        }
    }
    for (count, (name, _)) in noticed.into_iter().zip(&breaks) {
        assert!(
            count >= 10,
            "a wrong rule for {name} was noticed in {count} cases of 500"
        );
    }
}
