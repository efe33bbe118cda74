//! Mutations of every target's seeds, the same each time.
//!
//! ```text
//! cargo test --release --workspace --test fuzz                            each for a second
//! cargo test --release --workspace --test fuzz -- --seconds 20            each for longer
//! cargo test --release --workspace --test fuzz -- pictures --input FILE   one input again
//! cargo test --release --workspace --test fuzz -- --write-seeds DIRECTORY seeds for libFuzzer
//! ```
//!
//! Each target runs in a process of its own, which writes every input into a file before it tries it:
//! however that process ends, the input is there.

mod arguments;
mod attempt;
#[path = "../../../crates/burn-image-folder/tests/support/memory.rs"]
mod memory;
mod watch;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use arguments::Arguments;
use burn_octconv_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let arguments = Arguments::new(env::args().skip(1));
    if let Some(name) = &arguments.child {
        let target = TARGETS.into_iter().find(|target| target.name == name);
        return attempt::run(target.expect("the parent knows the names"), &arguments);
    }
    let chosen = TARGETS
        .into_iter()
        .filter(|target| arguments.chooses(target.name));
    if let Some(folder) = &arguments.write_seeds {
        chosen.for_each(|target| write_seeds(target, folder).expect("seeds can be written"));
        return ExitCode::SUCCESS;
    }
    let findings = chosen.filter(|target| !passes(target)).count();
    match findings {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Tries a target in another process; keeps the input that ended it.
fn passes(target: &Target) -> bool {
    let folder = scratch().expect("a folder for temporary files can be made");
    let mut child = Command::new(env::current_exe().expect("this program has a path"));
    child
        .args(env::args().skip(1))
        .args(["--child", target.name]);
    // Temporary files of the target too: nothing is left of a process that was killed.
    child.env("TMPDIR", folder.path());
    let status = child.status().expect("this program can be run");
    if status.success() {
        return true;
    }
    match keep(target, &attempt::input_in(folder.path())) {
        Ok(kept) => eprintln!(
            "{}: a finding ({status}), kept as {kept:?}; once more: cargo test --release --workspace --test fuzz -- {} --input {kept:?}",
            target.name, target.name
        ),
        Err(error) => eprintln!(
            "{}: failed before its first input ({status}): {error}",
            target.name
        ),
    }
    false
}

/// In memory where the system has such a folder: what syncs its files takes long on a disk.
fn scratch() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
}

/// Copies an input to a place where it stays.
fn keep(target: &Target, input: &Path) -> io::Result<PathBuf> {
    let bytes = fs::read(input)?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("findings");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{:08x}", target.name, crc32fast::hash(&bytes)));
    fs::write(&path, bytes)?;
    Ok(path)
}

/// Writes each seed into a file of its own.
fn write_seeds(target: &Target, folder: &Path) -> io::Result<()> {
    let folder = folder.join(target.name);
    fs::create_dir_all(&folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
