//! Every type of float that Flex has, against the f64 reference.
//!
//! Flex has f32, f64, f16 and bf16 for every operation of the layer, forward and backward; its
//! matrix products keep sums of f16 and bf16 in f32. What a type's unit roundoff u (half its
//! epsilon) then allows: a value is rounded after pooling, after the convolution, after each axis
//! of bilinear upsampling and after the sum of two paths, so errors are a handful of u relative to
//! the sum of magnitudes, however many products there are. Measured: 3 u; allowed: 8 u for f32,
//! where the sums themselves round too, 4 u for the shorter types, and 1e-14 for f64, which leaves
//! no place for an f32 on the way. Gradients are compared along random directions, over which
//! roundings cancel in part.

mod support;

use burn::tensor::{DType, Device};
use burn_octconv::{Downsample, OctConv2dConfig};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use support::{
    case::{Case, Errors, Limits, Random, as_built, cases, compare_in, read, run, worst},
    reference::{Map, octconv},
};

const LIMITS: Limits = Limits {
    size: 13,
    channels: 4,
    // Given by each test, from the type at hand.
    tolerance: f64::NAN,
};

/// Compares `count` random layers in a type of float; `bits` fraction bits are exact in it.
fn sweep(dtype: DType, bits: i32, count: usize, tolerance: f64, wanted: fn(&Case) -> bool) {
    let mut runner = TestRunner::deterministic();
    let strategy = cases(LIMITS);
    let mut worst = Errors::default();
    let mut tried = 0;
    while tried < count {
        let case = strategy
            .new_tree(&mut runner)
            .expect("a legal case")
            .current();
        if !wanted(&case) {
            continue;
        }
        tried += 1;
        let errors = compare_in(&case, &Device::flex(), bits, Some(dtype), as_built);
        assert!(
            errors.forward < tolerance && errors.backward < tolerance,
            "{dtype:?}: {errors:?} for {case:#?}"
        );
        worst.forward = worst.forward.max(errors.forward);
        worst.backward = worst.backward.max(errors.backward);
    }
    println!(
        "{dtype:?}: {count} configurations, worst relative error {:.1e} forward, {:.1e} backward, \
         {tolerance:.1e} allowed",
        worst.forward, worst.backward
    );
}

/// Max pooling chooses among values that coarse types make equal; then the derivative is not
/// unique.
fn without_ties(case: &Case) -> bool {
    case.config.downsample != Downsample::Max
}

#[test]
fn f64_is_exact_to_fourteen_digits() {
    sweep(DType::F64, 40, 1000, 1e-14, |_| true);
}

#[test]
fn f32_stays_within_a_few_roundings() {
    sweep(DType::F32, 16, 1000, 8.0 * 2f64.powi(-24), |_| true);
}

#[test]
fn f16_stays_within_a_few_roundings() {
    sweep(DType::F16, 10, 1000, 4.0 * 2f64.powi(-11), without_ties);
}

#[test]
fn bf16_stays_within_a_few_roundings() {
    sweep(DType::BF16, 7, 1000, 4.0 * 2f64.powi(-8), without_ties);
}

/// A sum of thousands of products is not kept in a short type.
#[test]
fn long_sums_of_short_types_stay_within_a_few_roundings() {
    let config = OctConv2dConfig::new([512, 6], [3, 3]);
    let case = Case {
        config,
        batch: 1,
        size: [5, 4],
        seed: 1,
    };
    for (dtype, bits, roundoff) in [(DType::F16, 10, -11), (DType::BF16, 7, -8)] {
        let errors = compare_in(&case, &Device::flex(), bits, Some(dtype), as_built);
        println!("{dtype:?}: {errors:?} for 2304 products");
        let tolerance = 4.0 * 2f64.powi(roundoff);
        assert!(errors.forward < tolerance && errors.backward < tolerance);
    }
}

/// Values between 2⁻²⁰ and 2²⁰ beside each other: every output is as exact as the values that it
/// is made of allow, whatever lies elsewhere. Methods that add and subtract large intermediate
/// values (Winograd, Fourier) fail this.
#[test]
fn f32_keeps_small_values_beside_outliers() {
    let mut runner = TestRunner::deterministic();
    let strategy = cases(LIMITS);
    let mut largest = 0.0f64;
    for _ in 0..500 {
        let case = strategy
            .new_tree(&mut runner)
            .expect("a legal case")
            .current();
        let mut scale = Random(case.seed ^ 1);
        let spread = |map: &Map| {
            let data = map.data.iter();
            let scaled = data.map(|x| x * 2f64.powi((20.0 * scale.next()) as i32));
            Map {
                dims: map.dims,
                data: scaled.collect(),
            }
        };
        let error = forward_error(&case, spread);
        assert!(error < 8.0 * 2f64.powi(-24), "{error:e} for {case:#?}");
        largest = largest.max(error);
    }
    println!("f32 with outliers: 500 configurations, worst relative error {largest:.1e}");
}

/// The error of the output in f32, with the high input changed by `change`.
fn forward_error(case: &Case, mut change: impl FnMut(&Map) -> Map) -> f64 {
    let device = &Device::flex().autodiff();
    let layer = case.config.init(device);
    let mut inputs = case.inputs(&layer);
    for input in [&mut inputs.high, &mut inputs.low] {
        *input = input.as_ref().map(&mut change);
    }
    let output = run(case.size, &layer, &inputs, device, as_built).output;
    let expected = octconv(&inputs, case.size, &case.options(), None);
    let magnitude = octconv(&inputs.magnitudes(), case.size, &case.options(), None);
    let mut largest = 0.0f64;
    for (group, (expected, magnitude)) in [output.high(), output.low()]
        .into_iter()
        .zip(expected.iter().zip(&magnitude))
    {
        if let (Some(y), Some(expected), Some(magnitude)) = (group, expected, magnitude) {
            largest = largest.max(worst(&read(y.clone()), expected, magnitude));
        }
    }
    largest
}

/// A NaN or an infinity reaches the outputs that read it, and no others; but in groups of channels,
/// narrower than what the engine multiplies at a time, it may reach their neighbours.
#[test]
fn non_finite_values_stay_where_they_belong() {
    let mut runner = TestRunner::deterministic();
    let strategy = cases(LIMITS);
    let mut reached = [0usize; 2];
    for round in 0..500 {
        let case = strategy
            .new_tree(&mut runner)
            .expect("a legal case")
            .current();
        // Which pixel wins a max pooling with NaN differs between libraries.
        if case.config.downsample == Downsample::Max {
            continue;
        }
        let device = &Device::flex().autodiff();
        let layer = case.config.init(device);
        let mut inputs = case.inputs(&layer);
        let mut place = Random(case.seed ^ 2);
        let input = match (&mut inputs.high, &mut inputs.low) {
            (Some(high), _) if round % 2 == 0 => high,
            (_, Some(low)) => low,
            (Some(high), None) => high,
            (None, None) => continue,
        };
        let index = ((place.next() + 1.0) / 2.0 * input.data.len() as f64) as usize;
        input.data[index] = [f64::NAN, f64::INFINITY][round / 2 % 2];
        let spreads = case.config.groups > 1 && !case.config.is_depthwise();
        let output = run(case.size, &layer, &inputs, device, as_built).output;
        let expected = octconv(&inputs, case.size, &case.options(), None);
        for (group, expected) in [output.high(), output.low()].into_iter().zip(&expected) {
            let (Some(y), Some(expected)) = (group, expected) else {
                continue;
            };
            let [_, channels, height, width] = y.dims();
            let area = height * width;
            // Whether a channel of this pixel reads it.
            let reaches = |place: usize| {
                let pixel = place / (channels * area) * channels * area + place % area;
                !(0..channels).all(|channel| expected.data[pixel + channel * area].is_finite())
            };
            for (place, (actual, expected)) in
                read(y.clone()).into_iter().zip(&expected.data).enumerate()
            {
                if spreads && expected.is_finite() && !actual.is_finite() {
                    assert!(reaches(place), "{case:#?}");
                    continue;
                }
                assert_eq!(actual.is_finite(), expected.is_finite(), "{case:#?}");
                reached[usize::from(expected.is_finite())] += 1;
            }
        }
    }
    let [spoiled, clean] = reached;
    assert!(spoiled > 1000 && clean > 1000, "{reached:?}");
}
