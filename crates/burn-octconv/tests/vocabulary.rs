//! The layers around the convolution, and the way from vanilla layers and back.

use burn::{
    nn::{
        BatchNorm, BatchNormConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig,
        PaddingConfig2d,
        activation::ActivationConfig,
        conv::{Conv2d, Conv2dConfig},
        norm::NormalizationConfig,
        pool::{AvgPool2dConfig, MaxPool2dConfig},
    },
    tensor::{Device, Distribution, Tensor, activation},
};
use burn_octconv::{
    Exchange, OctActivation, OctAdaptiveAvgPool2d, OctAvgPool2d, OctBatchNorm, OctConv2d,
    OctConv2dConfig, OctDropout, OctFeatures, OctMaxPool2d, OctNormConfig, OctSqueezeExciteConfig,
};

fn device() -> Device {
    Device::flex()
}

fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &device())
}

fn features(batch: usize, [high, low]: [usize; 2], size: [usize; 2]) -> OctFeatures {
    let half = size.map(|s| s.div_ceil(2));
    OctFeatures::new(
        random([batch, high, size[0], size[1]]),
        random([batch, low, half[0], half[1]]),
    )
}

fn equal<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(actual.into_data(), expected.into_data());
}

fn close<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(actual.dims(), expected.dims());
    let error = (actual - expected).abs().max().into_scalar::<f32>();
    assert!(error < 1e-5, "{error}");
}

#[test]
fn every_norm_normalises_each_group_over_the_right_axes() {
    let x = features(3, [4, 8], [6, 10]);
    let mean_over = |x: Tensor<4>, dims: &[usize]| {
        dims.iter()
            .fold(x, |x, &dim| x.mean_dim(dim))
            .abs()
            .max()
            .into_scalar::<f32>()
    };
    let table = [
        (
            NormalizationConfig::Group(GroupNormConfig::new(1, 0)),
            vec![1, 2, 3],
        ),
        (
            NormalizationConfig::Instance(InstanceNormConfig::new(0)),
            vec![2, 3],
        ),
        (NormalizationConfig::Layer(LayerNormConfig::new(0)), vec![1]),
    ];
    for (norm, axes) in table {
        let layer = OctNormConfig::new(12, norm)
            .with_alpha(8.5 / 12.0)
            .init(&device());
        let y = layer.forward(x.clone());
        for group in [y.high(), y.low()] {
            let group = group.unwrap().clone();
            assert!(mean_over(group.clone(), &axes) < 1e-4);
            // Not merely shifted: the spread over these axes is one.
            assert!((mean_over(group.powi_scalar(2), &axes) - 1.0).abs() < 1e-2);
        }
    }
}

#[test]
fn groups_of_a_group_norm_must_divide_both_frequencies() {
    let norm = NormalizationConfig::Group(GroupNormConfig::new(4, 0));
    let error = OctNormConfig::new(16, norm)
        .with_alpha(0.125)
        .try_init(&device())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a group norm with 4 groups must divide the 14 high-frequency and the 2 low-frequency \
         channels: change num_groups, num_features, or alpha"
    );
}

#[test]
#[should_panic(expected = "expected 6 high-frequency and 2 low-frequency channels, got 4 and 4")]
fn a_norm_refuses_another_split() {
    let norm = NormalizationConfig::Instance(InstanceNormConfig::new(0));
    let layer = OctNormConfig::new(8, norm).with_alpha(0.25).init(&device());
    layer.forward(features(1, [4, 4], [4, 4]));
}

#[test]
fn squeeze_excite_squeezes_both_groups_and_scales_each() {
    let x = features(2, [5, 3], [5, 4]);
    let config = OctSqueezeExciteConfig::new(8)
        .with_alpha(3.5 / 8.0)
        .with_reduction(2);
    let layer = config.init(&device());
    assert_eq!(layer.squeeze.weight.dims(), [8, 4]);
    let y = layer.forward(x.clone());

    // By hand: means of both groups, hidden layer, one sigmoid per channel.
    let mean = |x: &Tensor<4>| -> Tensor<2> { x.clone().mean_dim(2).mean_dim(3).flatten(1, 3) };
    let (high, low) = (x.high().unwrap(), x.low().unwrap());
    let means = Tensor::cat(vec![mean(high), mean(low)], 1);
    let hidden = activation::relu(layer.squeeze.forward(means));
    let scale = activation::sigmoid(layer.excite_low.as_ref().unwrap().forward(hidden));
    close(
        y.low().unwrap().clone(),
        low.clone() * scale.reshape([2, 3, 1, 1]),
    );

    // The scale of the high group depends on the low group: the squeeze is joint.
    let other = OctFeatures::new(high.clone(), low.clone() * 3.0 + 1.0);
    let difference = layer.forward(other).high().unwrap().clone() - y.high().unwrap().clone();
    assert!(difference.abs().max().into_scalar::<f32>() > 1e-4);

    for (config, part) in [
        (OctSqueezeExciteConfig::new(0), "channels is 0"),
        (
            OctSqueezeExciteConfig::new(8).with_reduction(0),
            "reduction is 0",
        ),
        (OctSqueezeExciteConfig::new(8).with_alpha(2.0), "alpha is 2"),
    ] {
        let error = config
            .try_init(&device())
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "'{error}' lacks '{part}'");
    }
}

#[test]
fn dropout_acts_on_both_groups_in_training_only() {
    let layer = OctDropout::new(0.5);
    let ones = |device: &Device| {
        OctFeatures::new(
            Tensor::ones([1, 8, 16, 16], device),
            Tensor::ones([1, 8, 8, 8], device),
        )
    };
    let kept = layer.forward(ones(&device()));
    equal(
        kept.high().unwrap().clone(),
        Tensor::ones([1, 8, 16, 16], &device()),
    );

    let dropped = layer.forward(ones(&device().autodiff()));
    for group in [dropped.high(), dropped.low()] {
        let zeros = group
            .unwrap()
            .clone()
            .equal_scalar(0.0)
            .float()
            .mean()
            .into_scalar::<f32>();
        assert!((0.3..0.7).contains(&zeros), "{zeros}");
    }
}

#[test]
fn activations_and_pooling_are_those_of_burn_on_each_group() {
    let x = features(2, [3, 5], [9, 14]);
    let (high, low) = (x.high().unwrap().clone(), x.low().unwrap().clone());

    let gelu = OctActivation::new(&ActivationConfig::Gelu, &device()).forward(x.clone());
    equal(gelu.high().unwrap().clone(), activation::gelu(high.clone()));
    equal(gelu.low().unwrap().clone(), activation::gelu(low.clone()));

    let max = MaxPool2dConfig::new([3, 3])
        .with_strides([2, 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init();
    let pooled = OctMaxPool2d::from(max.clone()).forward(x.clone());
    assert_eq!(pooled.size(), [5, 7]);
    equal(pooled.low().unwrap().clone(), max.forward(low.clone()));

    let avg = AvgPool2dConfig::new([3, 3])
        .with_strides([1, 1])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init();
    let pooled = OctAvgPool2d::from(avg.clone()).forward(x.clone());
    equal(pooled.high().unwrap().clone(), avg.forward(high.clone()));

    let adapted = OctAdaptiveAvgPool2d::new([3, 5]).forward(x.clone());
    assert_eq!(adapted.describe(), "high [2, 3, 3, 5] + low [2, 5, 2, 3]");

    let average = x.clone().avg_pool2().avg_pool2();
    assert_eq!(average.describe(), "high [2, 3, 3, 4] + low [2, 5, 2, 2]");
    assert_eq!(
        OctFeatures::from_low(low.clone(), [9, 14])
            .max_pool2()
            .size(),
        [5, 7]
    );

    let means = x.clone().global_avg_pool();
    let expected = low
        .clone()
        .narrow(1, 4, 1)
        .mean_dim(2)
        .mean_dim(3)
        .flatten::<2>(1, 3);
    close(means.narrow(1, 7, 1), expected);
    let largest = x
        .global_max_pool()
        .narrow(1, 0, 1)
        .max()
        .into_scalar::<f32>();
    assert_eq!(largest, high.narrow(1, 0, 1).max().into_scalar::<f32>());
}

fn vanilla(groups: usize, stride: usize, bias: bool) -> Conv2d {
    Conv2dConfig::new([16, 16], [3, 3])
        .with_groups(groups)
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(bias)
        .init(&device())
}

#[test]
fn cutting_and_gluing_a_convolution_is_exact() {
    for groups in [1, 2, 4, 16] {
        for (alpha_in, alpha_out) in [(0.0, 0.0), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (0.25, 0.75)]
        {
            for bias in [false, true] {
                if groups == 16 && alpha_in != alpha_out {
                    continue;
                }
                let conv = vanilla(groups, 2, bias);
                let layer = OctConv2d::from_conv2d(&conv, alpha_in, alpha_out)
                    .unwrap_or_else(|e| panic!("{groups} {alpha_in} {alpha_out}: {e}"));
                let back = layer.to_conv2d();
                equal(back.weight.val(), conv.weight.val());
                assert_eq!(back.bias.is_some(), bias);
                if let (Some(back), Some(bias)) = (&back.bias, &conv.bias) {
                    equal(back.val(), bias.val());
                }
                assert_eq!(
                    (back.stride, back.groups, back.padding),
                    (conv.stride, conv.groups, conv.padding)
                );
            }
        }
    }
}

#[test]
fn a_cut_at_alpha_0_computes_the_same() {
    let conv = vanilla(2, 2, true);
    let layer = OctConv2d::from_conv2d(&conv, 0.0, 0.0).unwrap();
    let x = random([2, 16, 7, 6]);
    close(layer.forward(x.clone()).into_high(), conv.forward(x));
}

/// Which channels become low: the last, of each group if there are several.
#[test]
fn a_cut_takes_the_last_channels() {
    for (groups, high, low) in [(1, 0..8, 8..16), (2, 0..4, 4..8)] {
        let conv = vanilla(groups, 1, true);
        let layer = OctConv2d::from_conv2d(&conv, 0.5, 0.5).unwrap();
        let rows = |range: std::ops::Range<usize>| {
            conv.bias
                .as_ref()
                .unwrap()
                .val()
                .narrow(0, range.start, range.len())
        };
        let count = high.len();
        equal(
            layer.bias_high.unwrap().val().narrow(0, 0, count),
            rows(high),
        );
        equal(layer.bias_low.unwrap().val().narrow(0, 0, count), rows(low));
    }
}

/// On maps that are constant over 2×2 blocks, 1×1 kernels lose nothing in the low group: the
/// octave layer computes what the vanilla one does.
#[test]
fn a_cut_keeps_the_function_where_no_detail_is_lost() {
    let conv = Conv2dConfig::new([6, 4], [1, 1]).init(&device());
    let layer = OctConv2d::from_conv2d(&conv, 0.5, 0.5).unwrap();
    let x = burn_octconv::ops::resample::upsample_nearest(random([2, 6, 4, 3]), [8, 6]);
    let y = layer.forward(OctFeatures::split(x.clone(), 0.5)).merge();
    close(y, conv.forward(x));
}

#[test]
fn paths_that_are_switched_off_become_zeros() {
    let config = OctConv2dConfig::new([4, 4], [1, 1]).with_exchange(Exchange::Neither);
    let conv = config.init(&device()).to_conv2d();
    let weight = conv.weight.val();
    let corner = |row, column| weight.clone().narrow(0, row, 2).narrow(1, column, 2).abs();
    assert_eq!(corner(0, 2).max().into_scalar::<f32>(), 0.0);
    assert_eq!(corner(2, 0).max().into_scalar::<f32>(), 0.0);
    assert!(corner(0, 0).min().into_scalar::<f32>() > 0.0);
}

#[test]
fn what_has_no_octave_form_is_not_cut() {
    for (conv, alpha, part) in [
        (vanilla(1, 3, false), 0.5, "stride is [3, 3]"),
        (vanilla(4, 1, false), 0.125, "high in 14, low in 2"),
        (vanilla(1, 1, false), 1.5, "alpha_in is 1.5"),
    ] {
        let error = OctConv2d::from_conv2d(&conv, alpha, 0.5)
            .map(drop)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "'{error}' lacks '{part}'");
    }
}

#[test]
fn cutting_and_gluing_a_batch_norm_is_exact() {
    let norm = |device: &Device| -> BatchNorm {
        let norm = BatchNormConfig::new(7).with_epsilon(1e-3).init(device);
        // A step of training, so that the running statistics are not those of the start.
        let x = Tensor::<4>::random([4, 7, 3, 3], Distribution::Normal(2.0, 3.0), device);
        norm.forward(x);
        norm
    };
    let norm = norm(&device().autodiff());
    for alpha in [0.0, 0.3, 0.5, 1.0] {
        let cut = OctBatchNorm::from_batch_norm(&norm, alpha).unwrap();
        let back = cut.to_batch_norm();
        equal(
            back.running_mean.value_sync(),
            norm.running_mean.value_sync(),
        );
        equal(back.running_var.value_sync(), norm.running_var.value_sync());
        equal(back.gamma.val(), norm.gamma.val());
        assert_eq!(back.epsilon, 1e-3);
        let low = cut.low.map_or(0, |low| low.gamma.dims()[0]);
        assert_eq!(low, (7.0 * alpha) as usize);
    }
    assert!(OctBatchNorm::from_batch_norm(&norm, f64::NAN).is_err());
}
