//! The pictures and pages about runs, with the real program.

mod common;

use std::{fs, path::Path};

use common::*;
use image::{Rgb, RgbImage};
use serde_json::Value;

/// Share of the pixels that are not as the corner is.
fn drawn(image: &RgbImage) -> f64 {
    let background = *image.get_pixel(0, 0);
    let count = image.pixels().filter(|pixel| **pixel != background).count();
    count as f64 / image.len() as f64 * 3.0
}

fn has(image: &RgbImage, colour: [u8; 3]) -> bool {
    image.pixels().any(|pixel| *pixel == Rgb(colour))
}

fn picture(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

/// The numbers in an attribute of the first tag of an SVG.
fn attribute(svg: &str, name: &str) -> u32 {
    let tag = &svg[svg.find("<svg").unwrap()..];
    let value = &tag[tag.find(&format!(" {name}=\"")).unwrap() + name.len() + 3..];
    value[..value.find('"').unwrap()].parse().unwrap()
}

#[test]
fn a_run_leaves_a_page_with_its_numbers_and_pictures() {
    let place = Workplace::new();
    let output = place.train("run", "").good();
    assert!(
        output.stderr.contains("report: run/report.md"),
        "{output:?}"
    );
    let run_dir = place.path("run");
    let rows = metrics(&run_dir);

    // The JSON lines say what the table says.
    let lines = fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(&rows) {
        assert_eq!(line["epoch"].as_f64().unwrap(), row[0]);
        assert_eq!(line["val_loss"].as_f64().unwrap(), row[4]);
        assert_eq!(line["data_wait"].as_f64().unwrap(), row[10]);
        assert!((0.0..=1.0).contains(&row[10]), "{row:?}");
    }

    let page = fs::read_to_string(run_dir.join("report.md")).unwrap();
    for row in &rows {
        let [epoch, train_loss, val_loss] = [row[0], row[1], row[4]];
        let line = page.lines().find(|line| {
            line.starts_with(&format!("| {epoch} | {train_loss:.4} |"))
                && line.contains(&format!("| {val_loss:.4} | {:.1} % |", 100.0 * row[5]))
        });
        assert!(line.is_some(), "no line for {row:?} in {page}");
    }
    let config = fs::read_to_string(run_dir.join("config.json")).unwrap();
    assert!(page.contains(config.trim()), "{page}");
    let evaluation = run(&mut place.octresnet("evaluate run --json")).json();
    for class in evaluation["per_class"].as_array().unwrap() {
        let (name, top1) = (
            class["class"].as_str().unwrap(),
            class["top1"].as_f64().unwrap(),
        );
        let line = format!("| {name} | 2 | {:.1} % |", 100.0 * top1);
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    assert!(page.contains("multiply–adds"), "{page}");
    // Every file that the page shows is there.
    for part in page.split("](").skip(1) {
        let file = &part[..part.find(')').unwrap()];
        assert!(run_dir.join(file).is_file(), "{file}");
    }
    let confusion = picture(&run_dir.join("report/confusion.png"));
    assert!(drawn(&confusion) > 0.2, "{}", drawn(&confusion));
    let classes = fs::read_to_string(run_dir.join("report/classes.csv")).unwrap();
    assert_eq!(classes.lines().count(), 1 + CLASSES.len());

    // Again, on other images.
    fs::remove_file(run_dir.join("report.md")).unwrap();
    let again = run(&mut place.octresnet("report run --data images/train")).good();
    assert_eq!(again.stdout, "run/report.md\n");
    let page = fs::read_to_string(run_dir.join("report.md")).unwrap();
    assert!(page.contains("| clock | 4 |"), "{page}");
}

#[test]
fn curves_of_runs_are_drawn_beside_each_other() {
    let place = Workplace::new();
    place.train("octave", "--epochs 3").good();
    place.train("vanilla", "--alpha 0").good();
    let output = run(&mut place.octresnet("plot octave vanilla/metrics.csv")).good();
    assert_eq!(output.stdout, "curves.svg\ncurves.png\n");
    let svg = fs::read_to_string(place.path("curves.svg")).unwrap();
    let png = picture(&place.path("curves.png"));
    let size = [attribute(&svg, "width"), attribute(&svg, "height")];
    assert_eq!([png.width(), png.height()], size.map(|length| 2 * length));
    assert!(size[0] == 820 && (700..1000).contains(&size[1]), "{size:?}");
    assert!(svg.trim_end().ends_with("</svg>"));
    for text in [
        "octave",
        "vanilla",
        "Loss",
        "Top-1 accuracy (%)",
        "Learning rate",
        "epoch",
    ] {
        assert!(svg.contains(text), "{text} is not in the picture");
    }
    // Both runs' colours, and text.
    assert!(has(&png, [0, 114, 178]) && has(&png, [213, 94, 0]));
    assert!((0.02..0.4).contains(&drawn(&png)), "{}", drawn(&png));

    // One run has one colour.
    run(&mut place.octresnet("plot octave --output one.png")).good();
    let one = picture(&place.path("one.png"));
    assert!(has(&one, [0, 114, 178]) && !has(&one, [213, 94, 0]));
    assert!(one.height() < png.height());

    run(&mut place.octresnet("plot octave --output curves.jpg")).error(1, &["curves.jpg", ".svg"]);
    run(&mut place.octresnet("plot octave images")).error(1, &["images", "no run"]);
    run(&mut place.octresnet("plot octave --output none/a.svg")).error(1, &["none/a.svg"]);
    let many = "octave ".repeat(15);
    run(&mut place.octresnet(&format!("plot {many}"))).error(1, &["15 runs", "14"]);
    run(&mut place.octresnet("plot")).error(2, &["<RUN>"]);
}

#[test]
fn a_picture_is_shown_as_the_two_frequencies_see_it() {
    let place = Workplace::new();
    place.train("run", "--epochs 1").good();
    place.train("vanilla", "--epochs 1 --alpha 0").good();
    let image = fs::read_dir(place.path("images/val/clock"))
        .unwrap()
        .next()
        .unwrap();
    fs::copy(image.unwrap().path(), place.path("clock.png")).unwrap();
    let inspect = |line: &str| run(&mut place.octresnet(&format!("inspect {line}")));

    let seen = inspect("run clock.png --size 64").json();
    let files: Vec<_> = seen["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f.as_str().unwrap())
        .collect();
    assert_eq!(
        files,
        ["frequencies", "stem", "layer1.0", "layer1.1"]
            .map(|name| format!("inspect-clock/{name}.png"))
    );
    for file in files {
        let share = drawn(&picture(&place.path(file)));
        assert!(share > 0.05, "{file}: {share}");
    }
    let layers = seen["layers"].as_array().unwrap();
    assert_eq!(layers[0]["low"], Value::Null);
    assert_eq!([&layers[0]["high"][1], &layers[0]["high"][2]], [16, 16]);
    for layer in &layers[1..] {
        assert_eq!([&layer["high"][1], &layer["low"][1]], [16, 8]);
        assert_eq!(layer["high"][0], layer["low"][0]);
    }
    let share = seen["low_variance"].as_f64().unwrap();
    assert!(share > 0.2 && share < 1.0, "{share}");

    // A vanilla network has no low maps, and none are drawn.
    let seen = inspect("vanilla clock.png --blocks 1 --output maps").json();
    assert_eq!(seen["layers"][1]["low"], Value::Null);
    assert_eq!(
        names(&place.path("maps")),
        ["frequencies.png", "layer1.0.png", "stem.png"]
    );

    inspect("run missing.png").error(1, &["missing.png"]);
    inspect("run clock.png --size 0").error(1, &["size", "0"]);
    inspect("images clock.png").error(1, &["images"]);
}

#[test]
fn images_are_drawn_on_a_sheet_with_their_classes() {
    let place = Workplace::new();
    place.train("run", "--epochs 1").good();
    let predict = |line: &str| run(&mut place.octresnet(&format!("predict run {line}")));
    let lines = predict("images/val").good().stdout;
    let output = predict("images/val --sheet sheet.png").good();
    assert_eq!(output.stdout, lines);
    assert!(output.stderr.contains("sheet: sheet.png"), "{output:?}");
    let sheet = picture(&place.path("sheet.png"));
    assert_eq!(sheet.dimensions(), (2000, 480));
    assert!((0.05..0.6).contains(&drawn(&sheet)), "{}", drawn(&sheet));

    // What cannot be read has a line at the foot, and the sheet all others.
    fs::write(place.path("images/val/clock/broken.png"), "no picture").unwrap();
    let output = predict("images/val images/none --sheet faults.png").good();
    assert_eq!(output.stdout, lines);
    let faults = picture(&place.path("faults.png"));
    assert_eq!(faults.dimensions(), (2000, 480 + 2 * (2 * 18 + 16)));

    // Thousands would not be seen: a sheet has as many as it has room for.
    let many = place.path("many");
    fs::create_dir(&many).unwrap();
    let image = place.path("images/train/heart");
    let image = fs::read_dir(image).unwrap().next().unwrap().unwrap().path();
    for number in 0..100 {
        fs::copy(&image, many.join(format!("{number}.png"))).unwrap();
    }
    let output = predict("many --top 1 --sheet many.png").good();
    assert_eq!(output.stdout.lines().count(), 100);
    let many = picture(&place.path("many.png"));
    assert_eq!(many.dimensions(), (2000, 2 * (46 + 12 * 194)));

    predict("images/val --sheet sheet.jpg").error(2, &["--sheet", ".png"]);
    let output = predict("images/val --sheet none/sheet.png");
    assert!(
        output.code == 1 && output.stderr.contains("none/sheet.png"),
        "{output:?}"
    );
}

#[test]
fn a_run_has_logs_for_tensorboard_if_asked_and_goes_on_with_them() {
    let place = Workplace::new();
    place.train("plain", "--epochs 1").good();
    assert!(!place.path("plain/tensorboard").exists());
    place.train("run", "--epochs 1 --log tensorboard").good();
    let sizes = || {
        ["train", "val"].map(|part| {
            let folder = place.path("run/tensorboard").join(part);
            let [name] = &names(&folder)[..] else {
                panic!("not one file in {}", folder.display());
            };
            // By this TensorBoard finds its files.
            assert!(name.contains("tfevents"), "{name}");
            fs::metadata(folder.join(name)).unwrap().len()
        })
    };
    let [train, val] = sizes();
    assert!(train > 300 && val > 10_000, "{train} {val}");
    let line = "train --resume --output run --epochs 2 --device flex";
    run(&mut place.octresnet(line)).good();
    let [longer, more] = sizes();
    assert!(longer > train && more > val, "{longer} {more}");
    run(&mut place.octresnet("train --log nonsense")).error(2, &["nonsense", "tensorboard"]);
}
