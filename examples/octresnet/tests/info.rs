//! The costs of the networks, the help, and the recipes that come with the project.

mod common;

use std::fs;

use burn_octresnet::train::Recipe;
use common::*;

#[test]
fn info_has_the_published_costs() {
    let info = |line: &str| run(octresnet().args(line.split(' '))).json();
    let fifty = info("info --json");
    assert_eq!(fifty["arch"], "oct-resnet-50");
    assert_eq!(fifty["alpha"], 0.5);
    assert_eq!(fifty["size"], 224);
    assert_eq!(fifty["params"], 25_557_032);
    assert_eq!(fifty["vanilla"]["params"], 25_557_032);
    let giga = |value: &serde_json::Value| (value.as_f64().unwrap() / 1e5).round() / 1e4;
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
    let giga = |value: &serde_json::Value| (value.as_f64().unwrap() / 1e5).round() / 1e4;
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
fn help_shows_examples() {
    for command in [
        "", "train", "evaluate", "predict", "info", "list", "plot", "report", "inspect", "convert",
    ] {
        let output = run(octresnet().args(command.split_whitespace()).arg("--help")).good();
        assert!(output.stdout.contains("octresnet "), "{output:?}");
        assert_eq!(output.stderr, "");
    }
    assert_eq!(run(&mut octresnet()).code, 2);
}

#[test]
fn the_recipes_are_complete_and_valid() {
    let mut count = 0;
    for entry in fs::read_dir(workspace().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        let recipe = Recipe::load(&path).unwrap();
        assert!(
            !recipe.about.is_empty() && !recipe.expected.is_empty(),
            "{path:?}"
        );
        // What decides a run is said and not left to the default run.
        let text = fs::read_to_string(&path).unwrap();
        let given: serde_json::Value = serde_json::from_str(&text).unwrap();
        let decisive = [
            "/model/arch",
            "/model/alpha",
            "/model/stem",
            "/model/width",
            "/data/path",
            "/data/batch_size",
            "/data/train/size",
            "/data/val/size",
            "/optimizer/lr",
            "/optimizer/weight_decay",
            "/schedule/kind",
            "/label_smoothing",
            "/epochs",
        ];
        for place in decisive {
            assert!(given.pointer(place).is_some(), "{path:?} lacks {place}");
        }
        assert!(!text.contains("TODO"), "{path:?}");
        count += 1;
    }
    assert!(count >= 20);
}

#[test]
fn the_default_run_is_the_emoji_recipe_and_vanilla_differs_in_alpha_alone() {
    let load = |name: &str| Recipe::load(workspace().join("configs").join(name)).unwrap();
    let emoji = load("emoji.json");
    assert_eq!(emoji, Recipe::default());
    let vanilla = load("emoji-vanilla.json");
    let mut expected = emoji;
    expected.model.alpha = burn_octresnet::model::Alpha::Uniform(0.0);
    expected.about.clone_from(&vanilla.about);
    expected.expected.clone_from(&vanilla.expected);
    assert_eq!(vanilla, expected);
}
