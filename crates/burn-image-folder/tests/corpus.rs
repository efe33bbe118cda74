//! Every file of the corpus against what Pillow reads from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_image_folder::{decode_rgb, decode_rgb_bytes};
use image::RgbImage;

/// Largest difference of a pixel's value: the rounding of 16-bit values, of inks and of alpha.
const TOLERANCE: u8 = 1;

/// A line of `index.tsv`.
struct Case {
    name: String,
    format: String,
    what: String,
    read: bool,
}

fn cases() -> Vec<Case> {
    let index = fs::read_to_string(corpus().join("index.tsv")).unwrap();
    let cases = index.lines().map(|line| {
        let fields: Vec<_> = line.split('\t').map(String::from).collect();
        let [name, format, what, result] = fields.try_into().unwrap();
        Case {
            name,
            format,
            what,
            read: result == "read",
        }
    });
    cases.collect()
}

fn corpus() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/corpus"
    ))
}

/// The largest difference, or none if the sizes differ.
fn difference(a: &RgbImage, b: &RgbImage) -> Option<u8> {
    let pairs = a.as_raw().iter().zip(b.as_raw());
    (a.dimensions() == b.dimensions())
        .then(|| pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0))
}

#[test]
fn every_file_is_read_as_pillow_reads_it_or_left_out() {
    let cases = cases();
    assert!(cases.len() >= 150);
    let mut wrong = Vec::new();
    for Case { name, read, .. } in &cases {
        let decoded = decode_rgb(corpus().join(name));
        match (decoded, read) {
            (Err(error), true) => wrong.push(error.to_string()),
            (Ok(_), false) => wrong.push(format!("{name} is accepted")),
            (Err(_), false) => {}
            (Ok(decoded), true) => {
                let expected = image::open(corpus().join(format!("{name}.png"))).unwrap();
                match difference(&decoded, &expected.into_rgb8()) {
                    Some(..=TOLERANCE) => {}
                    worst => wrong.push(format!("{name} differs by {worst:?}")),
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} files:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What the corpus says of each format, as a table.
fn table() -> String {
    let mut rows: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for Case {
        format, what, read, ..
    } in cases()
    {
        let row = rows.entry((!read, format)).or_default();
        if !row.contains(&what) {
            row.push(what);
        }
    }
    let mut table = String::from("| format | | kinds of files |\n|---|---|---|\n");
    for ((left_out, format), mut kinds) in rows {
        kinds.sort();
        let result = if left_out { "left out" } else { "read" };
        table += &format!("| {format} | {result} | {} |\n", kinds.join("; "));
    }
    table
}

#[test]
fn the_documented_table_is_that_of_the_corpus() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data.md");
    let text = fs::read_to_string(page).unwrap();
    let table = table();
    assert!(
        text.contains(&table),
        "docs/data.md lacks this table:\n\n{table}"
    );
}

#[test]
fn damage_ends_in_an_error_or_a_picture_in_time() {
    let mut state = 7_u64;
    let mut random = move |end: usize| {
        // Knuth's generator: any will do, so long as a failure comes again.
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % end
    };
    for Case { name, .. } in cases() {
        let whole = fs::read(corpus().join(&name)).unwrap();
        for round in 0..12 {
            let mut damaged = whole.clone();
            match round % 3 {
                0 => damaged.truncate(random(whole.len())),
                _ => {
                    for _ in 0..round {
                        damaged[random(whole.len())] ^= 1 << random(8);
                    }
                }
            }
            let start = std::time::Instant::now();
            let result = decode_rgb_bytes(&damaged);
            assert!(
                start.elapsed().as_secs() < 10,
                "{name}, round {round}: {result:?}"
            );
        }
    }
}
