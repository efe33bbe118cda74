//! Networks that differ from the paper's in how they take strides.

use burn::{
    nn::PaddingConfig2d,
    nn::conv::Conv2d,
    tensor::{Device, Distribution, Tensor, activation::relu, module::avg_pool2d, ops::AvgPoolOptions},
};
use burn_octresnet::model::{Arch, Block, ModelError, OctResNetConfig, Residual, Stride};

fn images(size: [usize; 2]) -> Tensor<4> {
    Tensor::random(
        [2, 3, size[0], size[1]],
        Distribution::Default,
        &Device::default(),
    )
}

fn narrow(arch: Arch, alpha: f64) -> OctResNetConfig {
    let config = OctResNetConfig::new(arch, 7).with_alpha(alpha);
    let resnext = arch.name().contains("resnext");
    config.with_width(if resnext { 0.5 } else { 0.1 })
}

/// The largest difference, relative to the largest value.
fn distance<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    let largest = expected.clone().abs().max().into_scalar::<f32>();
    (found - expected).abs().max().into_scalar::<f32>() / largest
}

#[test]
fn every_network_takes_its_strides_either_way() {
    let device = Device::default();
    for arch in Arch::ALL {
        if arch == Arch::OctDenseNet121 {
            continue;
        }
        let size = if arch.is_small() { [13, 11] } else { [45, 33] };
        for (alpha, stride) in [(0.0, Stride::Pooled), (0.5, Stride::Strided)] {
            let usual = narrow(arch, alpha);
            let other = usual.clone().with_stride(stride);
            let same = other.clone().with_stride(match stride {
                Stride::Pooled => Stride::Strided,
                _ => Stride::Pooled,
            });
            assert_eq!(other.cost(size).unwrap(), usual.cost(size).unwrap());
            let (x, model) = (images(size), usual.init(&device));
            let [usual, other, same] = [usual, other, same].map(|config| {
                let model = model.with_alpha(&config, alpha.into(), &device).unwrap();
                model.forward(x.clone())
            });
            let changed = distance(other, usual.clone());
            assert!(changed > 1e-3, "{arch} α={alpha}: {changed}");
            same.into_data().assert_eq(&usual.into_data(), true);
        }
    }
}

/// Burn's own convolution of stride 1 with the kernel of one of ours that has no low frequency.
fn at_stride_1(conv: &burn_octconv::OctConv2d, x: Tensor<4>) -> Tensor<4> {
    let Conv2d { weight, .. } = conv.to_conv2d();
    let [outputs, inputs, kernel, _] = weight.dims();
    let pad = kernel / 2;
    let mut plain = burn::nn::conv::Conv2dConfig::new([inputs, outputs], [kernel; 2])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(false)
        .init(&weight.device());
    plain.weight = weight;
    plain.forward(x)
}

fn pooled(x: Tensor<4>) -> Tensor<4> {
    let options = AvgPoolOptions::new([2, 2])
        .with_count_include_pad(false)
        .with_ceil_mode(true);
    avg_pool2d(x, options)
}

#[test]
fn a_pooled_vanilla_block_is_burns_own_pooling_and_convolutions() {
    let device = Device::default();
    let config = narrow(Arch::OctResNet26, 0.0).with_stride(Stride::Pooled);
    let model = config.init(&device);
    let Block::Residual(block) = &model.layer2[0] else {
        panic!("a residual block");
    };
    let Residual {
        conv1,
        conv2,
        conv3,
        downsample,
        ..
    } = block;
    let [_, inputs, ..] = conv1.to_conv2d().weight.dims();
    for size in [[8, 6], [9, 7]] {
        let x = Tensor::random([2, inputs, size[0], size[1]], Distribution::Default, &device);
        // Fresh norms divide by √(1 + ε) and do nothing else.
        let norm = |x: Tensor<4>| x / (1.0f64 + 1e-5).sqrt();
        let y = relu(norm(at_stride_1(conv1, x.clone())));
        let y = relu(norm(at_stride_1(conv2, pooled(y))));
        let y = norm(at_stride_1(conv3.as_ref().unwrap(), y));
        let around = at_stride_1(&downsample.as_ref().unwrap().conv, pooled(x.clone()));
        let expected = relu(y + norm(around));
        let found = block.forward(x.into()).into_high();
        let distance = distance(found, expected);
        assert!(distance < 1e-5, "{size:?}: {distance}");
    }
}

#[test]
fn the_form_for_inference_takes_the_same_strides() {
    let device = Device::default();
    for (alpha, stride) in [(0.0, Stride::Pooled), (0.5, Stride::Strided)] {
        for arch in [Arch::OctResNet26, Arch::OctResNet20, Arch::OctMobileNetV1] {
            let model = narrow(arch, alpha).with_stride(stride).init(&device);
            let x = images([33, 45]);
            let expected = model.forward(x.clone());
            let distance = distance(model.fold_batch_norm().forward(x), expected);
            assert!(distance < 1e-4, "{arch} α={alpha}: {distance}");
        }
    }
}

#[test]
fn strides_are_named_in_json_and_refused_where_there_are_none() {
    let config = narrow(Arch::OctResNet26, 0.5);
    let before: OctResNetConfig = serde_json::from_str(r#"{"arch": "oct-resnet-26"}"#).unwrap();
    assert_eq!(before.stride, Stride::Auto);
    let json = serde_json::to_string(&config.clone().with_stride(Stride::Strided)).unwrap();
    assert!(json.contains(r#""stride":"strided""#), "{json}");
    let vanilla = config.with_stride(Stride::Pooled).vanilla();
    assert_eq!(vanilla.stride, Stride::Auto);
    let dense = narrow(Arch::OctDenseNet121, 0.5).with_stride(Stride::Pooled);
    let error = dense.validate().unwrap_err();
    assert!(matches!(error, ModelError::Stride { .. }), "{error}");
    let said = "oct-densenet-121 pools between its stages at any alpha: use stride 'auto', not 'pooled'";
    assert_eq!(error.to_string(), said);
    assert_eq!("both".parse::<Stride>().unwrap_err(), "there is no stride 'both': use auto, pooled or strided");
}
