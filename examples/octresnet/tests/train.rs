//! Trains with the real program, and uses what comes out.

mod common;

use std::fs;

use common::*;
use serde_json::Value;

const RUN: [&str; 10] = [
    "best.bpk",
    "checkpoint",
    "classes.json",
    "config.json",
    "last.bpk",
    "lock",
    "metrics.csv",
    "metrics.jsonl",
    "report",
    "report.md",
];

#[test]
fn a_run_can_be_resumed_evaluated_and_used() {
    let place = Workplace::new();
    let run_dir = place.path("run");
    let output = place.train("run", "").good();
    assert_eq!(output.stdout, "", "{output:?}");
    assert!(output.stderr.contains("epoch 2/2"), "{output:?}");
    assert_eq!(names(&run_dir), RUN);
    assert_eq!(names(&run_dir.join("checkpoint")).len(), 2);
    let classes = fs::read_to_string(run_dir.join("classes.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<String>>(&classes).unwrap(),
        CLASSES
    );
    // Flags made another run of the default one: what that says of itself is not true of it.
    for name in ["config.json", "report.md"] {
        let text = fs::read_to_string(run_dir.join(name)).unwrap();
        assert!(
            !text.contains("default run") && !text.contains("70 %"),
            "{text}"
        );
    }
    let first = metrics(&run_dir);
    assert_eq!(first.len(), 2);
    for (epoch, row) in first.iter().enumerate() {
        assert_eq!(row[0] as usize, epoch + 1);
        assert!(
            row.iter().all(|value| value.is_finite() && *value >= 0.0),
            "{row:?}"
        );
        assert!(row[2] <= 1.0 && row[5] <= 1.0, "{row:?}");
        // There are three classes: the first five are all.
        assert_eq!([row[3], row[6]], [1.0, 1.0]);
    }

    // A third epoch.
    let output = run(&mut place.octresnet("train --resume --output run --epochs 3")).good();
    assert!(
        output.stderr.contains("going on with epoch 3"),
        "{output:?}"
    );
    let all = metrics(&run_dir);
    assert_eq!(all.len(), 3);
    assert_eq!(all[..2], first);
    assert_eq!(names(&run_dir), RUN);
    assert_eq!(names(&run_dir.join("checkpoint")).len(), 2);
    let again = run(&mut place.octresnet("train --resume --output run")).good();
    assert!(again.stderr.contains("nothing to do"), "{again:?}");
    assert_eq!(metrics(&run_dir), all);

    // The best weights do as well as they did in training.
    let evaluation = run(&mut place.octresnet("evaluate run --json")).json();
    let best = all.iter().fold(0.0, |best: f64, row| best.max(row[5]));
    assert_eq!(evaluation["images"], 6);
    assert_eq!(evaluation["skipped"], 0);
    assert!(
        (evaluation["top1"].as_f64().unwrap() - best).abs() < 1e-6,
        "{evaluation}"
    );
    assert_eq!(evaluation["top5"], 1.0);
    assert!(evaluation["loss"].as_f64().unwrap() > 0.0);
    let per_class = evaluation["per_class"].as_array().unwrap();
    assert_eq!(per_class.len(), 3);
    for (result, class) in per_class.iter().zip(CLASSES) {
        assert_eq!(result["class"], class);
        assert_eq!(result["images"], 2);
        assert!((0.0..=1.0).contains(&result["top1"].as_f64().unwrap()));
    }
    // The last weights, as a file, in its place and in the checkpoints, on a folder of classes.
    let checkpoint = names(&run_dir.join("checkpoint")).pop().unwrap();
    let checkpoint = format!("run/checkpoint/{checkpoint}/model.bpk");
    for model in ["run/last.bpk", &checkpoint] {
        let line = format!("evaluate {model} --data images/val --json --batch-size 1 --workers 0");
        let evaluation = run(&mut place.octresnet(&line)).json();
        assert!(
            (evaluation["loss"].as_f64().unwrap() - all[2][4]).abs() < 1e-4,
            "{evaluation}"
        );
    }
    let table = run(&mut place.octresnet("evaluate run --device flex")).good();
    assert!(table.stdout.contains("clock"), "{table:?}");

    // A file, a folder of folders, and something that is no image.
    fs::write(place.path("broken.png"), "no image").unwrap();
    let output =
        run(&mut place.octresnet("predict run images/val broken.png missing.png --top 2 --json"));
    assert!(
        output.stderr.contains("broken.png") && output.stderr.contains("missing.png"),
        "{output:?}"
    );
    let predictions = output.json();
    let predictions = predictions.as_array().unwrap();
    assert_eq!(predictions.len(), 6);
    for prediction in predictions {
        assert!(prediction["image"].as_str().unwrap().starts_with("images"));
        let ranked = prediction["predictions"].as_array().unwrap();
        let shares: Vec<_> = ranked
            .iter()
            .map(|r| r["probability"].as_f64().unwrap())
            .collect();
        assert_eq!(shares.len(), 2);
        assert!(
            shares[0] >= shares[1] && shares[0] <= 1.0 && shares[1] >= 0.0,
            "{shares:?}"
        );
        assert!(CLASSES.contains(&ranked[0]["class"].as_str().unwrap()));
    }
    let all = run(&mut place.octresnet("predict run images/val/sky --top 9 --json")).json();
    let ranked = all[0]["predictions"].as_array().unwrap();
    let sum: f64 = ranked
        .iter()
        .map(|r| r["probability"].as_f64().unwrap())
        .sum();
    assert!(ranked.len() == 3 && (sum - 1.0).abs() < 1e-5, "{all}");
    let text = run(&mut place.octresnet("predict run images/val/sky")).good();
    assert_eq!(text.stdout.lines().count(), 2);
    run(&mut place.octresnet("predict run broken.png")).error(1, &["could be read"]);
}

#[test]
fn the_seed_decides_everything_whatever_the_workers_and_however_often_resumed() {
    let place = Workplace::new();
    for (run_dir, workers) in [("a", 0), ("b", 2)] {
        place
            .train(
                run_dir,
                &format!("--workers {workers} --epochs 3 --alpha 0.25"),
            )
            .good();
    }
    let expected = results(&place.path("a"));
    assert_eq!(results(&place.path("b")), expected);
    // The same in three parts. The schedule has to know the last epoch from the start.
    let config = fs::read_to_string(place.path("a/config.json")).unwrap();
    let mut recipe: Value = serde_json::from_str(&config).unwrap();
    recipe["schedule"] = serde_json::json!({"kind": "constant"});
    fs::write(place.path("recipe.json"), recipe.to_string()).unwrap();
    let train = |line: &str| {
        run(&mut place.octresnet(&format!("train --config recipe.json {line}"))).good()
    };
    train("--output whole");
    train("--output parts --epochs 1");
    train("--output parts --epochs 2 --resume --workers 2");
    train("--output parts --resume");
    assert_eq!(results(&place.path("parts")), results(&place.path("whole")));
    assert_ne!(results(&place.path("whole")), expected);
    for weights in ["last.bpk", "best.bpk"] {
        let evaluate = |run_dir: &str| {
            run(&mut place.octresnet(&format!("evaluate {run_dir}/{weights} --json"))).json()
        };
        assert_eq!(evaluate("parts"), evaluate("whole"));
    }
}

#[test]
fn runs_without_a_folder_get_a_new_one_each_and_the_newest_is_resumed() {
    let place = Workplace::new();
    let line = format!("train {TINY} --data images --epochs 1");
    run(&mut place.octresnet(&line)).good();
    let second = run(&mut place.octresnet(&line)).good();
    assert_eq!(names(&place.path("runs")), ["images-1", "images-2"]);
    assert!(
        second.stderr.contains("evaluate runs/images-2"),
        "{second:?}"
    );
    run(&mut place.octresnet("train --data images --resume --epochs 2")).good();
    assert_eq!(metrics(&place.path("runs/images-1")).len(), 1);
    assert_eq!(metrics(&place.path("runs/images-2")).len(), 2);
    // A run's recipe makes another run, named after it.
    let line = "train --config runs/images-2/config.json --epochs 1";
    run(&mut place.octresnet(line)).good();
    assert_eq!(
        results(&place.path("runs/images-3")),
        results(&place.path("runs/images-1"))
    );
}

#[test]
fn a_folder_of_classes_is_split_and_evaluated_on_what_was_held_out() {
    let place = Workplace::new();
    let line = format!("train {TINY} --data images/train --output run");
    let output = run(&mut place.octresnet(&line)).good();
    assert!(
        output
            .stderr
            .contains("9 images to train on, 3 to validate on"),
        "{output:?}"
    );
    let evaluation = run(&mut place.octresnet("evaluate run --json")).json();
    assert_eq!(evaluation["images"], 3);
    let evaluation = run(&mut place.octresnet("evaluate run --data images/train --json")).json();
    assert_eq!(evaluation["images"], 12);
}

#[test]
fn unreadable_images_are_named_and_counted_and_do_not_stop_anything() {
    let place = Workplace::new();
    fs::write(place.path("images/train/sky/broken.png"), "no image").unwrap();
    fs::write(place.path("images/val/sky/empty.jpg"), "").unwrap();
    let output = place.train("run", "").good();
    for part in ["broken.png", "empty.jpg", "2 images could not be read"] {
        assert!(output.stderr.contains(part), "{output:?} lacks {part}");
    }
    assert_eq!(metrics(&place.path("run")).len(), 2);
    let evaluation = run(&mut place.octresnet("evaluate run --json"));
    assert!(evaluation.stderr.contains("empty.jpg"), "{evaluation:?}");
    let evaluation = evaluation.json();
    assert_eq!([&evaluation["images"], &evaluation["skipped"]], [6, 1]);

    fs::write(
        place.path("fail.json"),
        r#"{"data": {"on_unreadable": "fail"}}"#,
    )
    .unwrap();
    let output = place.train("failing", "--config fail.json");
    output.error(1, &["training stopped", "broken.png"]);
}

#[test]
fn images_larger_than_the_recipe_allows_are_left_out_everywhere() {
    let place = Workplace::new();
    let large = place.path("images/val/sky/large.png");
    image::RgbImage::new(1100, 1000).save(large).unwrap();
    fs::write(
        place.path("limit.json"),
        r#"{"data": {"max_megapixels": 1}}"#,
    )
    .unwrap();
    let warned = |line: &str| {
        let output = run(&mut place.octresnet(line)).good();
        for part in ["large.png", "max_megapixels"] {
            assert!(output.stderr.contains(part), "{output:?} lacks {part}");
        }
        output
    };
    warned(&format!(
        "train {TINY} --config limit.json --data images --output run"
    ));
    warned("evaluate run --json");
    let predictions = warned("predict run images/val/sky --json").json();
    assert_eq!(predictions.as_array().unwrap().len(), 2);
}

#[test]
fn the_vanilla_network_and_adamw_train_too() {
    let place = Workplace::new();
    fs::write(
        place.path("recipe.json"),
        r#"{"model": {"alpha": 0, "stem": "small"}, "optimizer": {"kind": "adamw"},
            "schedule": {"kind": "cosine", "warmup_epochs": 0.5}, "label_smoothing": 0}"#,
    )
    .unwrap();
    place.train("run", "--config recipe.json").good();
    run(&mut place.octresnet("evaluate run")).good();
}
