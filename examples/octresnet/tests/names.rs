//! Names that a terminal would obey, or that are no text, through the real program.

#![cfg(unix)]

mod common;

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use common::*;

/// A line break, an escape code and a change of the direction of writing.
const HOSTILE: &str = "a\n\u{1b}[31m\u{202e}";

/// As it is printed.
const SHOWN: &str = r"a\n\u{1b}[31m\u{202e}";

/// As a shell takes it.
const QUOTED: &str = r"$'a\n\x1b[31m\xe2\x80\xae'";

/// Runs the program in a place, which may say no control character but line breaks. Returns what it said.
#[track_caller]
fn say(place: &Workplace, code: i32, arguments: &[impl AsRef<OsStr>]) -> String {
    let output = run(place.octresnet("").args(arguments));
    let said = output.stdout.clone() + &output.stderr;
    let raw = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(!said.contains(raw), "{said:?}");
    assert_eq!(output.code, code, "{output:?}");
    said
}

/// Words of a command line, in which `@` stands for the hostile name.
fn words(line: &str) -> Vec<OsString> {
    let words = line.split_whitespace();
    words
        .map(|word| word.replace('@', HOSTILE).into())
        .collect()
}

#[test]
fn names_of_files_are_printed_escaped() {
    let place = Workplace::new();
    let images = format!("images{HOSTILE}");
    fs::rename(place.path("images"), place.path(&images)).unwrap();
    for part in ["train", "val"] {
        let folder = place.path(&images).join(part);
        fs::rename(folder.join("sky"), folder.join(HOSTILE)).unwrap();
    }
    let tiny = format!("train {TINY} --data images@ --output run@");
    for (code, line, expected) in [
        (
            0,
            tiny.as_str(),
            format!("evaluate {}", QUOTED.replace("'a", "'runa")),
        ),
        (1, &tiny, format!("`run{SHOWN}` holds a run already")),
        (
            0,
            "train --resume --output run@",
            format!("the run in run{SHOWN} has all"),
        ),
        (0, "evaluate run@", format!("\n{SHOWN} ")),
        (
            0,
            "predict run@ images@/val",
            format!("images{SHOWN}/val/{SHOWN}/"),
        ),
        (0, "report run@", format!("run{SHOWN}/report.md")),
        (0, "plot run@ --output @.svg", format!("{SHOWN}.svg")),
        (
            0,
            "convert run@ @.safetensors",
            format!("-> {SHOWN}.safetensors ("),
        ),
        (0, "export run@ @.bpk", format!("{SHOWN}.bpk (")),
        (
            0,
            &format!("train {TINY} --data images@ --init @.bpk --output next"),
            format!("first weights from {SHOWN}.bpk"),
        ),
        (1, "train --data no@", format!("`no{SHOWN}` does not exist")),
        (1, "train --config no@", format!("`no{SHOWN}`")),
        (1, "train --init no@ --data images@", format!("`no{SHOWN}`")),
        (1, "evaluate no@", format!("`no{SHOWN}`")),
        (1, "evaluate run@ --data no@", format!("`no{SHOWN}`")),
        (1, "predict run@ no@", format!("`no{SHOWN}`")),
        (1, "inspect run@ no@", format!("`no{SHOWN}`")),
        (1, "convert no@ to.bpk", format!("`no{SHOWN}`")),
        (
            1,
            "convert run@ @",
            format!("`{SHOWN}` has no known ending"),
        ),
        (1, "export no@ to.bpk", format!("`no{SHOWN}`")),
        (1, "plot no@ --output to.svg", format!("`no{SHOWN}`")),
        (1, "prepare cifar no@", format!("`no{SHOWN}`")),
    ] {
        let said = say(&place, code, &words(line));
        assert!(
            said.contains(&expected),
            "{line}: {said:?} lacks {expected:?}"
        );
    }
    let report = fs::read_to_string(place.path(&format!("run{HOSTILE}/report.md"))).unwrap();
    assert!(!report.contains('\u{1b}'), "{report}");
}

#[test]
fn names_that_are_no_text_are_read_and_printed_escaped() {
    let place = Workplace::new();
    let bytes = |bytes: &'static [u8]| Path::new(OsStr::from_bytes(bytes));
    let (images, model) = (bytes(b"images\xff"), bytes(b"run\xfe"));
    let root = place.path("");
    place.train("run", "").good();
    fs::rename(root.join("images"), root.join(images)).unwrap();
    fs::rename(root.join("run"), root.join(model)).unwrap();
    let [predict, evaluate, convert] = ["predict", "evaluate", "convert"].map(OsStr::new);
    let said = say(&place, 0, &[predict, model.as_os_str(), images.as_os_str()]);
    assert!(said.contains(r"images\xff/val/sky/"), "{said}");
    let json = [
        predict,
        model.as_os_str(),
        images.as_os_str(),
        "--json".as_ref(),
    ];
    let said = say(&place, 0, &json);
    assert!(said.contains("\"image\":\"images\u{fffd}/"), "{said}");
    let data = [
        evaluate,
        model.as_os_str(),
        "--data".as_ref(),
        images.as_os_str(),
    ];
    say(&place, 0, &data);
    let said = say(
        &place,
        0,
        &[convert, model.as_os_str(), bytes(b"\xfd.bpk").as_os_str()],
    );
    assert!(said.contains(r"-> \xfd.bpk"), "{said}");
    let train = ["train", "--data"].map(OsStr::new);
    let said = say(&place, 1, &[train[0], train[1], images.as_os_str()]);
    assert!(
        said.contains(r"`data.path` is `images\xff`: it must be UTF-8"),
        "{said}"
    );
    let said = say(&place, 1, &[convert, images.as_os_str(), "to.bpk".as_ref()]);
    assert!(said.contains(r"images\xff"), "{said}");
}
