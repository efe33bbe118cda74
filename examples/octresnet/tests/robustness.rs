//! `evaluate` on corrupted and attacked images.

mod common;

use common::*;

#[test]
fn corruptions_and_attacks_are_rows_beside_the_images_as_they_are() {
    let place = Workplace::new();
    place.train("run", "").good();
    let line = "evaluate run --corrupt blur:2 --corrupt noise:0.2 --corrupt jpeg:10 --corrupt lowpass:0.3 --corrupt highpass:0.3 --attack pgd --epsilon 2/255,8/255 --steps 5 --json --device flex";
    let rows = run(&mut place.octresnet(line)).json();
    let inputs: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["input"].as_str().unwrap())
        .collect();
    assert_eq!(
        inputs,
        [
            "clean",
            "blur:2",
            "noise:0.2",
            "jpeg:10",
            "lowpass:0.3",
            "highpass:0.3",
            "pgd-5:2/255",
            "pgd-5:8/255"
        ]
    );
    // The images as they are, as without.
    let clean = run(&mut place.octresnet("evaluate run --json --device flex")).json();
    let mut first = rows[0].clone();
    first.as_object_mut().unwrap().remove("input");
    assert_eq!(first, clean);
    let loss = |row: usize| rows[row]["loss"].as_f64().unwrap();
    for (row, input) in inputs.iter().enumerate().skip(1) {
        assert_ne!(loss(row), loss(0), "{input}");
        assert_eq!(rows[row]["images"], 6);
    }
    assert!(loss(6) > loss(0) && loss(7) > loss(6), "{rows}");
    // Seeded.
    assert_eq!(run(&mut place.octresnet(line)).json(), rows);

    let fgsm = "evaluate run --attack fgsm --epsilon 8/255 --device flex";
    let table = run(&mut place.octresnet(fgsm)).good().stdout;
    assert!(
        table.lines().nth(2).unwrap().starts_with("fgsm:8/255"),
        "{table}"
    );
    let one = "evaluate run --attack pgd --epsilon 8/255 --steps 1 --step-size 8/255 --no-random-start --device flex";
    let same = run(&mut place.octresnet(one))
        .good()
        .stdout
        .replace("pgd-1:8/255", "fgsm:8/255");
    let cells = |text: &str| {
        text.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(cells(&same), cells(&table));
}

#[test]
fn what_cannot_be_done_to_images_is_named() {
    let place = Workplace::new();
    for (flags, code, parts) in [
        ("--corrupt fog:2", 2, &["fog:2", "blur:PIXELS"][..]),
        ("--corrupt blur:0", 2, &["above 0"]),
        ("--attack pgd", 2, &["--epsilon"]),
        ("--epsilon 2/255", 2, &["--attack"]),
        ("--attack pgd --epsilon 2", 2, &["2/255"]),
        ("--attack cw --epsilon 2/255", 2, &["cw", "fgsm"]),
        (
            "--attack pgd --epsilon 2/255 --steps 0",
            1,
            &["`steps` is 0"],
        ),
        (
            "--attack fgsm --epsilon 2/255 --no-random-start",
            1,
            &["pgd"],
        ),
    ] {
        run(&mut place.octresnet(&format!("evaluate run {flags}"))).error(code, parts);
    }
}
