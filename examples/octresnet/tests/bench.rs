//! The measuring commands: the JSON that they promise, and what they refuse.

mod common;

use common::*;
use serde_json::Value;

/// A network and a time that take no time.
const TINY_NET: &str = "--arch oct-resnet-20 --size 16 --runs 3 --warmup 0 --device flex --json";

fn bench(line: &str) -> Output {
    run(octresnet().args(["bench"]).args(line.split_whitespace()))
}

/// The rows of a comparison as "name alpha", after checking what all have.
#[track_caller]
fn rows(comparison: &Value, batch: u64, size: u64, more: &[&str]) -> Vec<String> {
    assert_eq!(comparison["device"], "flex");
    assert_eq!(comparison["batch"], batch);
    assert_eq!(comparison["size"], size);
    let isa = comparison["isa"].as_str().unwrap();
    assert!(
        ["avx512", "avx2", "neon", "portable"].contains(&isa),
        "{isa}"
    );
    assert_eq!(comparison.as_object().unwrap().len(), 5, "{comparison}");
    let rows = comparison["rows"].as_array().unwrap();
    let name = |row: &Value| {
        let [min, median, max] =
            ["min_ms", "median_ms", "max_ms"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        let mut expected = vec!["name", "alpha", "median_ms", "min_ms", "max_ms"];
        expected.extend(more);
        let mut keys: Vec<_> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        expected.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, expected);
        format!("{} {}", row["name"].as_str().unwrap(), row["alpha"])
    };
    rows.iter().map(name).collect()
}

const SIDES: [&str; 4] = [
    "burn-conv2d 0.0",
    "composed 0.5",
    "engine 0.0",
    "engine 0.5",
];

#[test]
fn inference_has_a_row_for_every_side_and_a_line_for_every_batch() {
    let output = bench(&format!("infer {TINY_NET} --batch 1,2")).good();
    let lines: Vec<Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, batch) in lines.iter().zip([1, 2]) {
        assert_eq!(rows(line, batch, 16, &[]), SIDES);
    }
    let sweep = bench(&format!("infer {TINY_NET} --alpha 0.25,1 --rows engine")).json();
    assert_eq!(rows(&sweep, 1, 16, &[]), ["engine 0.25", "engine 1.0"]);
}

#[test]
fn training_has_peak_memory_measured_apart() {
    let line = format!("train {TINY_NET} --batch 2 --rows burn-conv2d,engine");
    let result = bench(&line).json();
    assert_eq!(
        rows(&result, 2, 16, &["peak_bytes"]),
        ["burn-conv2d 0.0", "engine 0.0", "engine 0.5"]
    );
    for row in result["rows"].as_array().unwrap() {
        let peak = &row["peak_bytes"];
        match cfg!(target_os = "linux") {
            // More than nothing; the weights alone have 1 MB.
            true => assert!(peak.as_u64().unwrap() > 1 << 20, "{row}"),
            false => assert!(peak.is_null(), "{row}"),
        }
    }
    let result = bench(&format!("{line} --no-memory")).json();
    assert!(result["rows"][0]["peak_bytes"].is_null());
}

#[test]
fn a_layer_has_both_passes_and_what_theory_says() {
    let line = "layer --channels 8,16 --size 9 --stride 2 --batch 3 --runs 3 --device flex --json";
    let result = bench(line).json();
    let names = rows(&result, 3, 9, &["pass", "macs"]);
    assert_eq!(names, [SIDES, SIDES].concat());
    let rows = result["rows"].as_array().unwrap();
    for (i, row) in rows.iter().enumerate() {
        let pass = if i < 4 { "forward" } else { "backward" };
        assert_eq!(row["pass"], pass);
    }
    // 3 images of 5×5 pixels, 9 taps; with stride 2 the low group is 3×3.
    assert_eq!(rows[0]["macs"], 3 * 25 * 9 * 8 * 16);
    let octave = 3 * 9 * (25 * (4 * 8 + 4 * 8) + 9 * (4 * 8 + 4 * 8));
    assert_eq!(rows[1]["macs"], octave);
    assert_eq!(rows[3]["macs"], octave);
}

#[test]
fn layers_of_every_kind_are_measured_beside_the_vanilla_one() {
    for kind in [
        "conv1d",
        "conv2d",
        "conv3d",
        "transpose1d",
        "transpose2d",
        "transpose3d",
    ] {
        let line = format!(
            "layer --kind {kind} --channels 8,16 --size 6 --frames 2 --stride 2 --batch 2 --runs 3 \
             --device flex --shares 0.5,0.5 --shares 0.5,0.25,0.25"
        );
        let result = bench(&format!("{line} --json")).json();
        assert_eq!(
            (&result["kind"], &result["batch"]),
            (&kind.into(), &2.into())
        );
        let rows = result["rows"].as_array().unwrap();
        let side = |row: &Value| format!("{} {}", row["name"].as_str().unwrap(), row["shares"]);
        let sides: Vec<_> = rows.iter().map(side).collect();
        let four = [
            "burn [1.0]",
            "ours [1.0]",
            "ours [0.5,0.5]",
            "ours [0.5,0.25,0.25]",
        ];
        assert_eq!(sides, [four, four].concat());
        assert!(result["isa"].is_string(), "{result}");
        let macs = |i: usize| rows[i]["macs"].as_u64().unwrap();
        assert!(
            macs(0) == macs(1) && macs(1) > macs(2) && macs(2) > macs(3),
            "{result}"
        );
        assert_eq!(
            (&rows[3]["pass"], &rows[4]["pass"]),
            (&"forward".into(), &"backward".into())
        );
        let table = bench(&line).good().stdout;
        for part in [kind, "0.5,0.25,0.25", "speed-up", "3 rounds"] {
            assert!(table.contains(part), "{table}");
        }
    }
    bench("layer --shares 0.5,0.4").error(2, &["their sum must be 1"]);
    bench("layer --shares half").error(2, &["use numbers whose sum is 1"]);
    bench("layer --kind conv1d --rows engine").error(1, &["--rows does not go with"]);
}

#[test]
fn without_json_there_is_a_table_with_ratios() {
    let line = TINY_NET.replace("--json", "--rows burn-conv2d,engine");
    let text = bench(&format!("infer {line}")).good().stdout;
    for part in [
        "oct-resnet-20",
        "16x16",
        "burn-conv2d",
        "speed-up",
        "theory",
        "alpha 0.5 is",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn every_step_of_inference_is_measured() {
    let line = "steps --arch oct-resnet-26 --width 0.25 --size 32 --runs 2";
    let report = bench(&format!("{line} --batch 3 --json")).json();
    assert_eq!(report.as_object().unwrap().len(), 5, "{report}");
    assert!(report["peak_gflops"].as_f64().unwrap() > 0.01);
    let steps = report["steps"].as_array().unwrap();
    for (i, step) in steps.iter().enumerate() {
        assert_eq!(step["step"], i + 1);
        assert!(step["median_ms"].as_f64().unwrap() > 0.0, "{step}");
    }
    assert_eq!(steps[0]["name"], "7x7x3, max-pool -> 16, 8x8");
    // From 7 × 7 × 3 to 16 channels over 16 × 16 pixels, before the max-pooling.
    assert_eq!(steps[0]["macs"], 3 * 7 * 7 * 3 * 16 * 16 * 16);
    let octave = "3x3x8 + up 3x3x8 -> 8, 8x8 | 3x3x8 + 3x3x8 -> 8, 4x4";
    assert!(steps.iter().any(|step| step["name"] == octave), "{report}");

    let text = bench(&format!("{line} --top 3")).good().stdout;
    assert!(
        text.contains("GFLOP/s") && text.contains("of peak"),
        "{text}"
    );
    // Title, header, three steps, sum, and the line's end.
    assert_eq!(text.lines().filter(|line| !line.is_empty()).count(), 6);
    let portable = bench(&format!("infer {TINY_NET} --isa portable")).json();
    assert_eq!(portable["isa"], "portable");
}

#[test]
fn bad_flags_are_named() {
    for (line, code, parts) in [
        (
            "infer --alpha 0.5,2",
            2,
            &["--alpha", "'2'", "0 to 1", "bench infer --help"][..],
        ),
        ("infer --alpha nan", 2, &["--alpha", "nan"]),
        ("infer --batch 0", 2, &["--batch", "0"]),
        ("infer --runs 0", 2, &["--runs"]),
        ("infer --runs 3 --seconds 2", 2, &["--runs", "--seconds"]),
        ("infer --seconds -1", 2, &["-1"]),
        ("infer --rows gpu", 2, &["gpu", "burn-conv2d"]),
        ("infer --rows composed --alpha 0", 1, &["--alpha above 0"]),
        ("infer --arch resnet", 2, &["--arch", "oct-resnet-50"]),
        ("infer --isa sse9", 1, &["sse9", "portable"]),
        ("infer --width 0", 1, &["width is 0"]),
        ("infer --device gpu", 2, &["gpu", "flex"]),
        ("train --batch 2,x", 2, &["--batch", "x"]),
        ("layer --channels 3", 2, &["--channels", "in and out"]),
        ("layer --stride 3", 2, &["--stride", "3"]),
        ("layer --kernel 0", 2, &["--kernel"]),
    ] {
        bench(line).error(code, parts);
    }
    assert_eq!(bench("").code, 2);
}

#[test]
fn the_data_path_is_measured_for_each_number_of_workers() {
    let place = Workplace::new();
    let line = "bench data --data images --size 16 --batch-size 5 --workers 0,2 --device flex";
    let output = run(&mut place.octresnet(&format!("{line} --json"))).good();
    let rates: Vec<Value> = (output.stdout.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rates.len(), 2);
    for (rate, workers) in rates.iter().zip([0, 2]) {
        assert_eq!(rate.as_object().unwrap().len(), 4, "{rate}");
        assert_eq!(rate["workers"], workers);
        assert_eq!(rate["images"], 12);
        let product =
            rate["images_per_second"].as_f64().unwrap() * rate["seconds"].as_f64().unwrap();
        assert!((product - 12.0).abs() < 1e-6, "{rate}");
    }
    let text = run(&mut place.octresnet(line)).good().stdout;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("2 workers: "), "{text}");

    run(&mut place.octresnet("bench data --data nowhere")).error(1, &["`nowhere` does not exist"]);
    run(&mut place.octresnet("bench data")).error(2, &["--data"]);
}
