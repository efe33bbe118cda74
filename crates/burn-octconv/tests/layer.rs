//! `OctConv2d` as a user meets it: beside `Conv2d`, in a module of their own, on disk.

use burn::{
    config::Config,
    module::Module,
    nn::{
        Initializer, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    optim::{GradientsParams, SgdConfig},
    store::ModuleRecord,
    tensor::{Device, Distribution, Tensor},
};
use burn_octconv::{
    Downsample, Exchange, OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig,
    OctFeatures, Upsample, ops,
};

fn random(dims: [usize; 4]) -> Tensor<4> {
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &Device::flex())
}

/// A vanilla convolution with the weights of an octave layer that has only H→H.
fn vanilla(config: &Conv2dConfig, layer: &OctConv2d) -> Conv2d {
    let mut conv = config.init(&Device::flex());
    conv.weight = layer.h2h.clone().expect("the layer has H→H");
    conv.bias = layer.bias_high.clone();
    conv
}

#[test]
fn without_a_low_frequency_it_is_the_vanilla_convolution_bit_for_bit() {
    for (kernel, stride, dilation, groups, padding) in [
        ([3, 3], 1, [1, 1], 1, PaddingConfig2d::Same),
        ([1, 1], 1, [1, 1], 2, PaddingConfig2d::Same),
        ([5, 3], 1, [1, 1], 1, PaddingConfig2d::Valid),
        ([4, 2], 1, [1, 1], 1, PaddingConfig2d::Same),
        ([3, 3], 1, [2, 1], 2, PaddingConfig2d::Explicit(2, 1, 2, 1)),
        ([3, 3], 2, [1, 1], 1, PaddingConfig2d::Explicit(1, 1, 1, 1)),
        ([3, 3], 2, [1, 1], 1, PaddingConfig2d::Same),
        ([7, 7], 2, [1, 1], 1, PaddingConfig2d::Explicit(3, 3, 3, 3)),
        ([1, 1], 2, [1, 1], 1, PaddingConfig2d::Valid),
    ] {
        let octave = OctConv2dConfig::new([6, 4], kernel)
            .with_stride([stride; 2])
            .with_dilation(dilation)
            .with_groups(groups)
            .with_padding(padding.clone())
            .with_alpha(0.0)
            .with_strided(true);
        let plain = Conv2dConfig::new([6, 4], kernel)
            .with_stride([stride; 2])
            .with_dilation(dilation)
            .with_groups(groups)
            .with_padding(padding);
        let layer = octave.init(&Device::flex());
        let x = random([2, 6, 11, 14]);
        let expected = vanilla(&plain, &layer).forward(x.clone());
        let composed = ops::composed::octconv2d(x.clone().into(), layer.kernels(), &layer.plan);
        let composed = composed.into_high();
        assert_eq!(composed.into_data(), expected.to_data(), "{octave:?}");
        // An engine adds in another order.
        let error = (layer.forward(x).into_high() - expected).abs().max();
        assert!(error.into_scalar::<f32>() < 1e-5, "{octave:?}");
    }
}

#[test]
fn pooled_stride_is_not_the_strided_convolution() {
    let layer = |strided| {
        let config = OctConv2dConfig::new([2, 2], [3, 3]).with_stride([2, 2]);
        config
            .with_alpha(0.0)
            .with_strided(strided)
            .init(&Device::flex())
    };
    let pooled = layer(false);
    let mut strided = layer(true);
    strided.h2h = pooled.h2h.clone();
    let x = random([1, 2, 8, 8]);
    let difference = pooled.forward(x.clone()).into_high() - strided.forward(x).into_high();
    assert!(difference.abs().max().into_scalar::<f32>() > 0.01);
}

#[test]
fn parameters_do_not_depend_on_alpha() {
    for alpha_in in [0.0, 0.125, 0.5, 1.0] {
        for alpha_out in [0.0, 0.25, 0.3, 1.0] {
            let config = OctConv2dConfig::new([16, 24], [3, 3])
                .with_alpha_in(alpha_in)
                .with_alpha_out(alpha_out);
            let layer = config.init(&Device::flex());
            assert_eq!(
                layer.num_params(),
                16 * 24 * 9 + 24,
                "{alpha_in} → {alpha_out}"
            );
            assert_eq!(config.cost([8, 8]).unwrap().params, 16 * 24 * 9 + 24);
        }
    }
}

#[test]
fn odd_sizes_survive_layers_with_no_high_group() {
    let device = Device::flex();
    let all_low = OctConv2dConfig::new([3, 4], [3, 3])
        .with_alpha_in(0.0)
        .with_alpha_out(1.0);
    let back = OctConv2dConfig::new([4, 5], [3, 3])
        .with_alpha_in(1.0)
        .with_alpha_out(0.0)
        .init(&device);
    for (stride, size) in [(1, [7, 5]), (2, [9, 13])] {
        let layer = all_low.clone().with_stride([stride; 2]).init(&device);
        let forward = || {
            let low = layer.forward(random([1, 3, size[0], size[1]]));
            assert_eq!(low.channels(), [0, 4]);
            let high = back.forward(low).into_high().dims();
            assert_eq!(high[2..], size.map(|s| s.div_ceil(stride)));
        };
        forward();
        ops::without_engine(forward);
    }
}

/// The initial sum of two paths has the variance of one vanilla convolution.
#[test]
fn initial_weights_have_the_scale_of_the_whole_layer() {
    let device = Device::flex();
    let config = OctConv2dConfig::new([64, 64], [3, 3]);
    let layer = config.init(&device);
    let bound = 1.0 / (64.0f64 * 9.0).sqrt();
    for kernel in [&layer.h2h, &layer.h2l, &layer.l2h, &layer.l2l] {
        let largest = kernel
            .as_ref()
            .unwrap()
            .val()
            .abs()
            .max()
            .into_scalar::<f64>();
        assert!(
            largest <= bound && largest > 0.95 * bound,
            "{largest} of {bound}"
        );
    }
}

/// As for a vanilla layer: `channels / groups · height · width` on each side, whichever
/// initialisation asks.
#[test]
fn fans_are_those_of_the_whole_layer_with_its_groups() {
    let device = Device::flex();
    let kaiming = |fan_out_only| Initializer::KaimingUniform {
        gain: 1.0,
        fan_out_only,
    };
    let (fan_in, fan_out) = (24.0 / 2.0 * 15.0, 64.0 / 2.0 * 15.0);
    for (initializer, fan) in [(kaiming(false), fan_in), (kaiming(true), fan_out)] {
        let config = OctConv2dConfig::new([24, 64], [3, 5])
            .with_groups(2)
            .with_initializer(initializer);
        let layer = config.init(&device);
        let bound = (3.0f64 / fan).sqrt();
        for kernel in [&layer.h2h, &layer.h2l, &layer.l2h, &layer.l2l] {
            let kernel = kernel.as_ref().unwrap().val();
            let largest = kernel.abs().max().into_scalar::<f64>();
            assert!(
                largest <= 1.0001 * bound && largest > 0.95 * bound,
                "{largest} of {bound}"
            );
        }
    }
}

#[test]
fn a_group_without_channels_does_not_exist() {
    let device = Device::flex();
    let layer = |alpha_out| {
        let config = OctConv2dConfig::new([4, 4], [1, 1]).with_alpha_out(alpha_out);
        config.init(&device)
    };
    let high = layer(0.0);
    assert!(high.bias_high.is_some() && high.bias_low.is_none());
    assert!(high.h2l.is_none() && high.l2l.is_none());
    let low = layer(1.0);
    assert!(low.bias_high.is_none() && low.bias_low.is_some());
    assert!(low.h2h.is_none() && low.l2h.is_none());

    let all_high = OctFeatures::split(random([1, 4, 2, 2]), 0.0);
    assert!(all_high.high().is_some() && all_high.low().is_none());
    let all_low = OctFeatures::split(random([1, 4, 2, 2]), 1.0);
    assert!(all_low.high().is_none() && all_low.low().is_some());
}

/// One channel on each side is a layer like any other, not a depthwise one: it may change the
/// frequency.
#[test]
fn a_single_channel_is_not_depthwise() {
    let config = OctConv2dConfig::new([1, 1], [3, 3])
        .with_alpha_in(1.0)
        .with_alpha_out(0.0);
    assert!(!config.is_depthwise());
    let layer = config.init(&Device::flex());
    assert!(layer.l2h.is_some() && !layer.is_depthwise());
    let depthwise = OctConv2dConfig::new([4, 4], [3, 3]).with_groups(4);
    assert!(depthwise.is_depthwise() && depthwise.init(&Device::flex()).is_depthwise());
}

#[test]
fn devices_are_those_of_the_tensors() {
    // Any device but the default one, which does not differentiate.
    let device = Device::flex().autodiff();
    assert!(!Device::default().is_autodiff());
    let layer = OctConv2dConfig::new([4, 4], [1, 1]).init(&device);
    assert!(layer.device().is_autodiff());
    let input = OctFeatures::from(Tensor::zeros([1, 4, 2, 2], &device));
    assert!(input.device().is_autodiff());
}

/// A user's own network.
#[derive(Module, Debug)]
struct Net {
    first: OctConv2d,
    norm: OctBatchNorm,
    last: OctConv2d,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            first: OctConv2dConfig::new([3, 8], [3, 3])
                .with_alpha_in(0.0)
                .init(device),
            norm: OctBatchNormConfig::new(8).init(device),
            last: OctConv2dConfig::new([8, 4], [3, 3])
                .with_alpha_out(0.0)
                .init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward(self.first.forward(x)).relu();
        self.last.forward(x).into_high()
    }
}

#[test]
fn a_record_brings_back_the_same_network() {
    let device = Device::flex();
    let (net, other) = (Net::new(&device), Net::new(&device));
    let x = random([2, 3, 9, 6]);
    let expected = net.forward(x.clone());
    assert_ne!(other.forward(x.clone()).into_data(), expected.to_data());

    let bytes = net
        .clone()
        .into_record()
        .into_bytes()
        .expect("the record can be written");
    let record = ModuleRecord::from_bytes(bytes).expect("the record can be read");
    let loaded = other.load_record(record);
    assert_eq!(loaded.forward(x.clone()).into_data(), expected.to_data());

    let moved = loaded.to_device(&device);
    assert_eq!(moved.forward(x).into_data(), expected.into_data());
}

#[test]
fn a_step_of_training_lowers_the_loss_and_no_grad_stops_it() {
    let device = Device::flex().autodiff();
    let x = Tensor::random([2, 3, 8, 8], Distribution::Uniform(-1.0, 1.0), &device);
    let loss = |net: &Net| net.forward(x.clone()).powi_scalar(2).mean();
    let step = |net: Net| {
        let grads = GradientsParams::from_grads(loss(&net).backward(), &net);
        let count = grads.len();
        (SgdConfig::new().init().step(0.1, net, grads), count)
    };

    let net = Net::new(&device);
    let before = loss(&net).into_scalar::<f32>();
    let (net, count) = step(net);
    // Two layers with two kernels and their biases, and two norms.
    assert_eq!(count, (2 + 2) + (2 + 1) + 4);
    assert!(loss(&net).into_scalar::<f32>() < before);

    let first = net.first.clone().no_grad();
    let (_, count) = step(Net { first, ..net });
    assert_eq!(count, (2 + 1) + 4);
}

#[test]
fn configurations_survive_json() {
    let config = OctConv2dConfig::new([8, 12], [3, 1])
        .with_stride([2, 2])
        .with_alpha_in(0.25)
        .with_alpha_out(0.125)
        .with_downsample(Downsample::Max)
        .with_upsample(Upsample::Bilinear)
        .with_exchange(Exchange::HighToLow);
    let json = burn::config::config_to_json(&config);
    let back = OctConv2dConfig::load_binary(json.as_bytes()).expect("what was written can be read");
    assert_eq!(format!("{back:?}"), format!("{config:?}"));
}

#[test]
fn displays_the_logical_values() {
    let layer = OctConv2dConfig::new([64, 128], [3, 3])
        .with_stride([2, 2])
        .with_alpha_out(0.25)
        .init(&Device::flex());
    assert_eq!(
        format!("{layer}"),
        "OctConv2d {ch_in: 64 (32 high + 32 low), ch_out: 128 (96 high + 32 low), \
         kernel_size: [3, 3], stride: 2 (pooled), dilation: [1, 1], groups: 1, \
         padding: [(1, 1), (1, 1)], params: 73856}"
    );
}

#[test]
fn splitting_and_merging_keep_what_a_low_map_can_hold() {
    // A map that is constant over 2×2 blocks loses nothing one octave below.
    let blocks = random([2, 6, 3, 4]);
    let x = ops::resample::upsample_nearest(blocks, [5, 8]);
    let split = OctFeatures::split(x.clone(), 0.5);
    assert_eq!(split.channels(), [3, 3]);
    assert_eq!(split.describe(), "high [2, 3, 5, 8] + low [2, 3, 3, 4]");
    let difference = (split.merge() - x).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");
}
