//! Batch norms folded into the convolutions beside them.

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{BatchNormConfig, PaddingConfig2d, conv::Conv2dConfig},
    tensor::{DType, Device, Distribution, Tensor},
};
use burn_octconv::{
    Downsample, Exchange, OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig,
    OctFeatures, Upsample, fold_batch_norm,
};

/// Gives γ, β and the statistics of a norm values that tell them apart; γ also negative ones.
struct Train;

impl ModuleMapper for Train {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| x.random_like(Distribution::Uniform(0.2, 1.4)))
    }
}

fn norm(channels: usize, alpha: f64) -> OctBatchNorm {
    let config = OctBatchNormConfig::new(channels).with_alpha(alpha);
    let mut norm = config
        .with_epsilon(0.01)
        .init(&Device::flex())
        .map(&mut Train);
    for group in [&mut norm.high, &mut norm.low].into_iter().flatten() {
        group.gamma = group.gamma.clone().map(|gamma| gamma - 0.8);
    }
    norm
}

fn input(config: &OctConv2dConfig) -> OctFeatures {
    let x = Tensor::random(
        [2, config.channels[0], 9, 7],
        Distribution::Uniform(-1.0, 1.0),
        &Device::flex(),
    );
    OctFeatures::split(x, config.alpha_in)
}

fn assert_close(actual: OctFeatures, expected: OctFeatures, of: &OctConv2dConfig) {
    let error = (actual.merge() - expected.merge()).abs().max();
    assert!(error.into_scalar::<f32>() < 1e-5, "{of:?}");
}

fn configs(kernel: [usize; 2]) -> Vec<OctConv2dConfig> {
    let base = OctConv2dConfig::new([12, 8], kernel);
    let strided = base.clone().with_stride([2, 2]);
    let depthwise = OctConv2dConfig::new([8, 8], kernel).with_groups(8);
    vec![
        base.clone(),
        base.clone().with_bias(false),
        base.clone().with_alpha(0.0).with_strided(true),
        base.clone().with_alpha(1.0),
        base.clone().with_alpha_in(0.0),
        base.clone().with_alpha_out(0.25),
        base.clone().with_groups(2),
        base.clone().with_exchange(Exchange::HighToLow),
        base.clone().with_upsample(Upsample::Bilinear),
        strided.clone().with_bias(false),
        strided.with_strided(true),
        depthwise,
    ]
}

#[test]
fn a_norm_after_a_convolution_folds_into_it() {
    let max = OctConv2dConfig::new([12, 8], [3, 3]).with_downsample(Downsample::Max);
    for config in configs([3, 3]).into_iter().chain([max]) {
        let layer = config.init(&Device::flex());
        let norm = norm(config.channels[1], config.alpha_out);
        let folded = layer.fold_batch_norm(&norm);
        let x = input(&config);
        assert_close(
            folded.forward(x.clone()),
            norm.forward(layer.forward(x)),
            &config,
        );
    }
}

#[test]
fn a_norm_before_a_pixelwise_convolution_folds_into_it() {
    for config in configs([1, 1]) {
        let layer = config.init(&Device::flex());
        let norm = norm(config.channels[0], config.alpha_in);
        let folded = layer.fold_input_batch_norm(&norm);
        assert_eq!(folded.is_some(), config.groups == 1, "{config:?}");
        if let Some(folded) = folded {
            let x = input(&config);
            assert_close(
                folded.forward(x.clone()),
                layer.forward(norm.forward(x)),
                &config,
            );
        }
    }
}

#[test]
fn a_norm_before_padding_or_max_pooling_stays() {
    let base = OctConv2dConfig::new([8, 8], [1, 1]);
    for config in [
        OctConv2dConfig::new([8, 8], [3, 3]),
        base.clone().with_downsample(Downsample::Max),
        base.with_alpha(0.0)
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)),
    ] {
        let layer = config.init(&Device::flex());
        let norm = norm(8, config.alpha_in);
        assert!(layer.fold_input_batch_norm(&norm).is_none(), "{config:?}");
    }
}

#[test]
fn a_vanilla_norm_folds_into_a_vanilla_convolution() {
    let device = Device::flex();
    for bias in [false, true] {
        let config = Conv2dConfig::new([6, 4], [3, 3]).with_groups(2);
        let conv = config.with_bias(bias).init(&device);
        let norm = BatchNormConfig::new(4).init(&device).map(&mut Train);
        let x = Tensor::random([2, 6, 9, 7], Distribution::Uniform(-1.0, 1.0), &device);
        let folded = fold_batch_norm(&conv, &norm).forward(x.clone());
        let error = (folded - norm.forward(conv.forward(x))).abs().max();
        assert!(error.into_scalar::<f32>() < 1e-5);
    }
}

#[test]
fn half_precision_keeps_its_type_and_survives_small_variances() {
    let device = Device::flex();
    let layer: OctConv2d = OctConv2dConfig::new([4, 4], [1, 1]).init(&device);
    let mut norm = norm(4, 0.5);
    for group in [&mut norm.high, &mut norm.low].into_iter().flatten() {
        // Below what f16 can tell from zero.
        group.running_var.update(Tensor::full([2], 1e-9, &device));
        group.epsilon = 1e-9;
    }
    struct Half;
    impl ModuleMapper for Half {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|x| x.cast(DType::F16))
        }
    }
    let folded = layer.map(&mut Half).fold_batch_norm(&norm);
    let kernel = folded.h2h.unwrap().val();
    assert_eq!(kernel.dtype(), DType::F16);
    assert_eq!(folded.bias_low.unwrap().val().dtype(), DType::F16);
    let largest = kernel.cast(DType::F32).abs().max().into_scalar::<f32>();
    assert!(largest.is_finite() && largest > 100.0, "{largest}");
}

#[test]
#[should_panic(expected = "channels of the norm")]
fn a_norm_of_other_channels_is_refused() {
    let layer = OctConv2dConfig::new([4, 8], [3, 3]).init(&Device::flex());
    layer.fold_batch_norm(&norm(8, 0.25));
}
