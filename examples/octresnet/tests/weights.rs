//! Weights in and out of the command.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::*;
use serde_json::{Value, json};

fn fixture(name: &str) -> String {
    let fixtures = workspace().join("crates/burn-octresnet/tests/fixtures/weights");
    let path: PathBuf = fixtures.join(name);
    path.to_str().unwrap().into()
}

#[test]
fn a_checkpoint_of_pytorch_becomes_another_network() {
    let place = Workplace::new();
    let convert = |line: &str| run(&mut place.octresnet(&format!("convert {line}")));
    let octave = fixture("octave.pth");
    let same = convert(&format!("{octave} octave.safetensors --json")).json();
    assert_eq!(same["arch"], "oct-resnet-26");
    assert_eq!(same["alpha"], 0.5);
    assert_eq!(same["classes"], 5);
    assert_eq!(same["width"], 1.0 / 32.0);
    let size = fs::metadata(place.path("octave.safetensors"))
        .unwrap()
        .len();
    assert_eq!(same["bytes"], size);

    // A file's content decides, not its name.
    fs::copy(place.path("octave.safetensors"), place.path("misnamed.pth")).unwrap();
    let other = "misnamed.pth other.bpk --alpha 0.25 --classes 3 --f16 --json";
    let other = convert(other).json();
    assert_eq!(other["alpha"], 0.25);
    assert_eq!(other["classes"], 3);
    assert_eq!(other["input"], "safetensors in the octave layout");
    let text = convert("other.bpk back.safetensors --alpha 0")
        .good()
        .stdout;
    assert!(text.contains("burnpack in the Burn layout"), "{text}");
    assert!(
        text.contains("alpha 0,") && text.contains("3 classes"),
        "{text}"
    );
}

#[test]
fn what_does_not_fit_is_listed() {
    let place = Workplace::new();
    let convert = |line: &str| run(&mut place.octresnet(&format!("convert {line}")));
    let vanilla = fixture("vanilla.pth");
    let output = convert(&format!("{vanilla} out.bpk --arch oct-resnet-50"));
    output.error(
        1,
        &[
            "vanilla.pth",
            "oct-resnet-50",
            "missing (layer1.2.conv1.weight",
        ],
    );
    let listed = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("  missing "));
    assert!(listed.count() > 100, "{output:?}");
    convert(&format!("{vanilla} out.onnx")).error(1, &["out.onnx", ".safetensors or .bpk"]);
    convert("nowhere.pth out.bpk").error(1, &["cannot open `nowhere.pth`"]);
    convert("images out.bpk").error(1, &["images"]);
    convert(&format!("{vanilla} out.bpk --alpha 2")).error(1, &["alpha is 2"]);
    convert(&format!("{vanilla} out.bpk --classes 0")).error(1, &["num_classes is 0"]);
    convert(&format!("{vanilla} no/where/out.bpk")).error(1, &["cannot write `no/where/out.bpk`"]);
    assert!(!place.path("out.bpk").exists());
}

#[test]
fn weights_that_give_no_numbers_are_errors_unless_allowed() {
    let place = Workplace::new();
    // A variance below zero is a finite number.
    changed(&place.path("odd.safetensors"), |name, bytes| {
        if name == "bn1.running_var" {
            bytes[..4].copy_from_slice(&(-5f32).to_le_bytes());
        }
        vec![name.into()]
    });
    let command = |line: &str| run(&mut place.octresnet(line));
    place.train("run", NARROW).good();
    command("convert odd.safetensors run/best.bpk --classes 3").good();
    for line in ["evaluate run", "predict run images/val", "report run"] {
        command(line).error(1, &["best.bpk", "NaN or infinity", "--allow-nan"]);
    }
    command("evaluate run --allow-nan").good();
    command("predict run images/val --allow-nan").good();
}

#[test]
fn a_run_in_half_precision_sees_the_same() {
    let place = Workplace::new();
    place.train("run", "").good();
    let evaluate = || run(&mut place.octresnet("evaluate run --json")).json();
    let whole = evaluate();
    run(&mut place.octresnet("convert run run/best.bpk --f16")).good();
    let [whole, half] = [whole, evaluate()].map(|result| result["loss"].as_f64().unwrap());
    assert!(
        (whole - half).abs() < 1e-2 && whole != half,
        "{whole} {half}"
    );
    run(&mut place.octresnet("predict run images/val/sky")).good();
    place.train("next", "--init run").good();
}

#[test]
fn a_run_starts_from_a_checkpoint_and_goes_on_without_it() {
    let place = Workplace::new();
    fs::copy(fixture("vanilla.pth"), place.path("start.pth")).unwrap();
    let narrow = "--width 0.03125 --epochs 1";
    let started = place
        .train("run", &format!("{narrow} --init start.pth --alpha 0.5"))
        .good();
    assert!(
        started.stderr.contains("first weights from start.pth"),
        "{started:?}"
    );
    let config = fs::read_to_string(place.path("run/config.json")).unwrap();
    assert!(config.contains("\"init\": \"start.pth\""), "{config}");
    fs::remove_file(place.path("start.pth")).unwrap();
    run(&mut place.octresnet("train --resume --output run --epochs 2")).good();
    assert_eq!(metrics(&place.path("run")).len(), 2);

    // Without a step, the weights are those of the checkpoint.
    place
        .train("again", &format!("{narrow} --init run --lr 1e-30"))
        .good();
    let one = results(&place.path("again"));
    let other = run(&mut place.octresnet("evaluate run/best.bpk --json")).json();
    assert!(one[0][3].is_finite() && other["loss"].is_f64(), "{one:?}");

    // Another network is an error before anything is written.
    let wrong = place.train("wrong", "--width 0.0625 --init run");
    wrong.error(1, &["best.bpk", "does not fit oct-resnet-26", "wrong ("]);
    assert!(!place.path("wrong").exists());
    place
        .train("wrong", "--init nowhere.pth")
        .error(1, &["nowhere.pth"]);
    assert!(!place.path("wrong").exists());
}

#[test]
fn the_recipe_for_fine_tuning_learns_on_a_frozen_stem() {
    let place = Workplace::new();
    let recipe = workspace().join("configs/finetune.json");
    let (recipe, start) = (recipe.to_str().unwrap(), fixture("vanilla.pth"));
    // The small network of the fixture instead of the recipe's, on small pictures.
    let small = format!("{TINY} --epochs 1 --arch oct-resnet-26 --width 0.03125");
    let line = format!("train --config {recipe} --init {start} --data images --output run {small}");
    run(&mut place.octresnet(&line)).good();

    let cut = format!("convert {start} cut.safetensors --alpha 0.25 --classes 3");
    run(&mut place.octresnet(&cut)).good();
    let tuned = "convert run/last.bpk tuned.safetensors";
    run(&mut place.octresnet(tuned)).good();
    let [cut, tuned] = ["cut", "tuned"].map(|name| {
        let file = place.path(&format!("{name}.safetensors"));
        tensors(&file)
    });
    let same = |name: &str| cut[name] == tuned[name];
    assert!(same("conv1.weight"), "the stem is frozen");
    for name in [
        "layer2.0.conv1.conv.conv_h2l",
        "layer4.0.conv2.conv.conv_h2h",
    ] {
        assert!(!same(&format!("{name}.weight")), "{name} has not learned");
    }
}

/// A file of the small vanilla network, whose tensors `change` has renamed, left out or given other values.
fn changed(path: &Path, mut change: impl FnMut(&str, &mut Vec<u8>) -> Vec<String>) {
    let original = PathBuf::from(fixture("vanilla.safetensors"));
    let content = fs::read(&original).unwrap();
    let length = u64::from_le_bytes(content[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&content[8..8 + length]).unwrap();
    let (mut entries, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, mut bytes) in tensors(&original) {
        for renamed in change(&name, &mut bytes) {
            let (start, end) = (data.len(), data.len() + bytes.len());
            data.extend(&bytes);
            let (dtype, shape) = (&header[&name]["dtype"], &header[&name]["shape"]);
            let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
            entries.insert(renamed, entry);
        }
    }
    let mut header = Value::Object(entries).to_string();
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], header.as_bytes(), &data].concat()).unwrap();
}

const NARROW: &str = "--width 0.03125 --epochs 1 --alpha 0";

#[test]
fn weights_that_are_no_numbers_are_errors_unless_allowed() {
    let place = Workplace::new();
    changed(&place.path("nan.safetensors"), |name, bytes| {
        if name == "layer1.0.conv2.weight" {
            bytes[..8]
                .copy_from_slice(&[f32::NAN.to_le_bytes(), f32::INFINITY.to_le_bytes()].concat());
        }
        vec![name.into()]
    });
    let command = |line: &str| run(&mut place.octresnet(line));
    let parts = [
        "nan.safetensors",
        "2 in layer1.0.conv2.weight",
        "--allow-nan",
    ];
    command("convert nan.safetensors out.bpk").error(1, &parts);
    command("export nan.safetensors out.safetensors").error(1, &parts);
    place
        .train("run", &format!("{NARROW} --init nan.safetensors"))
        .error(1, &parts);
    assert!(!place.path("out.bpk").exists() && !place.path("run").exists());
    command("convert nan.safetensors out.bpk --allow-nan --classes 3").good();
    command("export nan.safetensors out.safetensors --allow-nan").good();

    // The weights of a run, which another program may have written.
    place.train("run", NARROW).good();
    fs::copy(place.path("out.bpk"), place.path("run/best.bpk")).unwrap();
    let parts = ["best.bpk", "2 in layer1.0.conv2", "--allow-nan"];
    for line in [
        "evaluate run",
        "predict run images/val",
        "inspect run images/val/sky --output seen",
        "report run",
    ] {
        let line = match line.contains("images/val/sky") {
            true => {
                let sky = place.path("images/val/sky");
                let image = format!("images/val/sky/{}", names(&sky)[0]);
                line.replace("images/val/sky", &image)
            }
            false => line.to_string(),
        };
        command(&line).error(1, &parts);
    }
    command("evaluate run --allow-nan").good();
    command("predict run images/val --allow-nan").good();
    // It is the flag that lets it begin, and the loss that ends it.
    let started = place.train(
        "broken",
        &format!("{NARROW} --init nan.safetensors --allow-nan"),
    );
    started.error(1, &["NaN"]);
}

#[test]
fn one_of_several_networks_is_chosen_by_its_key() {
    let place = Workplace::new();
    changed(&place.path("two.safetensors"), |name, _| {
        vec![format!("one.{name}"), format!("two.module.{name}")]
    });
    changed(&place.path("ema.safetensors"), |name, _| {
        vec![format!("model.{name}"), format!("model_ema.module.{name}")]
    });
    let command = |line: &str| run(&mut place.octresnet(line));
    let both = ["`one`", "`two.module`", "--key"];
    command("convert two.safetensors out.bpk").error(1, &both);
    command("export two.safetensors out.safetensors").error(1, &both);
    place
        .train("run", &format!("{NARROW} --init two.safetensors"))
        .error(1, &both);
    command("convert two.safetensors out.bpk --key three").error(1, &["`three`", "`one`"]);
    command("convert two.safetensors out.bpk --key two").good();
    command("export two.safetensors out.safetensors --key one").good();
    place
        .train("run", &format!("{NARROW} --init two.safetensors --key one"))
        .good();
    let config = fs::read_to_string(place.path("run/config.json")).unwrap();
    assert!(config.contains("\"init_key\": \"one\""), "{config}");

    let taken = command("convert ema.safetensors out.bpk").good().stderr;
    assert!(
        taken.contains("`model`") && taken.contains("`model_ema.module`"),
        "{taken}"
    );
    assert_eq!(taken.lines().count(), 1, "{taken}");
}

#[test]
fn a_backbone_starts_a_run_with_a_new_classifier() {
    let place = Workplace::new();
    changed(&place.path("backbone.safetensors"), |name, _| {
        match name.starts_with("fc.") {
            true => Vec::new(),
            false => vec![format!("module.{name}")],
        }
    });
    let line = format!("{NARROW} --init backbone.safetensors");
    let said = place.train("run", &line).good().stderr;
    let new = said.matches("classifier for 3 classes is new").count();
    assert_eq!(new, 1, "{said}");
    let parts = [
        "backbone.safetensors",
        "no classifier (fc.weight, fc.bias)",
        "--init",
    ];
    for line in [
        "convert backbone.safetensors out.bpk",
        "convert backbone.safetensors out.bpk --classes 3",
        "export backbone.safetensors out.safetensors",
    ] {
        run(&mut place.octresnet(line)).error(1, &parts);
    }
    // A run's own weights have one.
    fs::copy(
        place.path("backbone.safetensors"),
        place.path("run/best.bpk"),
    )
    .unwrap();
    run(&mut place.octresnet("evaluate run")).error(1, &["best.bpk"]);
}
