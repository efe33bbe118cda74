//! The costs of the networks, the help, and the recipes that come with the project.

mod common;

use std::fs;

use common::*;
use serde_json::Value;

#[test]
fn info_has_the_published_costs() {
    let info = |line: &str| run(octresnet().args(line.split(' '))).json();
    let fifty = info("info --json");
    assert_eq!(fifty["arch"], "oct-resnet-50");
    assert_eq!(fifty["alpha"], 0.5);
    assert_eq!(fifty["size"], 224);
    assert_eq!(fifty["params"], 25_557_032);
    assert_eq!(fifty["vanilla"]["params"], 25_557_032);
    let giga = |value: &Value| (value.as_f64().unwrap() / 1e5).round() / 1e4;
    assert_eq!(giga(&fifty["macs"]), 2.3671);
    assert_eq!(giga(&fifty["vanilla"]["macs"]), 4.0892);
    let quarter = info("info --arch oct-resnet-50 --alpha 0.25 --json");
    assert_eq!(giga(&quarter["macs"]), 3.1035);
    let small =
        info("info --arch oct-resnet-26 --alpha 0.5,0.25,0.125 --size 64 --classes 10 --json");
    assert_eq!(small["alpha"], serde_json::json!([0.5, 0.25, 0.125]));
    let text = run(octresnet().args(["info"])).good();
    assert!(
        text.stdout.contains("25,557,032") && text.stdout.contains("4.089 G"),
        "{text:?}"
    );
}

#[test]
fn list_has_every_network_with_the_published_costs() {
    let list = run(octresnet().args(["list", "--json"])).json();
    let rows = list.as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        burn_octresnet::model::Arch::ALL.map(|arch| arch.name())
    );
    let row = |name: &str| rows.iter().find(|r| r["name"] == name).unwrap();
    let giga = |value: &Value| (value.as_f64().unwrap() / 1e5).round() / 1e4;
    let fifty = row("oct-resnet-50-v2");
    assert_eq!(fifty["params"], 25_553_192);
    assert_eq!(giga(&fifty["macs"]), 4.0892);
    assert_eq!(giga(&fifty["macs_by_alpha"]["0.25"]), 3.1035);
    assert_eq!(giga(&fifty["macs_by_alpha"]["0.5"]), 2.3671);
    // 32 groups do not divide an eighth of 128 channels.
    let next = &row("oct-resnext-50")["macs_by_alpha"];
    assert!(
        next.get("0.125").is_none() && next.get("0.5").is_some(),
        "{next}"
    );
    let small = row("oct-resnet-20");
    assert_eq!(small["params"], 269_722);

    let text = run(octresnet().args(["list"])).good().stdout;
    assert_eq!(text.lines().count(), rows.len() + 1);
    assert!(text.contains("oct-mobilenet-v2-1125"), "{text}");
}

#[test]
fn a_network_for_small_images_needs_no_further_flags() {
    let info = run(octresnet().args(["info", "--arch", "oct-resnet-20", "--json"])).json();
    assert_eq!(
        [&info["size"], &info["params"], &info["vanilla"]["macs"]],
        [32, 269_722, 40_551_040]
    );
    // Nor where the recipe at hand has the stem of another network.
    let place = Workplace::new();
    let flags = "--size 8 --width 0.125 --batch-size 6 --epochs 1 --arch oct-resnet-20";
    let line = format!("train --data images --output run --device flex {flags}");
    run(&mut place.octresnet(&line)).good();
    let config = fs::read_to_string(place.path("run/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["model"]["stem"], "small");
    // The same network again is no other network, and a stem that is asked for is kept.
    run(&mut place.octresnet("train --resume --output run --arch oct-resnet-20")).good();
    run(octresnet().args(["info", "--arch", "oct-resnet-20", "--stem", "imagenet"]))
        .error(1, &["imagenet", "small"]);
}

#[test]
fn profile_adds_up_and_sweeps() {
    let profile = |line: &str| run(octresnet().args(line.split(' '))).json();
    let fifty = profile("profile --alpha 0.25 --json");
    assert_eq!(fifty["arch"], "oct-resnet-50");
    assert_eq!(
        [&fifty["size"], &fifty["classes"], &fifty["total"]["params"]],
        [224, 1000, 25_557_032]
    );
    let layers = fifty["layers"].as_array().unwrap();
    let sum = |pointer: &str| -> f64 {
        let values = layers.iter().map(|layer| layer.pointer(pointer).unwrap());
        values.map(|value| value.as_f64().unwrap()).sum()
    };
    for part in ["params", "macs", "training"] {
        assert!((sum(&format!("/share/{part}")) - 1.0).abs() < 1e-9);
    }
    let info = run(octresnet().args(["info", "--alpha", "0.25", "--json"])).json();
    assert_eq!(fifty["total"]["macs"]["total"], info["macs"]);
    for path in ["h2h", "h2l", "l2h", "l2l", "total"] {
        let total = fifty["total"]["macs"][path].as_f64().unwrap();
        assert_eq!(sum(&format!("/cost/macs/{path}")), total, "{path}");
        assert!(total > 0.0);
    }
    let total = |name: &str| fifty["total"]["activation_bytes"][name].as_f64().unwrap();
    assert_eq!(sum("/cost/activation_bytes/training"), total("training"));
    assert!(total("inference") < total("training"));
    // The 7×7 convolution: 3 → 64 channels at 112×112.
    assert_eq!(layers[0]["name"], "conv1");
    assert_eq!(layers[0]["cost"]["macs"]["h2h"], 112 * 112 * 64 * 3 * 7 * 7);
    let bytes = &layers[0]["cost"]["activation_bytes"];
    assert_eq!(bytes["training"], 4 * 64 * 112 * 112);
    assert_eq!(bytes["inference"], 4 * (64 * 112 * 112 + 3 * 224 * 224));

    let sweep = fifty["sweep"].as_array().unwrap();
    let alphas: Vec<_> = sweep
        .iter()
        .map(|row| row["alpha"].as_f64().unwrap())
        .collect();
    assert_eq!(alphas, [0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0]);
    assert_eq!(sweep[0]["share"]["macs"], 1.0);
    assert_eq!(sweep[2]["cost"], fifty["total"]);
    for pair in sweep.windows(2) {
        let macs = |row: &Value| row["cost"]["macs"]["total"].as_u64().unwrap();
        assert!(macs(&pair[1]) < macs(&pair[0]));
        assert_eq!(pair[1]["share"]["params"], 1.0);
    }
    // 32 groups do not divide an eighth of 128 channels.
    let next = profile("profile --arch oct-resnext-50 --sweep 0.5,0.125 --json");
    assert!(next["sweep"][0]["error"].is_null());
    let error = next["sweep"][1]["error"].as_str().unwrap();
    assert!(error.contains("groups = 32"), "{error}");
    run(octresnet().args(["profile", "--sweep", "0.5,2"])).error(1, &["alpha is 2"]);

    let composed = |line: &str| {
        let layers = profile(line)["layers"].as_array().unwrap().clone();
        let reasons = layers
            .into_iter()
            .filter_map(|layer| layer.get("composed").cloned());
        reasons.collect::<Vec<_>>()
    };
    let twenty = "profile --arch oct-resnet-20 --json";
    assert!(composed(twenty).is_empty() && composed(&format!("{twenty} --alpha 0")).is_empty());
    let reasons = composed(&format!("{twenty} --stride strided"));
    // Of each of two stages, the first convolution and the shortcut's, if that has one.
    assert!((2..=4).contains(&reasons.len()), "{reasons:?}");
    assert_eq!(
        reasons[0],
        "strided convolutions between several frequencies"
    );
    let text = run(octresnet().args(["profile", "--stride", "strided"])).good();
    assert!(
        text.stdout.contains("composed, for strided convolutions"),
        "{}",
        text.stdout
    );

    let text = run(octresnet().args(["profile", "--arch", "oct-resnext-50"])).good();
    for part in [
        "layer1.0.conv2",
        "H>L",
        "alpha 0.125 is impossible",
        "43.8 %",
    ] {
        assert!(text.stdout.contains(part), "{text:?} lacks {part}");
    }
}

#[test]
fn help_shows_examples() {
    for command in [
        "",
        "train",
        "evaluate",
        "predict",
        "info",
        "list",
        "profile",
        "plot",
        "report",
        "inspect",
        "convert",
        "bench",
        "bench infer",
        "bench train",
        "bench layer",
    ] {
        let output = run(octresnet().args(command.split_whitespace()).arg("--help")).good();
        assert!(output.stdout.contains("octresnet "), "{output:?}");
        assert_eq!(output.stderr, "");
    }
    assert_eq!(run(&mut octresnet()).code, 2);
}
