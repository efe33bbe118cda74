//! The operator against f64 loops written from the equations, on every backend compiled in.

mod support;

use burn::tensor::Device;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use support::case::{Errors, Limits, cases, compare};

/// Relative to the sum of magnitudes. Rounding of f32 grows to about 1e-6 over the at most 500
/// products here; a wrong pixel, weight or divisor shows as 1e-3 and more.
const TOLERANCE: f64 = 1e-5;

/// Compares `count` random configurations and reports the worst error.
fn sweep(name: &str, device: Device, count: u32, limits: Limits) {
    // A fixed seed: a failure is reproduced by running the test again.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = cases(limits);
    let mut worst = Errors::default();
    for _ in 0..count {
        let case = strategy
            .new_tree(&mut runner)
            .expect("a legal case")
            .current();
        let errors = compare(&case, &device);
        assert!(
            errors.forward < TOLERANCE && errors.backward < TOLERANCE,
            "{name}: {errors:?} for {case:#?}"
        );
        worst.forward = worst.forward.max(errors.forward);
        worst.backward = worst.backward.max(errors.backward);
    }
    println!(
        "{name}: {count} configurations, worst relative error {:.1e} forward, {:.1e} backward",
        worst.forward, worst.backward
    );
}

const USUAL: Limits = Limits {
    size: 13,
    channels: 4,
};

#[test]
fn flex_equals_the_reference() {
    sweep("flex", Device::flex(), 2000, USUAL);
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated, reason = "Burn deprecates NdArray; it still has users")]
fn ndarray_equals_the_reference() {
    sweep("ndarray", Device::ndarray(), 200, USUAL);
}

/// On a machine without a GPU this runs on a software device (Mesa's llvmpipe), hence small maps.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_equals_the_reference() {
    let limits = Limits {
        size: 7,
        channels: 3,
    };
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    sweep("wgpu", device, 100, limits);
}

/// CubeCL's own CPU runtime.
#[cfg(feature = "cpu")]
#[test]
fn cubecl_cpu_equals_the_reference() {
    let limits = Limits {
        size: 7,
        channels: 3,
    };
    sweep("cpu", Device::cpu(), 100, limits);
}
