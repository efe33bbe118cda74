//! Networks written for other programs. What an ONNX file computes is tested with the networks.

mod common;

use std::fs;

use common::*;

/// A trained network, in `run`.
fn trained() -> Workplace {
    let place = Workplace::new();
    place.train("run", "--epochs 1").good();
    place
}

#[test]
fn weights_survive_every_format() {
    let place = trained();
    let export = |line: &str| run(&mut place.octresnet(&format!("export {line}")));
    let said = export("run one.safetensors --json").json();
    assert_eq!(said["arch"], "oct-resnet-26");
    assert_eq!(said["alpha"], 0.5);
    assert_eq!(said["output"], "one.safetensors");
    assert!(said["input"].is_null(), "{said}");
    let size = fs::metadata(place.path("one.safetensors")).unwrap().len();
    assert_eq!(said["bytes"], size);

    export("one.safetensors two.bpk").good();
    export("two.bpk three.safetensors").good();
    let same = |file: &str| tensors(&place.path("one.safetensors")) == tensors(&place.path(file));
    assert!(same("three.safetensors"));

    // Other weights would be noticed.
    place.train("other", "--epochs 1 --seed 4").good();
    export("other other.safetensors").good();
    assert!(!same("other.safetensors"));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let place = trained();
    let export = |line: &str| run(&mut place.octresnet(&format!("export {line}")));
    export("nowhere.pth out.bpk").error(1, &["nowhere.pth"]);
    export("run out.txt").error(1, &["out.txt", ".onnx, .safetensors or .bpk"]);
    export("run out.bpk --size 32").error(1, &["--size", "out.bpk", "--onnx"]);
    export("run no/where/out.bpk").error(1, &["no/where/out.bpk"]);
    export("run out.onnx --size 0").error(2, &["--size"]);
    export("run").error(2, &["<OUT>"]);
    assert!(!place.path("out.bpk").exists());
}

#[test]
#[cfg(not(feature = "onnx"))]
fn a_build_without_onnx_says_how_to_get_it() {
    let place = trained();
    for line in ["export run out.onnx", "export run --onnx"] {
        run(&mut place.octresnet(line)).error(1, &["--features onnx"]);
    }
    assert!(!place.path("out.onnx").exists() && !place.path("run.onnx").exists());
}

#[test]
#[cfg(feature = "onnx")]
fn a_run_becomes_onnx() {
    let place = trained();
    let export = |line: &str| run(&mut place.octresnet(&format!("export {line} --json"))).json();
    let said = export("run out.onnx");
    assert_eq!(said["input"], serde_json::json!([null, 3, 16, 16]));
    let folded = fs::metadata(place.path("out.onnx")).unwrap().len();
    assert_eq!(said["bytes"], folded);

    let said = export("run --onnx --size 32 --batch 2 --keep-norms");
    assert_eq!(said["output"], "run.onnx");
    assert_eq!(said["input"], serde_json::json!([2, 3, 32, 32]));
    let norms = fs::metadata(place.path("run.onnx")).unwrap().len();
    assert!(folded < norms, "{folded} {norms}");
}
