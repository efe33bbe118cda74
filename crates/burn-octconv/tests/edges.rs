//! What only shows at the edges: frequencies of a single channel, counts that all differ, layers of
//! a single path.

use burn::{
    module::{Module, Param},
    nn::{
        GroupNormConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        norm::NormalizationConfig,
    },
    tensor::{Device, Distribution, Tensor, activation::relu},
};
use burn_octconv::{
    Exchange, OctBatchNormConfig, OctConv2d, OctConv2dConfig, OctFeatures, OctNormConfig,
    OctSqueezeExciteConfig, ops::norm::Activation,
};

fn device() -> Device {
    Device::flex()
}

fn random(dims: [usize; 4]) -> Tensor<4> {
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &device())
}

fn equal<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(actual.into_data(), expected.into_data());
}

/// What cutting and gluing makes of a convolution.
fn cut_and_glued(conv: &Conv2d, alpha: f64) -> (OctConv2d, Conv2d) {
    let layer = OctConv2d::from_conv2d(conv, alpha, alpha).unwrap();
    let glued = layer.to_conv2d();
    (layer, glued)
}

#[test]
fn a_frequency_of_one_channel_is_there() {
    let x = OctFeatures::split(random([2, 2, 4, 4]), 0.5);
    assert_eq!(x.channels(), [1, 1]);

    let layer = OctConv2dConfig::new([2, 2], [3, 3]).init(&device());
    assert!(layer.bias_high.is_some() && layer.bias_low.is_some());
    assert_eq!(layer.forward(x.clone()).channels(), [1, 1]);
    let conv = Conv2dConfig::new([2, 2], [3, 3]).with_padding(PaddingConfig2d::Same);
    let conv = conv.init(&device());
    let (_, glued) = cut_and_glued(&conv, 0.5);
    equal(glued.weight.val(), conv.weight.val());
    equal(glued.bias.unwrap().val(), conv.bias.unwrap().val());

    let norm = OctBatchNormConfig::new(2).init(&device());
    assert_eq!(norm.forward(x.clone()).channels(), [1, 1]);
    let gates = OctSqueezeExciteConfig::new(2).init(&device());
    assert_eq!(gates.forward(x).channels(), [1, 1]);
    // One hidden unit at least: 2·1 + 1 weights to it, 1·1 + 1 from it to each frequency.
    assert_eq!(gates.num_params(), 3 + 2 + 2);
}

#[test]
fn a_norm_has_one_feature_at_least() {
    assert!(OctBatchNormConfig::new(1).try_init(&device()).is_ok());
    let error = OctBatchNormConfig::new(0).try_init(&device()).map(drop);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("num_features is 0"), "{error}");
}

#[test]
fn a_frequency_of_one_channel_needs_a_path() {
    for (alpha_in, part) in [(0.0, "need the H→L path"), (1.0, "need the L→H path")] {
        let config = OctConv2dConfig::new([2, 2], [3, 3]).with_alpha_in(alpha_in);
        let error = config.with_exchange(Exchange::Neither).validate();
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn depthwise_layers_of_two_channels_and_of_unequal_shares() {
    let conv = |channels: usize| {
        let config = Conv2dConfig::new([channels; 2], [3, 3]).with_groups(channels);
        config.with_padding(PaddingConfig2d::Same).init(&device())
    };
    for (channels, alpha) in [(2, 0.5), (8, 0.25), (8, 0.75)] {
        let conv = conv(channels);
        let (layer, glued) = cut_and_glued(&conv, alpha);
        assert!(layer.is_depthwise() && layer.h2l.is_none(), "{channels}");
        equal(glued.weight.val(), conv.weight.val());
        let config = OctConv2dConfig::new([channels; 2], [3, 3]).with_groups(channels);
        assert!(config.is_depthwise());
    }
}

#[test]
fn each_of_the_four_counts_must_divide() {
    for (channels, alpha_in, alpha_out, counts) in [
        (
            [7, 8],
            0.6,
            0.5,
            "high in 3, low in 4, high out 4, low out 4",
        ),
        (
            [7, 8],
            0.5,
            0.5,
            "high in 4, low in 3, high out 4, low out 4",
        ),
        (
            [8, 9],
            0.5,
            0.45,
            "high in 4, low in 4, high out 5, low out 4",
        ),
        (
            [8, 9],
            0.25,
            0.35,
            "high in 6, low in 2, high out 6, low out 3",
        ),
    ] {
        let config = OctConv2dConfig::new(channels, [3, 3]).with_groups(2);
        let config = config.with_alpha_in(alpha_in).with_alpha_out(alpha_out);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(counts), "'{error}' lacks '{counts}'");
    }
    for alpha in [0.45, 0.6] {
        let config = OctNormConfig::new(9, NormalizationConfig::Group(GroupNormConfig::new(2, 9)));
        let error = config.with_alpha(alpha).try_init(&device()).map(drop);
        assert!(error.is_err(), "{alpha}");
    }
}

#[test]
fn the_channels_that_were_expected_are_named_by_frequency() {
    let layer = OctConv2dConfig::new([8, 8], [3, 3]).with_alpha_in(0.25);
    let layer = layer.init(&device());
    let error = layer.check(&random([1, 8, 4, 4]).into()).unwrap_err();
    let expected = "expected 6 high-frequency and 2 low-frequency channels, got 8 and 0";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn paths_of_grouped_layers_that_are_switched_off_become_zeros() {
    let config = OctConv2dConfig::new([8, 8], [3, 3]).with_groups(2);
    let layer = config.with_exchange(Exchange::HighToLow).init(&device());
    let weight = layer.to_conv2d().weight.val();
    assert_eq!(weight.dims(), [8, 4, 3, 3]);
    // The first group: two high channels and two low ones on either side.
    let corner = |row, column| weight.clone().narrow(0, row, 2).narrow(1, column, 2).abs();
    assert_eq!(corner(0, 2).max().into_scalar::<f32>(), 0.0);
    for (row, column) in [(0, 0), (2, 0), (2, 2)] {
        assert!(corner(row, column).max().into_scalar::<f32>() > 0.0);
    }
}

/// What is cut from a strided layer pools, unless it is vanilla on both sides.
#[test]
fn a_first_layer_cut_from_a_strided_one_pools() {
    let conv = Conv2dConfig::new([4, 4], [3, 3]).with_padding(PaddingConfig2d::Same);
    let strided = conv.clone().with_stride([2, 2]).init(&device());
    let plain = Conv2d {
        weight: strided.weight.clone(),
        bias: strided.bias.clone(),
        ..conv.init(&device())
    };
    let x = random([1, 4, 8, 6]);
    let layer = OctConv2d::from_conv2d(&strided, 0.0, 0.5).unwrap();
    let (high, _) = layer.forward(x.clone()).into_parts();
    let pooled = OctFeatures::from(x).avg_pool2().into_high();
    let expected = plain.forward(pooled).narrow(1, 0, 2);
    let difference = (high.unwrap() - expected).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn a_single_path_may_leave_the_border_out() {
    let conv = Conv2dConfig::new([3, 5], [3, 3]).init(&device());
    let config = OctConv2dConfig::new([3, 5], [3, 3]).with_padding(PaddingConfig2d::Valid);
    let layer = OctConv2d {
        h2h: Some(Param::from_tensor(conv.weight.val())),
        bias_high: conv.bias.clone(),
        ..config.with_alpha(0.0).init(&device())
    };
    let x = random([2, 3, 6, 5]);
    let y = layer.forward(x.clone());
    assert_eq!(y.size(), [4, 3]);
    let difference = y.into_high() - conv.forward(x);
    assert_eq!(difference.dims(), [2, 5, 4, 3]);
    assert!(difference.abs().max().into_scalar::<f32>() < 1e-6);
}

#[test]
fn any_norm_adds_the_residual_before_the_activation() {
    let config = OctNormConfig::new(4, NormalizationConfig::Group(GroupNormConfig::new(2, 4)));
    let norm = config.init(&device());
    let features = || OctFeatures::new(random([2, 2, 4, 4]), random([2, 2, 2, 2]));
    let (x, residual) = (features(), features());
    let fused = norm.forward_with(x.clone(), Some(residual.clone()), Activation::Relu);
    let steps = norm.forward(x).zip_with(residual, Tensor::add).map(relu);
    equal(fused.merge(), steps.merge());
}

#[test]
fn pooling_halves_the_size_of_a_map_without_a_high_frequency() {
    let low = || OctFeatures::from_low(random([1, 2, 4, 3]), [7, 5]);
    assert_eq!(low().avg_pool2().size(), [4, 3]);
    assert_eq!(low().max_pool2().size(), [4, 3]);
}
