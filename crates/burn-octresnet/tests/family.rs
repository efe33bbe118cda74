//! Every network of the family, built narrow and run on small images of odd size.

use std::{fs, path::Path};

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use burn_octresnet::{
    model::{Alpha, Arch, ModelError, OctNet, OctNetConfig, Stem},
    weights::Checkpoint,
};

/// As narrow as the architecture can be at this α.
fn narrow(arch: Arch, alpha: f64) -> OctNetConfig {
    let mut config = OctNetConfig::new(arch, 7);
    config.alpha = Alpha::Uniform(alpha);
    // The 32 groups of a ResNeXt must divide each frequency's share of the first stage's 128
    // channels.
    config.width = match (arch.name().contains("resnext"), alpha) {
        (true, 0.0) => 0.25,
        (true, 0.5) => 0.5,
        (true, _) => 1.0,
        _ => 0.1,
    };
    config
}

fn images(size: [usize; 2], device: &Device) -> Tensor<4> {
    Tensor::random([2, 3, size[0], size[1]], Distribution::Default, device)
}

fn is_finite(logits: Tensor<2>) -> bool {
    let logits = logits.into_data().try_to_vec::<f32>().unwrap();
    logits.iter().all(|x| x.is_finite())
}

#[test]
fn every_network_runs_at_odd_sizes_at_every_alpha() {
    let device = Device::default();
    for arch in Arch::ALL {
        for alpha in [0.0, 0.25, 0.5] {
            let model = narrow(arch, alpha).init(&device);
            // Vanilla DenseNets round the size down, to no pixels for images below 32.
            let size = if arch.is_small() { [11, 13] } else { [33, 45] };
            let logits = model.forward(images(size, &device));
            assert_eq!(logits.dims(), [2, 7], "{arch} α={alpha}");
            assert!(is_finite(logits), "{arch} α={alpha}");
        }
    }
}

#[test]
fn stages_end_at_the_resolutions_that_detectors_expect() {
    let device = Device::default();
    for arch in Arch::ALL {
        let config = narrow(arch, 0.5);
        let maps = config.init(&device);
        let size = if arch.is_small() { [11, 13] } else { [65, 77] };
        let maps = maps.forward_features(images(size, &device));
        let first = if arch.is_small() { 1 } else { 4 };
        assert_eq!(maps.len(), if arch.is_small() { 3 } else { 4 }, "{arch}");
        for (stage, map) in maps.iter().enumerate() {
            let expected = size.map(|s| s.div_ceil(first << stage));
            assert_eq!(map.size(), expected, "{arch} stage {}", stage + 1);
        }
        let last = maps.last().unwrap();
        assert!(last.low().is_none(), "{arch}");
        // MobileNet v2 splits only the inside of its blocks, v1 leaves the third stage early.
        let has_low = maps[0].low().is_some();
        assert_eq!(has_low, !arch.name().contains("mobilenet-v2"), "{arch}");
    }
}

#[test]
fn without_low_frequencies_every_network_is_plain() {
    let device = Device::default();
    for arch in Arch::ALL {
        let model = narrow(arch, 0.0).init(&device);
        let maps = model.forward_features(images([33, 45], &device));
        assert!(maps.iter().all(|map| map.low().is_none()), "{arch}");
    }
}

#[test]
fn each_block_kind_can_be_trained() {
    let device = Device::default().autodiff();
    for name in [
        "oct-resnet-26",
        "oct-resnet-26-v2",
        "oct-se-resnet-152-v1f",
        "oct-densenet-121",
        "oct-mobilenet-v1",
        "oct-mobilenet-v2",
        "oct-resnet-20",
        "oct-wide-resnet-28-10",
    ] {
        for alpha in [0.0, 0.5] {
            let config = narrow(name.parse().unwrap(), alpha);
            let model = config.init(&device);
            let loss = model.forward(images([33, 37], &device)).powf_scalar(2.0);
            let gradients = loss.mean().backward();
            let gradient = model.conv1.weight.val().grad(&gradients);
            let norm = gradient.expect("the stem has a gradient").abs().sum();
            let norm = norm.into_scalar::<f32>();
            assert!(norm > 0.0 && norm.is_finite(), "{name} α={alpha}: {norm}");
        }
    }
}

#[test]
fn every_block_may_start_as_the_identity() {
    let device = Device::default();
    for arch in Arch::ALL {
        let mut config = narrow(arch, 0.5);
        config.zero_init_residual = true;
        let model = config.init(&device);
        assert!(
            is_finite(model.forward(images([33, 33], &device))),
            "{arch}"
        );
    }
}

#[test]
fn a_stem_for_small_images_keeps_the_resolution() {
    let device = Device::default();
    for name in ["oct-resnet-26", "oct-resnet-26-v2", "oct-densenet-121"] {
        let mut config = narrow(name.parse().unwrap(), 0.25);
        config.stem = Stem::Small;
        let model = config.init(&device);
        let maps = model.forward_features(images([19, 13], &device));
        let sizes: Vec<_> = maps.iter().map(|map| map.size()).collect();
        assert_eq!(sizes, [[19, 13], [10, 7], [5, 4], [3, 2]], "{name}");
    }
}

#[test]
fn shares_may_differ_from_stage_to_stage() {
    let device = Device::default();
    for arch in Arch::ALL {
        let mut config = narrow(arch, 0.5);
        config.alpha = Alpha::PerStage(if arch.is_small() {
            [0.5, 0.25, 0.0]
        } else {
            [0.5, 0.0, 0.25]
        });
        if arch.name().contains("resnext") {
            config.width = 1.0;
        }
        let model = config.init(&device);
        assert!(
            is_finite(model.forward(images([33, 35], &device))),
            "{arch}"
        );
    }
    // All channels low, where the shape allows it; shares that do not divide evenly.
    for alpha in [1.0, 0.3] {
        for name in ["oct-resnet-26-v2", "oct-densenet-121", "oct-mobilenet-v1"] {
            let mut config = narrow(name.parse().unwrap(), alpha);
            config.width = 0.3;
            let model = config.init(&device);
            assert!(
                is_finite(model.forward(images([33, 35], &device))),
                "{name}"
            );
        }
    }
}

#[test]
fn a_model_gets_a_new_head() {
    let device = Device::default();
    let model: OctNet = narrow(Arch::OctResNet20, 0.5).init(&device);
    let x = images([16, 16], &device);
    let before = model.forward_features(x.clone());
    let model = model.with_classes(3).unwrap();
    assert_eq!(model.forward(x.clone()).dims(), [2, 3]);
    let after = model.forward_features(x);
    let (before, after) = (before[2].high().unwrap(), after[2].high().unwrap());
    before.to_data().assert_eq(&after.to_data(), true);
    assert_eq!(model.with_classes(0).unwrap_err(), ModelError::Classes(0));
}

#[test]
fn errors_name_the_numbers_in_one_line() {
    let error = |change: &dyn Fn(&mut OctNetConfig), name: &str| {
        let mut config = OctNetConfig::new(name.parse().unwrap(), 10);
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert_eq!(
            config.try_init(&Device::default()).unwrap_err().to_string(),
            error
        );
        assert!(!error.contains('\n'), "{error}");
        error
    };
    assert_eq!(
        error(&|c| c.alpha = Alpha::Uniform(0.125), "oct-resnext-50"),
        "oct-resnext-50, layer1.0.conv2: groups = 32 must divide the channels of every frequency \
         group, which are high in 112, low in 16, high out 112, low out 16: change groups, the \
         channels, or alpha"
    );
    assert_eq!(
        error(&|c| c.stem = Stem::Small, "oct-mobilenet-v2"),
        "oct-mobilenet-v2 has no stem 'small': use 'imagenet'"
    );
    assert_eq!(
        error(&|c| c.stem = Stem::Imagenet, "oct-resnet-20"),
        "oct-resnet-20 has no stem 'imagenet': use 'small'"
    );
    assert_eq!(
        error(
            &|c| c.alpha = Alpha::PerStage([0.5, 0.5, 0.25]),
            "oct-resnet-56"
        ),
        "oct-resnet-56 has three stages, and the last has alpha 0: the third share must be 0, not \
         0.25"
    );
    assert_eq!(
        error(&|c| c.alpha = Alpha::Uniform(1.5), "oct-densenet-121"),
        "alpha is 1.5: the share of low-frequency channels must lie in [0, 1]"
    );
    assert!(error(&|c| c.width = 0.0, "oct-resnet-50").starts_with("width is 0"));
    let wide = error(&|c| c.width = 65536.0, "oct-resnet-50");
    assert!(
        wide.starts_with("width is 65536") && wide.contains("at most 64"),
        "{wide}"
    );
    assert!(error(&|c| c.num_classes = 0, "oct-resnet-50").starts_with("num_classes is 0"));
}

#[test]
fn names_go_to_json_and_back() {
    for arch in Arch::ALL {
        let config = OctNetConfig::new(arch, 10);
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains(&format!("\"arch\":\"{arch}\"")), "{json}");
        assert_eq!(serde_json::from_str::<OctNetConfig>(&json).unwrap(), config);
    }
    let error = "resnet-50".parse::<Arch>().unwrap_err().to_string();
    assert!(
        error.contains("'resnet-50'") && error.contains("oct-resnet-50,"),
        "{error}"
    );
}

/// Files of each kind of block as an earlier version wrote them, with its logits beside them
/// (`fixtures/blocks/README.md`): a file that was written once is read for ever.
#[test]
fn files_of_every_kind_of_block_stay_readable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blocks");
    let cases = fs::read_to_string(folder.join("blocks.json")).unwrap();
    let cases: Vec<Written> = serde_json::from_str(&cases).unwrap();
    let device = Device::default();
    for Written {
        arch,
        width,
        logits,
    } in cases
    {
        let config = OctNetConfig::new(arch, 5).with_width(width);
        let checkpoint = Checkpoint::open(folder.join(format!("{arch}.bpk"))).unwrap();
        let model = checkpoint.load(&config, &device).unwrap();
        let pixels = (0..2 * 3 * 40 * 48).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0);
        let images = TensorData::new(pixels.collect::<Vec<f32>>(), [2, 3, 40, 48]);
        let images = Tensor::<4>::from_data(images, &device);
        let found = model
            .forward(images)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let largest = logits
            .iter()
            .fold(0.0f32, |most, logit| most.max(logit.abs()));
        for (found, expected) in found.iter().zip(&logits) {
            assert!(
                (found - expected).abs() < 1e-4 * largest,
                "{arch}: {found} for {expected}"
            );
        }
        assert_eq!(found.len(), logits.len());
    }
}

/// An entry of `fixtures/blocks/blocks.json`.
#[derive(serde::Deserialize)]
struct Written {
    arch: Arch,
    width: f64,
    logits: Vec<f32>,
}
