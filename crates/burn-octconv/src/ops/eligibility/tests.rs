//! Which layers the engine computes. Both forms give the same numbers, so that nothing else would
//! notice a layer that went the slow way.

use burn::{
    module::Param,
    nn::{
        BatchNorm, BatchNormConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        pool::MaxPool2dConfig,
    },
    tensor::{DType, Device, Distribution, Tensor},
};

use octave_plan::Refusal;

use super::{octconv2d, vanilla as vanilla_plan};
use crate::{Downsample, OctConv2d, OctConv2dConfig, OctFeatures, Upsample, ops::without_engine};

fn random(dims: [usize; 4]) -> Tensor<4> {
    Tensor::random(dims, Distribution::Default, &Device::flex())
}

/// Features that fit the layer.
fn input(layer: &OctConv2d, batch: usize) -> OctFeatures {
    let group = |channels: usize, size: usize| {
        (channels > 0).then(|| random([batch, channels, size, size]))
    };
    let (high, low) = (group(layer.input().high, 8), group(layer.input().low, 4));
    OctFeatures::try_new(high, low, [8, 8]).unwrap()
}

fn refusal(layer: &OctConv2d, features: &OctFeatures) -> Option<Refusal> {
    octconv2d(features, &layer.kernels(), &layer.plan).err()
}

fn config(kernel: usize) -> OctConv2dConfig {
    OctConv2dConfig::new([8, 8], [kernel; 2])
}

fn vanilla(kernel: usize) -> OctConv2dConfig {
    config(kernel).with_alpha(0.0)
}

fn strided(kernel: usize) -> OctConv2dConfig {
    vanilla(kernel).with_strided(true).with_stride([2, 2])
}

fn padded(config: OctConv2dConfig, p: usize) -> OctConv2dConfig {
    config.with_padding(PaddingConfig2d::Explicit(p, p, p, p))
}

/// The same in f64.
fn wide<const D: usize>(parameter: &Param<Tensor<D>>) -> Param<Tensor<D>> {
    Param::from_tensor(parameter.val().cast(DType::F64))
}

#[test]
fn the_engine_computes_the_layers_of_the_networks() {
    for config in [
        config(1),
        config(3),
        config(3).with_bias(false),
        config(3).with_stride([2, 2]),
        config(3).with_alpha_in(0.0),
        config(3).with_alpha_out(0.0).with_stride([2, 2]),
        config(3).with_alpha(1.0),
        config(3).with_alpha_in(0.0).with_alpha_out(1.0),
        config(3).with_dilation([2, 2]),
        config(3).with_groups(2),
        config(3).with_groups(8).with_stride([2, 2]),
        OctConv2dConfig::new([8, 8], [3, 1]),
        // Strided is only what has a stride.
        config(3).with_strided(true),
        vanilla(3),
        vanilla(3).with_padding(PaddingConfig2d::Valid),
        vanilla(3).with_downsample(Downsample::Max),
        padded(strided(3), 1),
        // Without a border to pad, `Same` is symmetric at any stride.
        strided(1),
        vanilla(3).with_strided(true),
    ] {
        let layer = config.init(&Device::flex());
        assert_eq!(refusal(&layer, &input(&layer, 1)), None, "{config}");
    }
}

#[test]
fn everything_else_is_composed() {
    let valid = PaddingConfig2d::Valid;
    let explicit = |p| config(3).with_alpha(1.0).with_padding(p);
    let misaligned = |padding| Refusal::Misaligned { padding };
    let one_axis = |p: [usize; 2]| explicit(PaddingConfig2d::Explicit(p[0], p[1], p[0], p[1]));
    for (config, reason) in [
        (
            config(2),
            Refusal::Padding {
                padding: [(0, 1); 2],
            },
        ),
        (
            config(3).with_downsample(Downsample::Max),
            Refusal::Downsample,
        ),
        (
            config(3).with_upsample(Upsample::Bilinear),
            Refusal::Upsample,
        ),
        (
            config(3).with_strided(true).with_stride([2, 2]),
            Refusal::Strided,
        ),
        (explicit(valid), misaligned([(0, 0); 2])),
        // A padding that keeps the size on one axis only.
        (one_axis([1, 0]), misaligned([(1, 1), (0, 0)])),
        (one_axis([0, 1]), misaligned([(0, 0), (1, 1)])),
        (strided(3), Refusal::StridedPadding),
        (padded(strided(3), 2), Refusal::StridedPadding),
        (
            padded(strided(3).with_dilation([2, 2]), 2),
            Refusal::StridedPadding,
        ),
        (
            padded(vanilla(1), 1),
            Refusal::Padding {
                padding: [(1, 1); 2],
            },
        ),
    ] {
        let layer = config.init(&Device::flex());
        let found = refusal(&layer, &input(&layer, 2));
        assert_eq!(found.as_ref(), Some(&reason), "{config}");
        let asked = crate::ops::refusal(&layer.plan, 2, [8, 8], &layer.device());
        assert_eq!(asked, found);
    }
    let layer = config(3).init(&Device::flex());
    assert_eq!(refusal(&layer, &input(&layer, 0)), Some(Refusal::Empty));
    let x = input(&layer, 2);
    let refused = without_engine(|| refusal(&layer, &x));
    assert_eq!(refused, Some(Refusal::SwitchedOff));
}

#[test]
fn vanilla_layers_are_the_engines_too() {
    let layer = |padding: PaddingConfig2d, stride: [usize; 2]| {
        let config = Conv2dConfig::new([8, 4], [3, 3]).with_padding(padding);
        config.with_stride(stride).init(&Device::flex())
    };
    let by_engine = |conv: &Conv2d, channels: usize| {
        let x = random([2, channels, 7, 6]);
        vanilla_plan(conv, [x.dims()[1], 0])
            .is_ok_and(|plan| crate::ops::refusal(&plan, 2, [7, 6], &x.device()).is_none())
    };
    let explicit = PaddingConfig2d::Explicit(1, 1, 1, 1);
    for padding in [PaddingConfig2d::Valid, explicit.clone()] {
        for stride in [1, 2] {
            assert!(
                by_engine(&layer(padding.clone(), [stride; 2]), 8),
                "{padding:?} {stride}"
            );
        }
    }
    assert!(!by_engine(&layer(PaddingConfig2d::Same, [1, 1]), 8));
    assert!(!by_engine(&layer(explicit.clone(), [1, 2]), 8));
    assert!(!by_engine(&layer(explicit, [1, 1]), 7), "Burn refuses it");
}

/// One operand of another precision is enough.
#[test]
fn the_engine_computes_in_f32_alone() {
    let layer = config(3).init(&Device::flex());
    let x = input(&layer, 2);
    let bias_high = OctConv2d {
        bias_high: layer.bias_high.as_ref().map(wide),
        ..layer.clone()
    };
    let bias_low = OctConv2d {
        bias_low: layer.bias_low.as_ref().map(wide),
        ..layer.clone()
    };
    let kernel = OctConv2d {
        l2l: layer.l2l.as_ref().map(wide),
        ..layer.clone()
    };
    for layer in [bias_high, bias_low, kernel] {
        assert_eq!(refusal(&layer, &x), Some(Refusal::Precision));
    }
    let (high, low) = x.into_parts();
    let low = low.map(|x| x.cast(DType::F64));
    let x = OctFeatures::try_new(high, low, [8, 8]).unwrap();
    assert_eq!(refusal(&layer, &x), Some(Refusal::Precision));
}

#[test]
fn norms_are_the_engines_where_all_fits_and_is_f32() {
    let norm: BatchNorm = BatchNormConfig::new(4).init(&Device::flex());
    let gamma = BatchNorm {
        gamma: wide(&norm.gamma),
        ..norm.clone()
    };
    let beta = BatchNorm {
        beta: wide(&norm.beta),
        ..norm.clone()
    };
    let x = random([2, 4, 3, 3]);
    let wide_x = x.clone().cast(DType::F64);
    let narrow = random([2, 4, 3, 1]);
    let (precision, shape) = (Err(Refusal::Precision), Err(Refusal::Shape));
    for (norm, x, residual, expected) in [
        (&norm, &x, None, Ok(())),
        (&norm, &x, Some(&x), Ok(())),
        (&gamma, &x, None, precision.clone()),
        (&beta, &x, None, precision.clone()),
        (&norm, &wide_x, None, precision.clone()),
        (&norm, &x, Some(&wide_x), precision),
        (&norm, &x, Some(&narrow), shape.clone()),
        (&norm, &random([2, 5, 3, 3]), None, shape),
        (&norm, &random([0, 4, 3, 3]), None, Err(Refusal::Empty)),
    ] {
        assert_eq!(super::norm(norm, x, residual), expected);
    }
    let refused = without_engine(|| super::norm(&norm, &x, None));
    assert_eq!(refused, Err(Refusal::SwitchedOff));
}

#[test]
fn poolings_are_the_engines_where_it_has_the_windows() {
    let pool = |pool: MaxPool2dConfig| super::max_pool(&pool.init(), [8, 9]).is_ok();
    let config = || MaxPool2dConfig::new([3, 3]);
    let padded = |p| config().with_padding(p);
    assert!(pool(config()));
    assert!(pool(padded(PaddingConfig2d::Explicit(1, 0, 1, 0))));
    assert!(!pool(padded(PaddingConfig2d::Explicit(1, 0, 0, 0))));
    assert!(!pool(padded(PaddingConfig2d::Same)));
    assert!(!pool(config().with_dilation([1, 2])));
    assert!(!pool(config().with_ceil_mode(true)));
    assert!(!pool(MaxPool2dConfig::new([9, 3])), "larger than the map");
}
