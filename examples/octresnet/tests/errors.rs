//! Every bad input is one line that says what to do, and leaves nothing behind.

mod common;

use std::fs;

use common::*;

#[test]
fn bad_images_are_refused_before_anything_is_written() {
    let place = Workplace::new();
    let train = |data: &str| {
        let line = format!("train {TINY} --data {data} --output run");
        let output = run(&mut place.octresnet(&line));
        assert!(!place.path("run").exists(), "{output:?}");
        output
    };
    train("nowhere").error(1, &["`nowhere` does not exist", "--data"]);
    train("images/val/sky").error(1, &["class folders"]);

    fs::create_dir_all(place.path("hollow/a")).unwrap();
    fs::create_dir_all(place.path("hollow/b")).unwrap();
    train("hollow").error(1, &["no images"]);

    fs::create_dir(place.path("images/train/extra")).unwrap();
    train("images").error(1, &["extra"]);
    fs::create_dir(place.path("images/val/extra")).unwrap();
    train("images").error(1, &["extra", "no images"]);

    fs::write(place.path("file"), "x").unwrap();
    train("file").error(1, &["not a folder"]);
}

#[test]
fn the_bundled_images_are_missed_with_a_hint() {
    let place = Workplace::new();
    let output = run(&mut place.octresnet("train"));
    output.error(1, &["examples/data/emoji", "--data"]);
    assert!(!place.path("runs").exists());
}

#[test]
fn bad_settings_are_named() {
    let place = Workplace::new();
    for (flags, code, parts) in [
        ("--arch resnet", 2, &["--arch", "oct-resnet-50"][..]),
        ("--alpha half", 2, &["--alpha", "0.5"]),
        ("--stem big", 2, &["--stem", "imagenet"]),
        ("--epoch 3", 2, &["--epochs"]),
        ("--device gpu", 2, &["gpu", "cuda", "flex"]),
        ("--device flex,", 2, &["''", "flex"]),
        (
            "--device remote:gpu",
            2,
            &["remote:gpu", "remote:ws://HOST:PORT"],
        ),
        ("--strategy best --device flex,flex", 2, &["multi or ddp"]),
        (
            "--strategy ddp --device flex,flex",
            1,
            &["'flex'", "CUDA", "--strategy multi"],
        ),
        ("--workers many", 2, &["--workers"]),
        ("--alpha 1.5", 1, &["1.5", "[0, 1]"]),
        ("--alpha nan", 1, &["NaN", "[0, 1]"]),
        ("--alpha=-0.1", 1, &["-0.1", "[0, 1]"]),
        ("--width -1", 2, &["-1"]),
        ("--width 0", 1, &["width is 0"]),
        ("--epochs 0", 1, &["`epochs` is 0"]),
        ("--batch-size 0", 1, &["`data.batch_size` is 0"]),
        ("--lr 0", 1, &["`optimizer.lr` is 0"]),
        ("--size 0", 1, &["`data.train.size` is 0"]),
        ("--config nowhere.json", 1, &["nowhere.json"]),
    ] {
        let line = format!("train --data images --output run {flags}");
        run(&mut place.octresnet(&line)).error(code, parts);
        assert!(!place.path("run").exists());
    }
    for (flags, code, part) in [
        ("info --size 0", 2, "--size"),
        ("info --classes 0", 1, "num_classes is 0"),
        ("info --classes 99999999999", 2, "--classes"),
        (
            "profile --arch oct-resnext-50 --alpha 0.125",
            1,
            "32 must divide",
        ),
        ("profile --sweep half", 2, "--sweep"),
        ("info --alpha 0.5,0.5", 2, "three"),
        ("evaluate", 2, "<MODEL>"),
        ("predict run", 2, "<IMAGE>"),
        ("nonsense", 2, "nonsense"),
    ] {
        run(&mut place.octresnet(flags)).error(code, &[part]);
    }
}

#[test]
fn a_device_that_is_not_built_in_names_its_feature() {
    let place = Workplace::new();
    for device in ["cuda:0", "rocm"] {
        let feature = device.split(':').next().unwrap();
        let output = run(&mut place.octresnet(&format!("train --data images --device {device}")));
        // A build with all features fails to find the hardware instead.
        let expected = match output.stderr.contains("cannot be used") {
            true => "choose another with --device".into(),
            false => format!("cargo build --release --features {feature}"),
        };
        output.error(1, &[&expected]);
    }
    assert!(!place.path("runs").exists());
}

#[cfg(not(feature = "remote"))]
#[test]
fn devices_of_other_machines_name_their_feature() {
    let place = Workplace::new();
    for line in [
        "serve",
        "train --data images --device flex,remote:ws://gpu:3000",
        "predict run image.png --device remote:ws://gpu:3000",
    ] {
        let output = run(&mut place.octresnet(line));
        output.error(1, &["cargo build --release --features remote"]);
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn recipes_are_refused_with_key_and_line() {
    let place = Workplace::new();
    for (recipe, parts) in [
        (
            "{\n  \"epoch\": 3\n}",
            &["recipe.json", "epoch", "line 2"][..],
        ),
        (
            "{\n  \"data\": {\"workers\": -1}\n}",
            &["data.workers", "line 2"],
        ),
        (
            "{\"optimizer\": {\"kind\": \"lion\"}}",
            &["optimizer", "lion", "adamw"],
        ),
        (
            "{\"schedule\": {\"kind\": \"step\", \"milestones\": [3, 2]}}",
            &["schedule.milestones"],
        ),
        (
            "{\"data\": {\"train\": {\"scale\": [0.5, 2]}}}",
            &["data.train.scale"],
        ),
        ("not json", &["recipe.json", "line 1"]),
        ("", &["recipe.json"]),
    ] {
        fs::write(place.path("recipe.json"), recipe).unwrap();
        run(&mut place.octresnet("train --config recipe.json --data images")).error(1, parts);
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn a_run_is_not_overwritten_and_not_changed_by_resuming() {
    let place = Workplace::new();
    run(&mut place.octresnet("train --resume --output run")).error(1, &["no run to resume"]);
    run(&mut place.octresnet("train --resume --data images")).error(1, &["runs/images-"]);
    place.train("run", "--epochs 1").good();
    let before = fs::read(place.path("run/last.bpk")).unwrap();
    place
        .train("run", "")
        .error(1, &["holds a run already", "--resume", "--output"]);
    for (flags, parts) in [
        ("--alpha 0.25", &["`model.alpha` is 0.25", "0.5"][..]),
        ("--batch-size 8", &["`data.batch_size` is 8", "4"]),
        ("--lr 0.5", &["`optimizer.lr` is 0.5"]),
    ] {
        let line = format!("train --resume --output run --epochs 2 {flags}");
        run(&mut place.octresnet(&line)).error(1, parts);
    }
    fs::rename(
        place.path("images/train/sky"),
        place.path("images/train/star"),
    )
    .unwrap();
    fs::rename(place.path("images/val/sky"), place.path("images/val/star")).unwrap();
    let line = "train --resume --output run --epochs 2";
    run(&mut place.octresnet(line)).error(1, &["other classes"]);
    assert_eq!(fs::read(place.path("run/last.bpk")).unwrap(), before);
    run(&mut place.octresnet("evaluate run")).error(1, &["other classes"]);
    run(&mut place.octresnet("evaluate run --data images")).error(1, &["star", "sky"]);
}

#[test]
fn damaged_and_foreign_weights_are_refused() {
    let place = Workplace::new();
    place.train("run", "--epochs 1").good();
    place.train("other", "--epochs 1 --width 0.125").good();
    let good = fs::read(place.path("run/best.bpk")).unwrap();
    let use_it = |expected: &[&str]| {
        run(&mut place.octresnet("evaluate run/best.bpk")).error(1, expected);
        run(&mut place.octresnet("predict run/best.bpk images/val")).error(1, expected);
    };
    let mut wild = good.clone();
    wild[..16].fill(0xff);
    let mut scrambled = good.clone();
    for byte in &mut scrambled[40..400] {
        *byte ^= 0x55;
    }
    let contents: [&[u8]; 6] = [
        b"",
        b"weights",
        &good[..20],
        &good[..good.len() / 2],
        &wild,
        &scrambled,
    ];
    for content in contents {
        fs::write(place.path("run/best.bpk"), content).unwrap();
        use_it(&["best.bpk", "cannot load the weights"]);
    }
    fs::copy(place.path("other/best.bpk"), place.path("run/best.bpk")).unwrap();
    use_it(&["best.bpk", "another network"]);
    run(&mut place.octresnet("evaluate run/last.bpk")).good();

    let classes = fs::read(place.path("run/classes.json")).unwrap();
    fs::write(place.path("run/classes.json"), "[1]").unwrap();
    run(&mut place.octresnet("evaluate run/last.bpk")).error(1, &["classes.json"]);
    fs::write(place.path("run/classes.json"), classes).unwrap();

    fs::remove_file(place.path("run/best.bpk")).unwrap();
    run(&mut place.octresnet("evaluate run")).good();
    fs::remove_file(place.path("run/last.bpk")).unwrap();
    run(&mut place.octresnet("evaluate run")).error(1, &["neither best.bpk nor last.bpk"]);
    run(&mut place.octresnet("evaluate images")).error(1, &["config.json"]);
    run(&mut place.octresnet("evaluate nowhere")).error(1, &["does not exist"]);
}

#[test]
fn a_message_about_a_long_value_is_short() {
    let place = Workplace::new();
    let long = "x".repeat(100_000);
    let recipe = format!("{{\"model\": {{\"arch\": \"{long}\"}}}}");
    fs::write(place.path("long.json"), recipe).unwrap();
    for (line, code) in [
        ("train --config long.json".to_string(), 1),
        (format!("train --alpha {long}"), 2),
    ] {
        let output = run(&mut place.octresnet(&line));
        assert_eq!(output.code, code);
        assert!(
            output.stderr.chars().count() < 2000,
            "{}",
            output.stderr.len()
        );
    }
}
