//! Checkpoints are untrusted: damaged and hostile ones are errors, in bounded memory.
//!
//! The hostile PyTorch files are made by `fixtures/make_hostile.py`.

use std::{
    fs,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use burn::tensor::Device;
use burn_octresnet::{
    model::{Alpha, Arch, OctNetConfig},
    weights::{Checkpoint, Format},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(name)
}

/// The most memory that this process has had, in bytes; 0 where the system does not tell.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Opens and loads whatever `bytes` are.
fn try_everything(path: &Path, bytes: &[u8], config: &OctNetConfig) -> Result<(), String> {
    fs::write(path, bytes).unwrap();
    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
    let loaded = checkpoint.load(config, &Device::default());
    if bytes.len().is_multiple_of(16) {
        // Slower, so not for all: any network at all?
        let _ = checkpoint.detect();
    }
    loaded.map(drop).map_err(|error| error.to_string())
}

/// Damages a file as disks, networks and attackers do.
fn mutate(original: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = original.to_vec();
    // Headers stand at the beginning, and in archives at the end.
    let near = |rng: &mut dyn FnMut(usize) -> usize, length: usize| match rng(4) {
        0 | 1 => rng(length.min(1024)),
        2 => length - 1 - rng(length.min(4096)),
        _ => rng(length),
    };
    let mut below = |most: usize| rng.random_range(0..most.max(1));
    for _ in 0..1 + below(3) {
        if bytes.len() < 16 {
            break;
        }
        let place = near(&mut below, bytes.len());
        let run = (1 + below(16)).min(bytes.len() - place);
        match below(9) {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 1 << below(8),
            2 => bytes[place..place + run].fill(0xff),
            3 => bytes[place..place + run].fill(0),
            4 => bytes[place..place + run].reverse(),
            5 => bytes[place] = below(256) as u8,
            6 => {
                let chunk = bytes[place..place + run].to_vec();
                bytes.splice(place..place, chunk);
            }
            7 => drop(bytes.drain(place..place + run)),
            // A digit of a length or shape in text.
            _ => match bytes[place..].iter().position(u8::is_ascii_digit) {
                Some(digit) => bytes[place + digit] = b'9',
                None => bytes[place] = bytes[place].wrapping_add(1),
            },
        }
    }
    bytes
}

#[test]
fn damaged_files_are_errors() {
    const MUTATIONS: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default();
    let mut tiny = OctNetConfig::new(Arch::OctResNet20, 3);
    tiny.width = 0.125;
    let model = tiny.init(&device);
    let mut fixtures = vec![
        (fixture("weights/vanilla.pth"), Format::PyTorch),
        (fixture("weights/vanilla-old.pth"), Format::PyTorch),
    ];
    for (ending, format) in [
        ("safetensors", Format::Safetensors),
        ("bpk", Format::Burnpack),
    ] {
        let path = folder.path().join(format!("tiny.{ending}"));
        model.save_weights(&tiny, &path, false).unwrap();
        fixtures.push((path, format));
    }

    let panics = Arc::new(AtomicUsize::new(0));
    let counter = panics.clone();
    panic::set_hook(Box::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let before = peak_memory();
    let mut failures = Vec::new();
    for (index, (path, format)) in fixtures.iter().enumerate() {
        let original = fs::read(path).unwrap();
        let checkpoint = Checkpoint::open(path).unwrap();
        assert_eq!(checkpoint.format(), *format);
        let config = checkpoint.detect().unwrap();
        let place = folder.path().join("damaged");
        assert_eq!(try_everything(&place, &original, &config), Ok(()));
        let mut rng = ChaCha8Rng::seed_from_u64(index as u64);
        let (mut refused, contained) = (0, panics.load(Ordering::Relaxed));
        for round in 0..MUTATIONS {
            let bytes = mutate(&original, &mut rng);
            let tried = catch_unwind(AssertUnwindSafe(|| try_everything(&place, &bytes, &config)));
            match tried {
                Err(_) => failures.push(format!("{format}, mutation {round}: a panic")),
                Ok(Err(message)) if message.contains('\n') => {
                    failures.push(format!("{format}, mutation {round}: {message:?}"));
                }
                Ok(Err(_)) => refused += 1,
                Ok(Ok(())) => {}
            }
        }
        let contained = panics.load(Ordering::Relaxed) - contained;
        let (name, size) = (path.file_name().unwrap(), original.len());
        println!(
            "{name:?} ({size} bytes): {MUTATIONS} mutations, {refused} refused, {contained} panics contained"
        );
        assert!(refused > MUTATIONS / 10, "{format}: {refused}");
    }
    drop(panic::take_hook());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let grown = peak_memory().saturating_sub(before);
    println!("{} MB of memory", grown >> 20);
    assert!(grown < 512 << 20, "{} MB", grown >> 20);
}

/// The error that a file gives.
#[track_caller]
fn refused(path: &Path) -> String {
    let mut config = OctNetConfig::new(Arch::OctResNet26, 5);
    config.alpha = Alpha::Uniform(0.0);
    let opened = Checkpoint::open(path);
    let loaded = opened.and_then(|checkpoint| checkpoint.load(&config, &Device::default()));
    let message = loaded.expect_err("it should be refused").to_string();
    assert!(
        !message.contains(char::is_control) && message.len() < 1000,
        "{message:?}"
    );
    message
}

#[test]
fn hostile_pytorch_files_are_refused_and_run_nothing() {
    let before = peak_memory();
    for (name, part) in [
        ("big-endian.pth", "ig-endian"),
        ("command.pth", ""),
        ("command.pkl", ""),
        ("bomb.pth", "times the"),
        ("pickle-bomb.pth", ""),
        ("expand.pth", "times the"),
        ("escape.pth", ""),
        ("old-module.pth", "save its state_dict()"),
    ] {
        let message = refused(&fixture("hostile").join(name));
        println!("{message}");
        assert!(message.contains(part), "{name}: {message}");
    }
    assert!(!Path::new("harm-was-done").exists());
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 512 << 20, "{} MB", grown >> 20);
}

#[test]
fn pickles_that_unfold_or_nest_without_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pth");
    let mut nested = b"\x80\x02".to_vec();
    nested.extend(b"]".repeat(1 << 20));
    let mut closed = nested.clone();
    closed.extend(b"a".repeat((1 << 20) - 1));
    closed.push(b'.');
    // Thirty lists, each twice in the next: a gigabyte of them.
    let mut doubling = b"\x80\x02]q\x00".to_vec();
    for level in 1..30u8 {
        doubling.extend([
            b']',
            b'(',
            b'h',
            level - 1,
            b'h',
            level - 1,
            b'e',
            b'q',
            level,
        ]);
    }
    doubling.push(b'.');
    // A string that says it is four gigabytes long.
    let long = b"\x80\x02X\xff\xff\xff\xffabc.".to_vec();
    let marks = [b"\x80\x02".to_vec(), b"(".repeat(1 << 20), b"t.".to_vec()].concat();
    for bytes in [nested, closed, doubling, long, marks, b"\x80\x02.".to_vec()] {
        fs::write(&path, &bytes).unwrap();
        println!("{}", refused(&path));
    }
}

/// A safetensors file with this header.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn hostile_safetensors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensor = |shape: &str, from: usize, to: usize| {
        let header = format!(
            r#"{{"conv1.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#
        );
        safetensors(&header, 64)
    };
    let mut wrong_endian = safetensors("{}", 8);
    wrong_endian[..8].reverse();
    for bytes in [
        tensor("[16]", 0, 64),
        tensor("[18446744073709551615, 2]", 0, 64),
        tensor("[4294967296, 4294967296, 4294967296]", 0, 64),
        tensor("[17]", 0, 68),
        tensor("[16]", 64, 0),
        tensor("[16]", 0, 18446744073709551615),
        tensor("[-1]", 0, 64),
        safetensors(&"{\"a\":".repeat(100_000), 0),
        safetensors(&format!("{{\"a\":{}", "[".repeat(100_000)), 0),
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        [&99_999_999u64.to_le_bytes()[..], b"{}"].concat(),
        wrong_endian,
    ] {
        fs::write(&path, &bytes).unwrap();
        println!("{}", refused(&path));
    }
}

#[test]
fn names_in_files_do_not_reach_the_terminal() {
    const ESCAPES: &str = r"\u001b[2J\u202e\n\u009b";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for dtype in ["F32", "I32", "BOOL", ESCAPES] {
        let header = format!(
            r#"{{"{ESCAPES}":{{"dtype":"{dtype}","shape":[0],"data_offsets":[0,0]}},
                "layer1.0.{ESCAPES}.weight":{{"dtype":"{dtype}","shape":[0],"data_offsets":[0,0]}}}}"#
        );
        fs::write(&path, safetensors(&header, 0)).unwrap();
        let message = refused(&path);
        println!("{message}");
        assert!(
            message.contains(r"\u{1b}[2J\u{202e}\n\u{9b}"),
            "{message:?}"
        );
    }
}

/// A burnpack with this metadata: magic number, version, length of the metadata, metadata.
fn burnpack(length: u32, metadata: &[u8]) -> Vec<u8> {
    [&b"NRUB\x01\x00"[..], &length.to_le_bytes(), metadata].concat()
}

#[test]
fn hostile_burnpacks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bpk");
    let deep = [0x81u8].repeat(1 << 20);
    let nested = [0xa1, 0x61, b'a'].repeat(1 << 18);
    for bytes in [
        burnpack(u32::MAX, b""),
        burnpack(100 << 20, b"{}"),
        burnpack(deep.len() as u32, &deep),
        burnpack(nested.len() as u32, &nested),
        // A map of 2^64 - 1 entries, a text of 2^64 - 1 bytes.
        burnpack(9, &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        burnpack(9, &[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        b"NRUB\xff\xff\x00\x00\x00\x00".to_vec(),
        b"NRUB".to_vec(),
    ] {
        fs::write(&path, &bytes).unwrap();
        println!("{}", refused(&path));
    }
}

#[test]
fn a_folder_and_an_empty_file_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path());
    let path = folder.path().join("empty.pth");
    fs::write(&path, b"").unwrap();
    assert!(refused(&path).contains("neither PyTorch"));
}
