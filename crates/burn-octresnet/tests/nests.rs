//! Checkpoints as programs nest them: under keys, in wrappers, beside other things, with parts missing.

#[path = "support/pytorch_file.rs"]
mod pytorch_file;

use std::{fs, path::Path};

use burn::{
    store::{ModuleSnapshot, ModuleStore, SafetensorsStore, bridge},
    tensor::{Device, TensorData},
};
use burn_octresnet::{
    model::{Alpha, Arch, OctNet, OctNetConfig},
    weights::{Checkpoint, WeightsError},
};
use pytorch_file::{Saved, pth};
use tempfile::TempDir;

type State = Vec<(String, Saved)>;

/// The tensors of the small vanilla ResNet-26 of `make_checkpoints.py`, as PyTorch calls them.
fn state() -> State {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights/vanilla.safetensors"))
}

fn read(path: &Path) -> State {
    let mut store = SafetensorsStore::from_file(path);
    let tensors = store.get_all_tensors().unwrap().iter();
    let read = tensors.map(|(name, tensor)| {
        let data: TensorData = bridge::to_data(tensor).unwrap();
        let values = data.iter::<f32>().collect();
        (name.clone(), Saved::Tensor(data.shape().to_vec(), values))
    });
    read.collect()
}

fn tensor(shape: &[usize]) -> Saved {
    Saved::Tensor(shape.to_vec(), vec![1.0; shape.iter().product()])
}

fn prefixed(state: State, prefix: &str) -> State {
    let state = state.into_iter();
    state
        .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
        .collect()
}

fn with(mut state: State, name: &str, tensor: Saved) -> State {
    state.retain(|(other, _)| other != name);
    state.push((name.into(), tensor));
    state
}

fn without(mut state: State, start: &str) -> State {
    let before = state.len();
    state.retain(|(name, _)| !name.starts_with(start));
    assert!(state.len() < before);
    state
}

/// The same network with another bias, to know it by.
fn marked(mark: f32) -> Saved {
    Saved::Dict(with(
        state(),
        "fc.bias",
        Saved::Tensor(vec![5], vec![mark; 5]),
    ))
}

fn dict(entries: &[(&str, Saved)]) -> Saved {
    let entries = entries.iter();
    Saved::Dict(
        entries
            .map(|(key, value)| (key.to_string(), value.clone()))
            .collect(),
    )
}

struct Opened {
    checkpoint: Result<Checkpoint, WeightsError>,
    _folder: TempDir,
}

fn open(saved: &Saved) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    fs::write(&path, pth(saved)).unwrap();
    Opened {
        checkpoint: Checkpoint::open(&path),
        _folder: folder,
    }
}

fn vanilla_26() -> OctNetConfig {
    let mut config = OctNetConfig::new(Arch::OctResNet26, 5).with_width(1.0 / 32.0);
    config.alpha = Alpha::Uniform(0.0);
    config
}

/// Finds the network and loads it.
fn load(checkpoint: &Checkpoint) -> Result<OctNet, WeightsError> {
    let config = checkpoint.detect()?;
    assert_eq!(config, vanilla_26());
    checkpoint.load(&config, &Device::default())
}

fn bias(model: &OctNet) -> Vec<f32> {
    let bias = model.fc.bias.as_ref().unwrap();
    bias.val().into_data().iter::<f32>().collect()
}

#[test]
fn whatever_stands_before_the_names_is_removed() {
    let all = || Saved::Dict(state());
    let flat = |prefix: &str| Saved::Dict(prefixed(state(), prefix));
    let momentum = dict(&[("0", tensor(&[2, 3, 7, 7])), ("1", tensor(&[2]))]);
    let files = [
        ("bare", all()),
        ("net", all().under("net")),
        ("weights", all().under("weights")),
        ("params", all().under("params")),
        ("deep", all().under("a").under("b").under("c").under("d")),
        ("odd", all().under("the model, v1.0 (best)")),
        (
            "a mean model",
            dict(&[
                ("epoch", Saved::Int(3)),
                ("model_ema", all().under("module")),
            ]),
        ),
        (
            "state_dict of DataParallel",
            dict(&[
                ("state_dict", flat("module.")),
                ("optimizer", dict(&[("state", momentum.clone())])),
                ("best_acc1", tensor(&[])),
            ]),
        ),
        ("module.", flat("module.")),
        ("model.encoder.", flat("model.encoder.")),
        ("_orig_mod.", flat("_orig_mod.")),
        ("compiled", flat("module._orig_mod.model.")),
        ("backbone.", flat("backbone.")),
        ("wrapped inside", {
            let wrapped = state().into_iter().map(|(name, tensor)| {
                let name = name.replace("layer1.", "layer1._orig_mod.module.");
                (
                    name.replace(".0.", ".0._checkpoint_wrapped_module."),
                    tensor,
                )
            });
            Saved::Dict(prefixed(wrapped.collect(), "module."))
        }),
        ("with a head beside", {
            let mut state = prefixed(state(), "encoder.");
            state.push(("projector.0.weight".into(), tensor(&[8, 8])));
            Saved::Dict(state)
        }),
    ];
    for (name, file) in files {
        let opened = open(&file);
        let loaded = load(opened.checkpoint.as_ref().unwrap());
        if let Err(error) = loaded {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn tensors_beside_the_network_are_left_out_and_named() {
    for (name, shape) in [
        ("module.foo", &[3, 3][..]),
        ("loss.weight", &[7]),
        ("criterion.centers", &[4, 8]),
        ("fc_aux.weight", &[5, 64]),
        ("mean", &[1, 3, 1, 1]),
        ("bn1.num_batches_tracked", &[]),
        ("layer1.0.conv1.total_ops", &[1]),
        ("total_params", &[1]),
        ("n_averaged", &[]),
    ] {
        for wrap in ["", "state_dict."] {
            let opened = open(&Saved::Dict(prefixed(
                with(state(), name, tensor(shape)),
                wrap,
            )));
            let checkpoint = opened.checkpoint.unwrap();
            if let Err(error) = load(&checkpoint) {
                panic!("{name}: {error}");
            }
            let (_, notes) = checkpoint.start(&vanilla_26(), &Device::default()).unwrap();
            // Counters of batches are a part of every norm of PyTorch.
            let said = !name.ends_with("num_batches_tracked");
            assert_eq!(
                notes.iter().any(|note| note.contains(name)),
                said,
                "{notes:?}"
            );
        }
    }
    // Beside the key.
    let beside = dict(&[("model", Saved::Dict(state())), ("queue", tensor(&[4, 4]))]);
    let checkpoint = open(&beside).checkpoint.unwrap();
    assert_eq!(checkpoint.detect().unwrap(), vanilla_26());
    let opened = open(&beside);
    let checkpoint = opened.checkpoint.unwrap();
    let (_, notes) = checkpoint.start(&vanilla_26(), &Device::default()).unwrap();
    assert!(notes[0].contains("queue"), "{notes:?}");
}

#[test]
fn layers_too_many_or_too_few_are_errors() {
    for wrap in ["", "module.", "net.encoder."] {
        for missing in ["layer2.0.bn1.weight", "conv1.weight", "layer4.1.", "bn1."] {
            let opened = open(&Saved::Dict(prefixed(without(state(), missing), wrap)));
            let checkpoint = opened.checkpoint.unwrap();
            assert!(checkpoint.detect().is_err());
            let error = checkpoint.load(&vanilla_26(), &Device::default());
            let WeightsError::Mismatch { mismatches, .. } = error.unwrap_err() else {
                panic!("{wrap}{missing}");
            };
            assert!(
                mismatches
                    .missing
                    .iter()
                    .all(|name| name.starts_with(missing))
            );
            assert!(!mismatches.missing.is_empty() && mismatches.unexpected.is_empty());
        }
        for (more, shape) in [
            ("layer1.2.conv1.weight", &[2, 8, 1, 1][..]),
            ("layer1.0.se.fc1.weight", &[2, 8, 1, 1]),
            ("layer1.0.conv1.bias", &[2]),
            ("layer5.0.bn1.weight", &[2]),
        ] {
            let state = with(state(), more, tensor(shape));
            let opened = open(&Saved::Dict(prefixed(state, wrap)));
            let checkpoint = opened.checkpoint.unwrap();
            assert!(checkpoint.detect().is_err(), "{more}");
            let error = checkpoint.load(&vanilla_26(), &Device::default());
            let WeightsError::Mismatch { mismatches, .. } = error.unwrap_err() else {
                panic!("{more}");
            };
            assert_eq!(mismatches.unexpected, [more]);
        }
    }
}

#[test]
fn between_two_networks_nothing_is_guessed() {
    // Averages are taken only if asked for.
    for average in [
        "model_ema",
        "ema",
        "swa_model",
        "averaged.module",
        "state_dict_ema",
    ] {
        let mut file = dict(&[("model", marked(1.0))]);
        let Saved::Dict(entries) = &mut file else {
            unreachable!()
        };
        let nest = average
            .rsplit('.')
            .fold(marked(2.0), |saved, key| saved.under(key));
        let Saved::Dict(nest) = nest else {
            unreachable!()
        };
        entries.extend(nest);
        let opened = open(&file);
        let checkpoint = opened.checkpoint.unwrap();
        assert_eq!(bias(&load(&checkpoint).unwrap())[0], 1.0, "{average}");
        let (_, notes) = checkpoint.start(&vanilla_26(), &Device::default()).unwrap();
        let said = notes[0].contains("`model`") && notes[0].contains(&format!("`{average}`"));
        assert!(said, "{notes:?}");
        let first = average.split('.').next().unwrap();
        let average = checkpoint.with_key(first).unwrap();
        assert_eq!(bias(&load(&average).unwrap())[0], 2.0);
    }
    let opened = open(&dict(&[("one", marked(1.0)), ("two", marked(2.0))]));
    let checkpoint = opened.checkpoint.unwrap();
    let device = Device::default();
    for error in [
        checkpoint.detect().unwrap_err(),
        checkpoint.load(&vanilla_26(), &device).unwrap_err(),
        checkpoint.start(&vanilla_26(), &device).unwrap_err(),
    ] {
        let error = error.to_string();
        let parts = ["`one`", "`two`", "--key"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    for (key, mark) in [("one", 1.0), ("two", 2.0), ("two.", 2.0)] {
        let checkpoint = checkpoint.clone().with_key(key).unwrap();
        assert_eq!(bias(&load(&checkpoint).unwrap())[0], mark);
    }
    let error = checkpoint.with_key("three").unwrap_err().to_string();
    let parts = ["`three`", "`one`", "`two`"];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn of_several_networks_the_one_that_fits_is_taken() {
    let large = prefixed(state(), "").into_iter().map(|(name, tensor)| {
        let Saved::Tensor(mut shape, _) = tensor else {
            unreachable!()
        };
        // Another number of classes.
        if name.starts_with("fc.") {
            shape[0] = 9;
        }
        let values = vec![1.0; shape.iter().product()];
        (name, Saved::Tensor(shape, values))
    });
    let large = Saved::Dict(large.collect());
    let broken = Saved::Dict(without(state(), "layer2."));
    let opened = open(&dict(&[
        ("student", marked(1.0)),
        ("teacher", large),
        ("old", broken),
    ]));
    let checkpoint = opened.checkpoint.unwrap();
    let model = checkpoint.load(&vanilla_26(), &Device::default()).unwrap();
    assert_eq!(bias(&model), [1.0; 5]);
    let mut wide = vanilla_26();
    wide.num_classes = 9;
    let model = checkpoint.load(&wide, &Device::default()).unwrap();
    assert_eq!(bias(&model), [1.0; 9]);
    // Unasked, both are networks.
    let error = checkpoint.detect().unwrap_err().to_string();
    assert!(error.contains("`student`, `teacher`: --key"), "{error}");
    // What fits none is compared with the nearest, and the others are named.
    wide.num_classes = 7;
    let error = checkpoint
        .load(&wide, &Device::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("2 wrong (fc") && error.contains("`old`"),
        "{error}"
    );
}

#[test]
fn a_backbone_is_a_start_and_nothing_else() {
    let device = Device::default();
    let backbone = || without(state(), "fc.");
    let heads = [
        Saved::Dict(backbone()),
        Saved::Dict(prefixed(backbone(), "module.backbone.")),
        Saved::Dict(with(backbone(), "head.fc.weight", tensor(&[3, 64]))),
        Saved::Dict(with(
            with(backbone(), "fc.0.weight", tensor(&[64, 64])),
            "fc.2.weight",
            tensor(&[16, 64]),
        )),
    ];
    for head in heads {
        let opened = open(&head);
        let checkpoint = opened.checkpoint.unwrap();
        let mut target = vanilla_26();
        target.alpha = Alpha::Uniform(0.5);
        target.num_classes = 3;
        let (model, notes) = checkpoint.start(&target, &device).unwrap();
        assert!(
            notes
                .last()
                .unwrap()
                .contains("classifier for 3 classes is new"),
            "{notes:?}"
        );
        assert_eq!(bias(&model).len(), 3);
        let stem = model.conv1.weight.val().into_data();
        let Some((_, Saved::Tensor(_, values))) =
            state().into_iter().find(|(name, _)| name == "conv1.weight")
        else {
            unreachable!()
        };
        assert_eq!(stem.iter::<f32>().collect::<Vec<_>>(), values);
        for error in [
            checkpoint.detect().unwrap_err(),
            checkpoint.load(&vanilla_26(), &device).unwrap_err(),
            checkpoint.load_as(&target, &device).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains("no classifier (fc.weight, fc.bias)"),
                "{error}"
            );
        }
    }
    // Half a classifier is a mistake.
    let opened = open(&Saved::Dict(without(state(), "fc.bias")));
    let error = opened.checkpoint.unwrap().start(&vanilla_26(), &device);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("1 missing (fc.bias)"), "{error}");
}

#[test]
fn numbers_that_are_none_are_named_and_counted() {
    let device = Device::default();
    let mut broken = state();
    for (name, tensor) in &mut broken {
        let Saved::Tensor(_, values) = tensor else {
            unreachable!()
        };
        match name.as_str() {
            "conv1.weight" => values[..3].fill(f32::NAN),
            "layer3.0.bn2.running_var" => values[0] = f32::NEG_INFINITY,
            "fc.weight" => values[7] = f32::INFINITY,
            _ => {}
        }
    }
    let opened = open(&Saved::Dict(broken.clone()).under("state_dict"));
    let checkpoint = opened.checkpoint.unwrap();
    for error in [
        checkpoint.load(&vanilla_26(), &device).unwrap_err(),
        checkpoint.load_as(&vanilla_26(), &device).unwrap_err(),
        checkpoint.start(&vanilla_26(), &device).unwrap_err(),
    ] {
        let error = error.to_string();
        for part in [
            "3 in conv1.weight",
            "1 in layer3.0.bn2.running_var",
            "1 in fc.weight",
            "--allow-nan",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
    let model = checkpoint
        .with_nan(true)
        .load(&vanilla_26(), &device)
        .unwrap();
    let stem = model.conv1.weight.val().into_data();
    assert_eq!(stem.iter::<f32>().filter(|value| value.is_nan()).count(), 3);
    // What the network does not take does not matter.
    let beside = with(
        state(),
        "loss.weight",
        Saved::Tensor(vec![1], vec![f32::NAN]),
    );
    let opened = open(&Saved::Dict(beside));
    load(&opened.checkpoint.unwrap()).unwrap();
}

#[test]
fn numbers_beyond_half_precision_are_not_written_as_infinite() {
    let large = Saved::Tensor(vec![5], vec![65_519.0, 65_520.0, -1e9, 1.0, 0.0]);
    let opened = open(&Saved::Dict(with(state(), "fc.bias", large)));
    let model = load(&opened.checkpoint.unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.bpk", "model.safetensors"] {
        let path = folder.path().join(name);
        let error = model.save_weights(&vanilla_26(), &path, true).unwrap_err();
        assert!(error.to_string().contains("2 in fc.bias"), "{error}");
        assert!(!path.exists());
        model.save_weights(&vanilla_26(), &path, false).unwrap();
    }
}

/// PyTorch's Oct-MobileNet v1 numbers its layers through.
#[test]
fn numbered_mobilenets_are_read() {
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mobilenet.safetensors");
    let config = OctNetConfig::new(Arch::OctMobileNetV1, 4).with_width(0.25);
    let model = config.init(&device);
    model.save_weights(&config, &path, false).unwrap();
    let stages = [3, 2, 6, 2];
    let numbered = read(&path).into_iter().map(|(name, tensor)| {
        let parts: Vec<_> = name.splitn(4, '.').collect();
        let name = match parts[..] {
            ["conv1", rest] => format!("features.0.0.{rest}"),
            ["bn1", rest] => format!("features.0.1.{rest}"),
            [stage, index, layer, rest] if stage.starts_with("layer") => {
                let stage: usize = stage["layer".len()..].parse().unwrap();
                let before: usize = stages[..stage - 1].iter().sum();
                let block = before + index.parse::<usize>().unwrap() + 1;
                let layer = if layer == "conv1" { 0 } else { 1 };
                format!("features.{block}.{layer}.{rest}")
            }
            _ => name.clone(),
        };
        (name, tensor)
    });
    let numbered: State = numbered.collect();
    assert!(numbered.iter().all(|(name, _)| !name.contains("layer")));
    let opened = open(&Saved::Dict(prefixed(numbered, "module.")));
    let checkpoint = opened.checkpoint.unwrap();
    let found = checkpoint.detect().unwrap();
    assert_eq!(found.alpha, Alpha::Uniform(0.5));
    let loaded = checkpoint.load(&found, &device).unwrap();
    let tensors = |model: &OctNet| -> Vec<TensorData> {
        let tensors = model.collect(None, None, true);
        tensors
            .iter()
            .map(|tensor| bridge::to_data(tensor).unwrap())
            .collect()
    };
    assert_eq!(tensors(&loaded), tensors(&model));
}

#[test]
fn networks_that_only_look_alike_are_refused_by_name() {
    let file = Saved::Dict(vec![
        ("module.conv1.weight".into(), tensor(&[64, 3, 7, 7])),
        (
            "module.layer1.0.ocb1.conv.h2h.weight".into(),
            tensor(&[32, 64, 1, 1]),
        ),
        ("module.layer1.0.ocb1.bn_h.weight".into(), tensor(&[32])),
    ]);
    let error = open(&file).checkpoint.unwrap_err().to_string();
    assert!(error.contains("lxtGH/OctaveConv_pytorch"), "{error}");
    assert!(error.contains("d-li14/octconv.pytorch"), "{error}");
}

#[test]
fn messages_stay_short_whatever_the_names() {
    let long = format!("layer1.0.{}.weight", "x\n".repeat(50_000));
    let mut many = with(state(), &long, tensor(&[2, 2]));
    many.extend((0..2_000).map(|index| (format!("layer1.{index}.a.weight"), tensor(&[1, 1]))));
    let opened = open(&Saved::Dict(many).under(&"k".repeat(300)));
    let checkpoint = opened.checkpoint.unwrap();
    let error = checkpoint
        .load(&vanilla_26(), &Device::default())
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.len() < 1_000 && !message.contains('\n'),
        "{message}"
    );
    let WeightsError::Mismatch { mismatches, .. } = error else {
        panic!("{message}");
    };
    let lines = mismatches.lines();
    assert!(lines.len() < 400 && lines.iter().all(|line| line.len() < 500));
    assert!(lines.last().unwrap().starts_with("and "), "{lines:?}");
    let error = checkpoint.detect().unwrap_err().to_string();
    assert!(error.len() < 1_000, "{error}");
}
