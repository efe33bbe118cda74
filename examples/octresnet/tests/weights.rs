//! Weights in and out of the command.

mod common;

use std::{fs, path::PathBuf};

use common::*;

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
    let (recipe, start) = (recipe.display(), fixture("vanilla.pth"));
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
