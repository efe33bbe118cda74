//! Pickles that cost more memory than their file is worth. Each is opened in a process of its own, whose
//! memory is measured and limited.

#![cfg(unix)]

#[path = "support/pytorch_file.rs"]
mod pytorch_file;

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use burn_octresnet::weights::Checkpoint;
use pytorch_file::{Saved, archive, pth};
use zip::CompressionMethod::{Deflated, Stored};

/// Megabytes that opening a small file may take in all, and that the system gives.
const EXPECTED: usize = 200;
const GIVEN: usize = 3000;

const FILE: &str = "OCTRESNET_BOMB";

/// Opens the file that the environment names, if it does, and says how much memory that took.
#[test]
fn child() {
    let Some(path) = env::var_os(FILE) else {
        return;
    };
    match Checkpoint::open(Path::new(&path)) {
        Ok(_) => println!("opened"),
        Err(error) => println!("refused: {error}"),
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("peak {}", peak.unwrap_or("0 kB").trim());
}

fn open(bytes: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    fs::write(&path, bytes).unwrap();
    let line = format!("ulimit -v {}; exec \"$0\" \"$@\"", GIVEN << 10);
    let mut command = Command::new("sh");
    command.args(["-c", &line]).arg(env::current_exe().unwrap());
    command.args(["child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(FILE, &path).output().unwrap()
}

/// Opens a file and compares what it says and takes.
fn check(name: &str, bytes: &[u8], opens: bool) -> Result<(), String> {
    let output = open(bytes);
    let text = String::from_utf8_lossy(&output.stdout);
    let found = |start: &str| text.lines().find_map(|line| line.split_once(start));
    let kilobytes: Option<usize> =
        found("peak ").and_then(|(_, peak)| peak.split(' ').next()?.parse().ok());
    let (opened, refused) = (found("opened"), found("refused: "));
    println!(
        "{name}: {} bytes, {kilobytes:?} kB, {}",
        bytes.len(),
        refused.map_or("opened", |(_, message)| message)
    );
    let said = if opens { opened } else { refused };
    match (said, kilobytes) {
        (Some(_), Some(kilobytes)) if kilobytes <= EXPECTED << 10 => Ok(()),
        _ => Err(format!("{name}: {:?}, {text}", output.status)),
    }
}

#[track_caller]
fn assert_all(results: impl IntoIterator<Item = Result<(), String>>) {
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What makes many values of few bytes.
fn floods(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let repeat = |start: &[u8], part: &[u8]| {
        let parts = part.repeat(size / part.len());
        [&b"\x80\x02"[..], start, &parts, b"."].concat()
    };
    vec![
        ("none", repeat(b"", b"N")),
        ("lists", repeat(b"", b"]")),
        ("numbers", repeat(b"", b"K\x01")),
        ("dictionaries", repeat(b"", b"}")),
        ("tuples", repeat(b"", b")\x85")),
        ("marks", repeat(b"", b"(")),
        ("memos", repeat(b"N", b"\x94")),
        ("texts", repeat(b"", b"X\x01\x00\x00\x00a")),
        ("classes", repeat(b"", b"ca\nb\n")),
        ("items", repeat(b"]", b"Na")),
        ("pairs", repeat(b"", b"}NK\x01s")),
        ("popped", repeat(b"", b"N0")),
    ]
}

#[test]
fn pickles_that_inflate_are_refused() {
    let size = |name: &str| {
        if name == "none" {
            99_000_000
        } else {
            24_000_000
        }
    };
    let names = floods(8).into_iter().map(|(name, _)| name);
    let bombs = names.enumerate().map(|(index, name)| {
        let pickle = floods(size(name)).swap_remove(index).1;
        (name, archive(&[("data.pkl", &pickle)], Deflated))
    });
    assert_all(bombs.map(|(name, bytes)| check(name, &bytes, false)));
}

/// Without compression, and with a file beside it that makes the compression modest.
#[test]
fn pickles_of_too_many_values_are_refused() {
    let floods = floods(6_000_000);
    assert_all(floods.iter().flat_map(|(name, pickle)| {
        let stored = archive(&[("data.pkl", pickle)], Stored);
        let (packed, noise) = (archive(&[("data.pkl", pickle)], Deflated), [1; 1_000_000]);
        let mut beside = zip::ZipWriter::new_append(std::io::Cursor::new(packed)).unwrap();
        beside
            .start_file(
                "archive/data/0",
                zip::write::SimpleFileOptions::default().compression_method(Stored),
            )
            .unwrap();
        std::io::Write::write_all(&mut beside, &noise).unwrap();
        let beside = beside.finish().unwrap().into_inner();
        [
            check(&format!("{name}, stored"), &stored, false),
            check(&format!("{name}, beside others"), &beside, false),
        ]
    }));
}

/// What the system that wrote an old file was.
fn system() -> Vec<u8> {
    let key = b"little_endian";
    let length = (key.len() as u32).to_le_bytes();
    [&b"\x80\x02}X"[..], &length, key, b"\x88s."].concat()
}

/// The magic number, version and system of a file of before archives.
fn header() -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    [&magic[..], b"\x80\x02M\xe9\x03.", &system()].concat()
}

#[test]
fn pickles_without_an_archive_are_refused() {
    assert_all(floods(6_000_000).into_iter().flat_map(|(name, pickle)| {
        let plain = check(&format!("{name}, plain"), &pickle, false);
        let third = check(
            &format!("{name}, fourth"),
            &[header(), pickle.clone()].concat(),
            false,
        );
        // The keys of the storages are a pickle, too.
        let keys = [header(), b"\x80\x02}.".to_vec(), pickle].concat();
        [plain, third, check(&format!("{name}, fifth"), &keys, false)]
    }));
}

/// Copies of values whose text the reader does not count: keys, and names of classes.
#[test]
fn pickles_that_copy_long_texts_are_refused() {
    let long = "k".repeat(20_000);
    let mut text = b"X".to_vec();
    text.extend((long.len() as u32).to_le_bytes());
    text.extend(long.as_bytes());
    let copies = b"h\x00".repeat(200_000);
    let key = [&b"\x80\x02}"[..], &text, b"Nsq\x00", &copies, b"."].concat();
    let class = [b"\x80\x02c", long.as_bytes(), b"\nb\nq\x00", &copies, b"."].concat();
    let Saved::Dict(tensor) = Saved::Tensor(vec![1], vec![1.0]).under("a") else {
        unreachable!()
    };
    // Ten thousand tensors, each with all keys above in its name.
    let many: Vec<_> = (0..10_000)
        .map(|index| (index.to_string(), tensor[0].1.clone()))
        .collect();
    let named = pth(&Saved::Dict(many).under(&"k".repeat(200_000)));
    assert_all([
        check("keys", &archive(&[("data.pkl", &key)], Stored), false),
        check("classes", &archive(&[("data.pkl", &class)], Stored), false),
        check("names", &named, false),
    ]);
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = b"\x80\x02}.";
    let good = archive(&[("data.pkl", pickle), ("data/0", &[0; 64])], Stored);
    // A storage inflates, of which a tensor would want but the first and the last number.
    let zeros = vec![0; 64 << 20];
    let storage = archive(&[("data.pkl", pickle), ("data/0", &zeros)], Deflated);
    // The central directory says four gigabytes.
    let mut large = good.clone();
    let entry = large
        .windows(4)
        .rposition(|four| four == b"PK\x01\x02")
        .unwrap();
    large[entry + 24..entry + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    // The pickle of a second folder.
    let flood = floods(6_000_000).swap_remove(0).1;
    let second = archive(&[("data.pkl", pickle), ("sub/data.pkl", &flood)], Stored);
    assert_all([
        check("storage", &storage, false),
        check("large", &large, false),
        check("second", &second, false),
    ]);
}

/// A tar archive with these entries.
fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn the_pickles_of_tar_archives_are_refused_too() {
    let none = &b"\x80\x02K\x00."[..];
    let system = system();
    let storages = [none, b"\x80\x02]."].concat();
    let empty = b"\x80\x02}.";
    assert_all([check(
        "empty",
        &tar(&[
            ("sys_info", &system),
            ("storages", &storages),
            ("tensors", none),
            ("pickle", empty),
        ]),
        true,
    )]);
    assert_all(floods(6_000_000).into_iter().flat_map(|(name, flood)| {
        let storage = [&b"\x80\x02K\x01."[..], &flood].concat();
        let views = [none, &flood].concat();
        [
            ("sys_info", &flood),
            ("pickle", &flood),
            ("tensors", &storage),
            ("storages", &views),
            ("storages", &storage),
        ]
        .map(|(entry, content)| {
            let mut entries = vec![
                ("sys_info", &system[..]),
                ("storages", &storages),
                ("tensors", none),
                ("pickle", empty),
            ];
            entries.retain(|(name, _)| *name != entry);
            entries.push((entry, content));
            check(&format!("{name}, {entry}"), &tar(&entries), false)
        })
    }));
}

/// Files of honest programs: many tensors, an optimizer's beside them, a history of losses.
#[test]
fn large_honest_pickles_are_read() {
    let tensor = || Saved::Tensor(vec![2, 2], vec![1.0; 4]);
    let state: Vec<_> = (0..3_000)
        .map(|index| {
            (
                format!("module.layer{}.{index}.conv1.weight", index % 4),
                tensor(),
            )
        })
        .collect();
    let losses = (0..100_000).map(|step| (step.to_string(), Saved::Int(step)));
    let saved = Saved::Dict(vec![
        ("epoch".into(), Saved::Int(7)),
        ("state_dict".into(), Saved::Dict(state.clone())),
        ("optimizer".into(), Saved::Dict(state)),
        ("losses".into(), Saved::Dict(losses.collect())),
    ]);
    assert_all([check("honest", &pth(&saved), true)]);
}
