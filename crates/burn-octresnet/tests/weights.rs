//! Weights of other programs, read and written; the fixtures are made by
//! `fixtures/make_checkpoints.py` and `fixtures/make_names.py`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::{
    module::Module,
    store::{ModuleSnapshot, ModuleStore, SafetensorsStore, bridge},
    tensor::{Device, Distribution, Tensor, TensorData},
};
use burn_octresnet::{
    model::{Alpha, Arch, OctNet, OctNetConfig, Stem},
    weights::{Checkpoint, Format, Layout, WeightsError},
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights");
    fixtures.join(name)
}

fn tensors(path: &Path) -> BTreeMap<String, TensorData> {
    let mut store = SafetensorsStore::from_file(path);
    let tensors = store.get_all_tensors().unwrap().iter();
    let read = |(name, tensor): (&String, _)| (name.clone(), bridge::to_data(tensor).unwrap());
    tensors.map(read).collect()
}

/// The largest difference between two results.
fn distance(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar::<f32>()
}

/// The images that PyTorch was shown, and its logits.
fn seen(name: &str, device: &Device) -> (Tensor<4>, Tensor<2>) {
    let mut seen = tensors(&fixture(&format!("{name}-logits.safetensors")));
    let mut take = |name: &str| seen.remove(name).unwrap();
    (
        Tensor::from_data(take("images"), device),
        Tensor::from_data(take("logits"), device),
    )
}

#[test]
fn checkpoints_of_pytorch_give_its_logits() {
    let device = Device::default();
    for (file, logits, format, layout, alpha, tolerance) in [
        (
            "octave.pth",
            "octave",
            Format::PyTorch,
            Layout::Octave,
            0.5,
            1e-5,
        ),
        (
            "octave.safetensors",
            "octave",
            Format::Safetensors,
            Layout::Octave,
            0.5,
            1e-5,
        ),
        (
            "octave-25.safetensors",
            "octave-25",
            Format::Safetensors,
            Layout::Octave,
            0.25,
            1e-5,
        ),
        (
            "vanilla.pth",
            "vanilla",
            Format::PyTorch,
            Layout::Vanilla,
            0.0,
            1e-5,
        ),
        (
            "vanilla-old.pth",
            "vanilla",
            Format::PyTorch,
            Layout::Vanilla,
            0.0,
            1e-5,
        ),
        (
            "vanilla.safetensors",
            "vanilla",
            Format::Safetensors,
            Layout::Vanilla,
            0.0,
            1e-5,
        ),
        // Half precision has 11 bits.
        (
            "vanilla-half.pt",
            "vanilla",
            Format::PyTorch,
            Layout::Vanilla,
            0.0,
            2e-2,
        ),
    ] {
        let checkpoint = Checkpoint::open(fixture(file)).unwrap();
        assert_eq!(
            (checkpoint.format(), checkpoint.layout()),
            (format, layout),
            "{file}"
        );
        let config = checkpoint.detect().unwrap();
        assert_eq!(config.arch, Arch::OctResNet26, "{file}");
        assert_eq!(config.alpha, Alpha::Uniform(alpha), "{file}");
        assert_eq!(config.num_classes, 5);
        let model = checkpoint.load(&config, &device).unwrap();
        let (images, expected) = seen(logits, &device);
        let scale = expected.clone().abs().max().into_scalar::<f32>();
        let off = distance(model.forward(images), expected);
        println!("{file}: {off:.1e} of {scale:.2}");
        assert!(
            off <= tolerance * scale.max(1.0),
            "{file}: {off} of {scale}"
        );
    }
}

#[test]
fn names_and_shapes_are_those_of_torchvision_and_timm() {
    let text = std::fs::read_to_string(fixture("names.txt")).unwrap();
    for (section, name) in text.split("# ").skip(1).zip(["50", "next50", "26"]) {
        let name = match name {
            "next50" => "oct-resnext-50".to_string(),
            depth => format!("oct-resnet-{depth}"),
        };
        let mut config = OctNetConfig::new(name.parse().unwrap(), 1000);
        config.alpha = Alpha::Uniform(0.0);
        // Written, since files are in the layout.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vanilla.safetensors");
        let model = config.init(&Device::default());
        model.save_weights(&config, &path, true).unwrap();
        let mut written: Vec<String> = tensors(&path)
            .iter()
            .map(|(name, data)| {
                let shape = data.shape().iter().map(|extent| format!(" {extent}"));
                format!("{name}{}", shape.collect::<String>())
            })
            .collect();
        let mut theirs: Vec<&str> = section.lines().skip(1).collect();
        written.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(written, theirs, "{name}");
    }
}

/// As narrow as the architecture can be at every α.
fn narrow(arch: Arch, alpha: f64) -> OctNetConfig {
    let mut config = OctNetConfig::new(arch, 7);
    config.alpha = Alpha::Uniform(alpha);
    config.width = match arch.name() {
        name if name.contains("resnext") => 0.5,
        _ => 0.125,
    };
    config
}

/// Three frequencies, one stage unlike the others.
fn three() -> Alpha {
    Alpha::parse_shares("0.5,0.25,0.25;0.25,0.5,0.25;1").unwrap()
}

fn images(device: &Device) -> Tensor<4> {
    device.seed(5);
    Tensor::random([2, 3, 33, 45], Distribution::Normal(0.0, 1.0), device)
}

#[track_caller]
fn assert_same(a: &OctNet, b: &OctNet, what: &str) {
    let read = |model: &OctNet| -> BTreeMap<String, TensorData> {
        let tensors = model.collect(None, None, true).into_iter();
        tensors
            .map(|tensor| (tensor.name.clone(), bridge::to_data(&tensor).unwrap()))
            .collect()
    };
    let (a, b) = (read(a), read(b));
    assert!(a.keys().eq(b.keys()), "{what}");
    for (name, data) in &a {
        assert_eq!(data, &b[name], "{what}, {name}");
    }
}

#[test]
fn every_network_survives_every_format_and_is_told_from_its_weights() {
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    for arch in Arch::ALL {
        for alpha in [0.0, 0.5] {
            let config = narrow(arch, alpha);
            let model = config.init(&device);
            for ending in ["bpk", "safetensors"] {
                let path = folder.path().join(format!("model.{ending}"));
                model.save_weights(&config, &path, false).unwrap();
                let checkpoint = Checkpoint::open(&path).unwrap();
                let found = checkpoint.detect().unwrap();
                let what = format!("{arch} at {alpha}, {ending}");
                // Narrowed, MobileNets of one version are the same network.
                if !arch.name().contains("mobilenet") {
                    assert_eq!((found.arch, found.width), (arch, config.width), "{what}");
                }
                assert_eq!(
                    (found.alpha, found.stem),
                    (config.alpha, config.stem),
                    "{what}"
                );
                assert_same(&checkpoint.load(&found, &device).unwrap(), &model, &what);
            }
        }
    }
}

#[test]
fn half_precision_halves_the_file_and_keeps_eleven_bits() {
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    let mut config = narrow(Arch::OctResNet26, 0.25);
    config.width = 0.25;
    let model = config.init(&device);
    // Once, since all tests share the device's random numbers.
    let images = images(&device);
    let expected = model.forward(images.clone());
    for ending in ["bpk", "safetensors"] {
        let [whole, half] = [false, true].map(|half| {
            let path = folder.path().join(format!("{half}.{ending}"));
            model.save_weights(&config, &path, half).unwrap();
            path
        });
        let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
        let ratio = size(&half) / size(&whole);
        assert!((0.5..0.56).contains(&ratio), "{ending}: {ratio}");
        let checkpoint = Checkpoint::open(&half).unwrap();
        let loaded = checkpoint
            .load(&checkpoint.detect().unwrap(), &device)
            .unwrap();
        let off = distance(loaded.forward(images.clone()), expected.clone());
        let scale = expected.clone().abs().max().into_scalar::<f32>();
        assert!(off > 0.0 && off < 0.02 * scale, "{off} of {scale}");
    }
}

#[test]
fn a_change_of_alpha_keeps_every_parameter() {
    let device = Device::default();
    for arch in Arch::ALL {
        let vanilla = narrow(arch, 0.0);
        let model = vanilla.init(&device);
        let per_stage = Alpha::PerStage([0.25, 0.5, 0.0]);
        for alpha in [Alpha::Uniform(0.5), per_stage, three()] {
            let config = vanilla.clone().with_alpha(alpha);
            if alpha != Alpha::Uniform(0.5) && config.validate().is_err() {
                continue;
            }
            let octave = model.with_alpha(&vanilla, alpha, &device).unwrap();
            assert_eq!(octave.num_params(), model.num_params(), "{arch}");
            let back = octave.with_alpha(&config, Alpha::Uniform(0.0), &device);
            let back = back.unwrap();
            assert_same(&back, &model, arch.name());
        }
    }
}

/// On maps without detail the two frequencies see the same, so a network that looks at single
/// pixels computes the same at any α. That pins down that every channel is where it belongs: with
/// the centre alone of each kernel left, only the resolution is different.
#[test]
fn without_detail_the_converted_network_is_the_same() {
    let device = Device::default();
    for arch in Arch::ALL {
        let vanilla = narrow(arch, 0.0);
        let model = pointwise(vanilla.init(&device), &device);
        let size = if arch.is_small() { 32 } else { 64 };
        let pixel = Tensor::random([1, 3, 1, 1], Distribution::Normal(0.0, 1.0), &device);
        let flat: Tensor<4> = pixel.repeat(&[1, 1, size, size]);
        let expected = model.forward(flat.clone());
        let spread = expected.clone().abs().max().into_scalar::<f32>();
        assert!(spread > 1e-3, "{arch}: {spread}");
        for alpha in [Alpha::Uniform(0.5), three()] {
            if vanilla.clone().with_alpha(alpha).validate().is_err() {
                assert_ne!(alpha, Alpha::Uniform(0.5), "{arch}");
                continue;
            }
            let octave = model.with_alpha(&vanilla, alpha, &device).unwrap();
            let off = distance(octave.forward(flat.clone()), expected.clone());
            assert!(off <= 1e-4 * spread, "{arch} at {alpha}: {off} of {spread}");
        }
    }
}

/// Leaves nothing of each kernel but its centre, and gives every norm statistics of its own.
fn pointwise(model: OctNet, device: &Device) -> OctNet {
    device.seed(7);
    let mut model = model;
    let tensors = model.collect(None, None, true).into_iter().map(|tensor| {
        let data = bridge::to_data(&tensor).unwrap();
        let name = tensor.name.clone();
        let data = match *data.shape().as_slice() {
            [out, input, height, width] if height * width > 1 => {
                let centre = Tensor::<4>::from_data(data, device);
                let centre = centre.narrow(2, height / 2, 1).narrow(3, width / 2, 1);
                let zeros = Tensor::zeros([out, input, height, width], device);
                let place = [
                    0..out,
                    0..input,
                    height / 2..height / 2 + 1,
                    width / 2..width / 2 + 1,
                ];
                zeros.slice_assign(place, centre).into_data()
            }
            [channels] => {
                let range = match name.ends_with("mean") || name.ends_with("beta") {
                    true => Distribution::Uniform(-0.5, 0.5),
                    false => Distribution::Uniform(0.5, 1.5),
                };
                Tensor::<1>::random([channels], range, device).into_data()
            }
            _ => data,
        };
        bridge::from_data(data, name, None)
    });
    let applied = model.apply(tensors.collect(), None, None, true);
    assert!(
        applied.missing.is_empty() && applied.errors.is_empty(),
        "{applied}"
    );
    model
}

#[test]
fn every_mismatch_is_listed() {
    let device = Device::default();
    let checkpoint = Checkpoint::open(fixture("octave.safetensors")).unwrap();
    let mut config = checkpoint.detect().unwrap();
    config.num_classes = 9;
    config.arch = Arch::OctResNet50;
    let error = checkpoint.load(&config, &device).unwrap_err();
    let message = error.to_string();
    let WeightsError::Mismatch { mismatches, .. } = error else {
        panic!("{message}");
    };
    // Blocks 2 of four stages and more; stage 4 has no low frequency.
    assert!(mismatches.missing.len() > 100);
    assert!(mismatches.unexpected.is_empty(), "{mismatches}");
    let wrong: Vec<_> = mismatches.wrong.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(wrong, ["fc.weight", "fc.bias"]);
    assert_eq!(
        mismatches.wrong[1].to_string(),
        "fc.bias is F32 [5], not a float of [9]"
    );
    assert!(
        !message.contains('\n') && message.contains("oct-resnet-50"),
        "{message}"
    );
    assert!(
        message.contains("missing (layer1.2.conv1.conv.conv_h2h.weight"),
        "{message}"
    );

    config = checkpoint.detect().unwrap();
    config.alpha = Alpha::Uniform(0.0);
    let error = checkpoint.load(&config, &device).unwrap_err();
    let WeightsError::Mismatch { mismatches, .. } = error else {
        panic!("{error}");
    };
    let low = |name: &String| name.contains("l2") || name.contains("2l") || name.contains("bn_l");
    assert!(mismatches.unexpected.iter().all(low) && !mismatches.unexpected.is_empty());
}

#[test]
fn shares_by_stage_and_small_stems_are_found() {
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bpk");
    let mut config = narrow(Arch::OctResNet26V2, 0.0);
    config.alpha = Alpha::PerStage([0.5, 0.25, 0.125]);
    config.stem = Stem::Small;
    config.width = 0.3;
    let model = config.init(&device);
    model.save_weights(&config, &path, false).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let found = checkpoint.detect().unwrap();
    assert_eq!((found.arch, found.stem), (config.arch, config.stem));
    let loaded = checkpoint.load(&found, &device).unwrap();
    assert_same(&loaded, &model, "by stage");
}

#[test]
fn files_that_cannot_be_written_or_are_of_no_network_are_errors() {
    let device = Device::default();
    let config = narrow(Arch::OctResNet20, 0.5);
    let model = config.init(&device);
    let error = |path: &Path| {
        model
            .save_weights(&config, path, false)
            .unwrap_err()
            .to_string()
    };
    assert!(error(Path::new("model.onnx")).contains(".safetensors or .bpk"));
    assert!(
        error(Path::new("/nowhere/model.bpk")).starts_with("cannot write `/nowhere/model.bpk`")
    );

    let none = Checkpoint::open(fixture("octave-logits.safetensors")).unwrap();
    let error = none.detect().unwrap_err().to_string();
    assert!(error.contains("--arch"), "{error}");
    let error = Checkpoint::open(fixture("names.txt"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("neither PyTorch"), "{error}");
    let error = Checkpoint::open("nowhere.pth").unwrap_err().to_string();
    assert!(error.starts_with("cannot open `nowhere.pth`"), "{error}");
}

/// Whoever may read one may read the other, and the system's reason is said once.
#[cfg(unix)]
#[test]
fn files_are_written_as_others_are() {
    use std::{fs, os::unix::fs::PermissionsExt};

    let config = narrow(Arch::OctResNet20, 0.5);
    let model = config.init(&Device::default());
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    for name in ["model.bpk", "model.safetensors"] {
        let path = folder.path().join(name);
        model.save_weights(&config, &path, false).unwrap();
        assert_eq!(mode(&path), mode(&other), "{name}");
        let error = model.save_weights(&config, other.join(name), false);
        let error = error.unwrap_err().to_string();
        assert_eq!(error.matches("os error").count(), 1, "{error}");
        // The name of a folder.
        let taken = folder.path().join("taken").join(name);
        fs::create_dir_all(&taken).unwrap();
        let error = model.save_weights(&config, &taken, false).unwrap_err();
        assert!(error.to_string().ends_with("is a directory"), "{error}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
}
