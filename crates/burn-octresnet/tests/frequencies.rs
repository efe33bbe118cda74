//! Networks that differ from the paper's in how they take strides, and in how many frequencies.

use burn::{
    module::Module,
    nn::PaddingConfig2d,
    nn::conv::Conv2d,
    tensor::{
        Device, Distribution, Tensor, activation::relu, module::avg_pool2d, ops::AvgPoolOptions,
    },
};
use burn_octconv::{MultiOctConv2d, OctConv2d, OctFeatures, relative_cost_of_shares};
use burn_octresnet::{
    model::{
        Alpha, Arch, Block, ModelError, OctNet, OctNetConfig, Order, Residual, ResidualConfig,
        Shape, Shares, Shortcut, Stride, StrideAt,
    },
    weights::Checkpoint,
};

fn images(size: [usize; 2]) -> Tensor<4> {
    Tensor::random(
        [2, 3, size[0], size[1]],
        Distribution::Default,
        &Device::default(),
    )
}

fn narrow(arch: Arch, alpha: f64) -> OctNetConfig {
    let config = OctNetConfig::new(arch, 7).with_alpha(alpha);
    let resnext = arch.name().contains("resnext");
    config.with_width(if resnext { 0.5 } else { 0.1 })
}

/// The largest difference, relative to the largest value.
fn distance<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    let largest = expected.clone().abs().max().into_scalar::<f32>();
    (found - expected).abs().max().into_scalar::<f32>() / largest
}

fn second_map(model: &OctNet, x: &Tensor<4>) -> Tensor<4> {
    model.forward_maps(x.clone())[1].clone().merge()
}

/// Images, and a network of random weights whose second map is not all zeros: some narrow ones are dead,
/// and tell nothing apart.
fn alive(config: &OctNetConfig, size: [usize; 2]) -> (Tensor<4>, OctNet) {
    let tries = std::iter::repeat_with(|| (images(size), config.init(&Device::default())));
    let alive = |(x, model): &(Tensor<4>, OctNet)| {
        second_map(model, x).abs().max().into_scalar::<f32>() != 0.0
    };
    tries.take(20).find(alive).expect("a network that is alive")
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
            let (x, model) = alive(&usual, size);
            let [usual, other, same] = [usual, other, same].map(|config| {
                let model = model.with_alpha(&config, alpha.into(), &device).unwrap();
                second_map(&model, &x)
            });
            let changed = distance(other, usual.clone());
            assert!(changed > 3e-5, "{arch} α={alpha}: {changed}");
            same.into_data().assert_eq(&usual.into_data(), true);
        }
    }
}

/// Burn's own convolution of stride 1 with the kernel of one of ours that has no low frequency.
fn at_stride_1(conv: &OctConv2d, x: Tensor<4>) -> Tensor<4> {
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
        let x = Tensor::random(
            [2, inputs, size[0], size[1]],
            Distribution::Default,
            &device,
        );
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
    let before: OctNetConfig = serde_json::from_str(r#"{"arch": "oct-resnet-26"}"#).unwrap();
    assert_eq!(before.stride, Stride::Auto);
    let json = serde_json::to_string(&config.clone().with_stride(Stride::Strided)).unwrap();
    assert!(json.contains(r#""stride":"strided""#), "{json}");
    let vanilla = config.with_stride(Stride::Pooled).vanilla();
    assert_eq!(vanilla.stride, Stride::Auto);
    let dense = narrow(Arch::OctDenseNet121, 0.5).with_stride(Stride::Pooled);
    let error = dense.validate().unwrap_err();
    assert!(matches!(error, ModelError::Stride { .. }), "{error}");
    let said =
        "oct-densenet-121 pools between its stages at any alpha: use stride 'auto', not 'pooled'";
    assert_eq!(error.to_string(), said);
    assert_eq!(
        "both".parse::<Stride>().unwrap_err(),
        "there is no stride 'both': use auto, pooled or strided"
    );
}

const THREE: [f64; 3] = [0.5, 0.25, 0.25];

#[test]
fn two_shares_are_alpha() {
    let config = OctNetConfig::new(Arch::OctResNet26, 10);
    assert_eq!(
        config.clone().with_shares([0.75, 0.25]),
        config.clone().with_alpha(0.25)
    );
    assert_eq!(
        config.clone().with_shares([1.0]),
        config.clone().with_alpha(0.0)
    );
    let stages = Alpha::parse_shares("0.5,0.5;0.75,0.25;1").unwrap();
    assert_eq!(stages, Alpha::PerStage([0.5, 0.25, 0.0]));
}

/// A block of the kind for any number of frequencies, at two of them, with the kernels of the other.
#[test]
fn a_block_of_the_kind_for_more_frequencies_is_the_one_for_two() {
    let device = Device::default();
    for (order, shape) in [
        (Order::PostActivation, Shape::Bottleneck),
        (Order::PreActivation, Shape::Basic),
    ] {
        let config = ResidualConfig {
            shape,
            order,
            channels: [8, 8, 16],
            stride: 2,
            stride_at: StrideAt::Second,
            groups: 1,
            shares_in: Shares::of_alpha(0.5),
            shares_out: Shares::of_alpha(0.25),
            squeeze_excite: false,
            plain_norm: false,
            shortcut: Shortcut::Projection,
            strided: false,
            zero_init: false,
        };
        let two: Residual = config.try_init(&device).unwrap();
        let mut many: Residual<MultiOctConv2d> = config.try_init(&device).unwrap();
        let copy = |from: &OctConv2d, to: &MultiOctConv2d| {
            let weight = from.to_conv2d().weight.val();
            to.clone().with_vanilla(weight, None).unwrap()
        };
        many.conv1 = copy(&two.conv1, &many.conv1);
        many.conv2 = copy(&two.conv2, &many.conv2);
        many.conv3 = two.conv3.as_ref().zip(many.conv3).map(|(a, b)| copy(a, &b));
        let around = many.downsample.as_mut().unwrap();
        around.conv = copy(&two.downsample.as_ref().unwrap().conv, &around.conv);

        let tracked = device.clone().autodiff();
        let two = two.to_device(&tracked).train();
        let many = many.to_device(&tracked).train();
        let x = Tensor::<4>::random([2, 8, 9, 7], Distribution::Default, &tracked);
        let run = |forward: &dyn Fn(OctFeatures) -> Tensor<4>| {
            let x = x.clone().require_grad();
            let y = forward(OctFeatures::split(x.clone(), 0.5));
            let gradients = (y.clone() * y.clone().sin()).sum().backward();
            (y.inner(), x.grad(&gradients).unwrap())
        };
        let expected = run(&|x| two.forward(x).merge());
        let found = run(&|x| many.forward(x.into()).merge());
        assert!(distance(found.0, expected.0) < 1e-5);
        assert!(distance(found.1, expected.1) < 1e-4);
    }
}

#[test]
fn networks_of_three_frequencies_run_train_and_cost_less() {
    let device = Device::default().autodiff();
    for arch in [
        Arch::OctResNet26,
        Arch::OctResNet26V2,
        Arch::OctSeResNet50V2,
        Arch::OctResNet20,
        Arch::OctWideResNet28x10,
    ] {
        let narrow = |alpha: f64| narrow(arch, alpha).with_width(0.25);
        let config = narrow(0.5).with_shares(THREE);
        let model = config.init(&device);
        let size = if arch.is_small() { [13, 11] } else { [45, 33] };
        let images = Tensor::random([2, 3, size[0], size[1]], Distribution::Default, &device);
        let maps = model.forward_maps(images.clone());
        let levels: Vec<usize> = maps.iter().map(|maps| maps.channels().len()).collect();
        let expected: &[usize] = if arch.is_small() {
            &[3, 3, 1]
        } else {
            &[3, 3, 3, 1]
        };
        assert_eq!(levels, expected, "{arch}");

        let loss = model.forward(images).powf_scalar(2.0).mean();
        let gradients = loss.backward();
        let stem = model.conv1.weight.val().grad(&gradients).unwrap();
        let norm = stem.abs().sum().into_scalar::<f32>();
        assert!(norm > 0.0 && norm.is_finite(), "{arch}: {norm}");

        let costs = [0.0, 0.5].map(|alpha| narrow(alpha).cost(size).unwrap());
        let cost = config.cost(size).unwrap();
        assert_eq!(cost.params, costs[0].params, "{arch}");
        assert!(cost.macs.total() < costs[1].macs.total(), "{arch}");
    }
}

#[test]
fn a_layer_inside_costs_what_the_formula_says() {
    let config = OctNetConfig::new(Arch::OctResNet26, 10).with_shares(THREE);
    let macs = |config: &OctNetConfig| {
        let layers = config.layer_costs([224, 224]).unwrap();
        let layer = layers.iter().find(|layer| layer.name == "layer1.1.conv2");
        layer.unwrap().cost.macs.total() as f64
    };
    let (share, _) = relative_cost_of_shares(&THREE, 2);
    assert_eq!(macs(&config) / macs(&config.vanilla()), share);
}

#[test]
fn shares_are_written_read_and_told_from_weights() {
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    let stages = Alpha::parse_shares("0.5,0.25,0.25;0.5,0.5;0.75,0.25").unwrap();
    for (arch, alpha) in [
        (Arch::OctResNet26, stages),
        (
            Arch::OctResNet20,
            Alpha::parse_shares("0.25,0.5,0.25").unwrap(),
        ),
    ] {
        let config = OctNetConfig::new(arch, 5)
            .with_alpha(alpha)
            .with_width(0.25);
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains(r#""alpha":{"shares":["#), "{json}");
        assert_eq!(serde_json::from_str::<OctNetConfig>(&json).unwrap(), config);
        let model = config.init(&device);
        let x = images([37, 33]);
        let expected = model.forward(x.clone()).into_data();
        for ending in ["bpk", "safetensors"] {
            let path = folder.path().join(format!("{arch}.{ending}"));
            model.save_weights(&config, &path, false).unwrap();
            let checkpoint = Checkpoint::open(&path).unwrap();
            let found = checkpoint.detect().unwrap();
            assert_eq!((found.arch, found.alpha), (arch, alpha), "{ending}");
            let loaded = checkpoint.load(&found, &device).unwrap();
            assert_eq!(loaded.forward(x.clone()).into_data(), expected);
        }
    }
}

#[test]
fn what_cannot_have_three_frequencies_says_so() {
    for arch in [
        Arch::OctMobileNetV1,
        Arch::OctMobileNetV2,
        Arch::OctDenseNet121,
    ] {
        let config = narrow(arch, 0.5).with_shares(THREE);
        let error = config.validate().unwrap_err().to_string();
        let said =
            format!("{arch} has blocks of two frequencies only, as all MobileNets and DenseNets");
        assert!(
            error.starts_with(&said) && error.contains("shares 0.5,0.25,0.25"),
            "{error}"
        );
    }
    let error = |shares: &str| {
        let alpha = Alpha::parse_shares(shares)?;
        let config = OctNetConfig::new(Arch::OctResNet20, 10).with_alpha(alpha);
        config.validate().map_err(|error| error.to_string())
    };
    for (shares, part) in [
        ("half", "shares 'half' are not numbers"),
        ("0.5,0.5;0.5,0.5", "those of 2 stages"),
        ("0.2,0.2,0.2,0.1,0.1,0.1,0.1", "give 1 to 6 of them"),
        ("0.5,0.25", "their sum must be 1"),
        ("0.5,0.4,0.2", "their sum must be 1"),
        (
            "0.5,0.5;0.5,0.5;0.5,0.25,0.25",
            "the third share must be 0, not shares 0.5,0.25,0.25",
        ),
    ] {
        let error = error(shares).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}
