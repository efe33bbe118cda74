//! Runs on several devices, all of which are the processor.

mod common;

use std::fs;

use common::*;

#[test]
fn several_devices_do_about_as_well_as_one_and_go_on_exactly() {
    let place = Workplace::new();
    place.train("one", "--epochs 3").good();
    let flags = "--epochs 3 --device flex,flex --strategy multi --checkpoint-every 1";
    let output = place.train("two", flags).good();
    assert!(output.stderr.contains("2 devices: flex,flex"), "{output:?}");
    let [one, two] = ["one", "two"].map(|run| results(&place.path(run)));
    assert_eq!(one.len(), two.len());
    for (one, two) in one.iter().zip(&two) {
        // Norms see two images at a time instead of four.
        let [one, two] = [one[1], two[1]];
        assert!((one - two).abs() < 0.3 * one, "{one} {two}");
    }

    // Back to the checkpoint before the last.
    let weights = fs::read(place.path("two/last.bpk")).unwrap();
    let newest = names(&place.path("two/checkpoint")).pop().unwrap();
    fs::remove_dir_all(place.path("two/checkpoint").join(newest)).unwrap();
    fs::remove_file(place.path("two/last.bpk")).unwrap();
    let output = run(&mut place.octresnet("train --resume --output two")).good();
    assert!(output.stderr.contains("after step"), "{output:?}");
    assert!(fs::read(place.path("two/last.bpk")).unwrap() == weights);
    assert_eq!(results(&place.path("two")), two);

    // What was trained on two devices is a network like any other, and goes on with one.
    let line = "train --resume --output two --device flex --epochs 4";
    run(&mut place.octresnet(line)).good();
    run(&mut place.octresnet("evaluate two --device flex")).good();
}

#[test]
fn a_recipe_lists_its_devices() {
    let place = Workplace::new();
    for (run, devices) in [("text", r#""flex,flex""#), ("list", r#"["flex", "flex"]"#)] {
        let recipe = format!(r#"{{"device": {devices}, "strategy": "multi"}}"#);
        fs::write(place.path("recipe.json"), recipe).unwrap();
        let flags = TINY.replace("--device flex", "");
        let line = format!("train --config recipe.json {flags} --data images --output {run}");
        let output = common::run(&mut place.octresnet(&line)).good();
        assert!(output.stderr.contains("2 devices: flex,flex"), "{output:?}");
        let config = fs::read_to_string(place.path(run).join("config.json")).unwrap();
        assert!(config.contains(r#""device": "flex,flex""#), "{config}");
    }
    let [text, list] = ["text", "list"].map(|run| fs::read(place.path(run).join("last.bpk")));
    assert!(text.unwrap() == list.unwrap());
}
