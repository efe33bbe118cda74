//! Breaks the operator's arithmetic, one expression at a time, and looks whether a test fails.
//!
//! All mutants are compiled at once, each behind a switch that an environment variable turns, so
//! that trying one costs a run of the tests and no build:
//!
//! ```sh
//! git worktree add ../broken && cd ../broken      # the sources are overwritten
//! cargo run --release --manifest-path scripts/mutants/Cargo.toml > docs/mutants.csv
//! ```
//!
//! MUTANTS_FROM=N and MUTANTS_EVERY=N try a part, and MUTANTS_IN=ops/,conv/layer.rs those in files that
//! begin so; what does not compile is remembered in `mutants.skip`, so that a second start builds nothing.
//!
//! A mutant is *killed* if a test fails or does not end in time, *unviable* if it does not compile,
//! and *survives* otherwise. Random sweeps run with few cases (OPERATOR_CASES); what survives is
//! tried again with more.

mod instrument;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use instrument::{Mutant, instrument};
use serde_json::Value;

const SOURCE: &str = "crates/burn-octconv/src";

/// What is broken. The kernels' inner loops (`engine/simd`, `isa`) and what only shares out work
/// (`parallel`, `jobs`) are left out.
const FILES: [&str; 31] = [
    "ops/composed.rs",
    "ops/resample.rs",
    "ops/mod.rs",
    "ops/norm.rs",
    "ops/flex.rs",
    "ops/flex/conv.rs",
    "ops/flex/norm.rs",
    "conv/config.rs",
    "conv/layer.rs",
    "conv/convert.rs",
    "conv/fold.rs",
    "split.rs",
    "features.rs",
    "cost.rs",
    "layers/activation.rs",
    "layers/norm.rs",
    "layers/pool.rs",
    "layers/squeeze_excite.rs",
    "engine/layout.rs",
    "engine/train/mod.rs",
    "engine/train/intake.rs",
    "engine/train/forward.rs",
    "engine/train/backward.rs",
    "engine/train/strided.rs",
    "engine/train/weight_grad.rs",
    "engine/train/norm.rs",
    "engine/conv/mod.rs",
    "engine/conv/pass.rs",
    "engine/conv/run.rs",
    "engine/conv/copy.rs",
    "engine/pool.rs",
];

/// The tests of the crate.
const SUITES: [&str; 9] = [
    "operator",
    "layer",
    "edges",
    "refusals",
    "vanilla",
    "vocabulary",
    "norm",
    "fold",
    "precision",
];

/// Those in its sources.
const LIB: &str = "burn_octconv";

/// The numbers of the mutants that do not compile.
const SKIP: &str = "mutants.skip";

/// Tests that take longer than this hang.
const LATE: Duration = Duration::from_secs(180);

/// What every instrumented crate has: the number of the mutant that is on.
const SWITCH: &str = "
pub(crate) mod mutant {
    pub(crate) fn on(number: u32) -> bool {
        static ON: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
        let read = || std::env::var(\"MUTANT\").ok().and_then(|text| text.parse().ok());
        *ON.get_or_init(read) == Some(number)
    }
}
";

fn main() -> Result<()> {
    let sources = sources()?;
    let mut skip = remembered()?;
    let mutants = loop {
        let mutants = write(&sources, &skip)?;
        let bad = uncompilable()?;
        eprintln!(
            "{} mutants, {} do not compile",
            mutants.len(),
            skip.len() + bad.len()
        );
        if bad.is_empty() {
            break mutants;
        }
        let before = skip.len();
        skip.extend(bad);
        if skip.len() == before {
            bail!("cargo check fails without a mutant");
        }
    };
    let list: Vec<_> = skip.iter().map(|number| format!("{number}\n")).collect();
    fs::write(SKIP, list.concat())?;
    let suites = build()?;
    println!("file,line,from,to,outcome,by");
    let (first, step) = (number("MUTANTS_FROM", 0)?, number("MUTANTS_EVERY", 1)?);
    let within = env::var("MUTANTS_IN").unwrap_or_default();
    let wanted = mutants.iter().enumerate().filter(|(_, mutant)| {
        let mut starts = within.split(',');
        starts.any(|start| mutant.file.starts_with(start))
    });
    for (index, mutant) in wanted.skip(first).step_by(step) {
        let (outcome, by) = match skip.contains(&index) {
            true => ("unviable", ""),
            false => attempt(index, mutant, &suites)?,
        };
        let Mutant {
            file,
            line,
            from,
            to,
        } = mutant;
        let [from, to] = [from, to].map(|text| format!("\"{}\"", text.replace('"', "\"\"")));
        println!("{file},{line},{from},{to},{outcome},{by}");
    }
    Ok(())
}

fn remembered() -> Result<BTreeSet<usize>> {
    let text = fs::read_to_string(SKIP).unwrap_or_default();
    let numbers = text.lines().map(|line| line.parse().context(SKIP));
    numbers.collect()
}

fn number(name: &str, default: usize) -> Result<usize> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is {text}")),
        Err(_) => Ok(default),
    }
}

/// The sources as they were, from the last commit, so that a second start is like the first.
fn sources() -> Result<Vec<(&'static str, String)>> {
    let read = |file| {
        let path = format!("HEAD:{SOURCE}/{file}");
        let output = Command::new("git").args(["show", &path]).output()?;
        if !output.status.success() {
            bail!("git show {path} failed");
        }
        Ok((file, String::from_utf8(output.stdout)?))
    };
    FILES.into_iter().chain(["lib.rs"]).map(read).collect()
}

/// Writes the sources with all mutants but those in `skip`, whose numbers do not change by that.
fn write(sources: &[(&str, String)], skip: &BTreeSet<usize>) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for (file, source) in sources {
        let text = match *file {
            // Inner attributes come first.
            "lib.rs" => format!("#![allow(warnings)]\n{source}{SWITCH}"),
            _ => instrument(file, source, &mut mutants, &|number| skip.contains(&number))
                .with_context(|| format!("cannot read {file}"))?,
        };
        let path = Path::new(SOURCE).join(file);
        if fs::read_to_string(&path)? != text {
            fs::write(path, text)?;
        }
    }
    Ok(mutants)
}

/// The mutants in lines that the compiler complains about.
fn uncompilable() -> Result<BTreeSet<usize>> {
    let mut cargo = Command::new("cargo")
        .args([
            "check",
            "--workspace",
            "--lib",
            "--test",
            "operator",
            "--message-format=json",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut bad = BTreeSet::new();
    let mut errors = 0;
    for message in messages(&mut cargo) {
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        for span in message["spans"].as_array().into_iter().flatten() {
            errors += 1;
            bad.extend(mutants_in(span)?);
        }
    }
    let good = cargo.wait()?.success();
    if !good && bad.is_empty() {
        bail!("cargo check fails ({errors} errors), and not by a mutant");
    }
    Ok(bad)
}

/// The mutants closest to a span of the compiler: in its lines, or above them.
fn mutants_in(span: &Value) -> Result<Vec<usize>> {
    let name = span["file_name"].as_str().unwrap_or_default();
    if span["is_primary"] != true || !Path::new(name).exists() {
        return Ok(vec![]);
    }
    let text = fs::read_to_string(name)?;
    let lines: Vec<_> = text.lines().collect();
    let line = |key: &str| span[key].as_u64().unwrap_or(1) as usize;
    let (start, end) = (line("line_start"), line("line_end").min(lines.len()));
    for first in (1..=start).rev() {
        let found: Vec<_> = lines[first - 1..end]
            .iter()
            .flat_map(|l| numbers(l))
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(vec![])
}

fn numbers(line: &str) -> Vec<usize> {
    let calls = line.split("mutant::on(").skip(1);
    calls
        .filter_map(|call| call.split("u32)").next()?.parse().ok())
        .collect()
}

/// Builds the tests, and says where their programs are.
fn build() -> Result<Vec<(String, PathBuf)>> {
    let mut command = Command::new("cargo");
    command.args([
        "test",
        "--release",
        "--workspace",
        "--no-run",
        "--message-format=json",
        "--lib",
    ]);
    // Only the crate itself is built with less optimisation.
    command.args([
        "--config",
        "profile.release.package.burn-octconv.opt-level=1",
    ]);
    for suite in SUITES {
        command.args(["--test", suite]);
    }
    let mut cargo = command.stdout(Stdio::piped()).spawn()?;
    let mut programs = vec![];
    for message in messages(&mut cargo) {
        if let (Some(program), Some(name)) = (
            message["executable"].as_str(),
            message["target"]["name"].as_str(),
        ) && (SUITES.contains(&name) || name == LIB)
            // The networks have tests of the same name.
            && message["manifest_path"].as_str().is_some_and(|path| path.contains("crates/burn-octconv/"))
        {
            programs.push((name.into(), PathBuf::from(program)));
        }
    }
    if !cargo.wait()?.success() || programs.len() != SUITES.len() + 1 {
        bail!("the tests do not build");
    }
    Ok(programs)
}

fn messages(cargo: &mut Child) -> impl Iterator<Item = Value> {
    let output = cargo.stdout.take().expect("the output is a pipe");
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    lines.filter_map(|line| serde_json::from_str(&line).ok())
}

/// Runs of tests, quick ones first: the suite, its arguments, and the cases of a sweep.
fn stages(file: &str) -> Vec<(&'static str, Vec<String>, u32)> {
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let sweeps = words("--skip a_broken_operator --skip larger");
    // The tests of this module; those of the engine and of its bridge lie beside their modules.
    let module = match file.rsplit_once('/') {
        Some((folder, _)) if folder.starts_with("engine/") || folder == "ops/flex" => folder,
        _ => file.trim_end_matches(".rs").trim_end_matches("/mod"),
    };
    let module = module.replace('/', "::") + "::";
    vec![
        ("operator", sweeps.clone(), 100),
        ("layer", vec![], 0),
        ("edges", vec![], 0),
        ("refusals", vec![], 0),
        ("vanilla", vec![], 0),
        ("vocabulary", vec![], 0),
        (LIB, vec![module], 0),
        ("norm", vec![], 0),
        ("fold", vec![], 0),
        ("precision", vec![], 0),
        ("operator", sweeps, 600),
        ("operator", words("larger"), 4),
    ]
}

/// Tries one mutant: its outcome, and the suite that decided it.
fn attempt(
    index: usize,
    mutant: &Mutant,
    suites: &[(String, PathBuf)],
) -> Result<(&'static str, &'static str)> {
    for (name, arguments, cases) in stages(&mutant.file) {
        let (_, program) = (suites.iter())
            .find(|(suite, _)| suite == name)
            .context("every suite was built")?;
        if is_killed(program, &arguments, index, cases)? {
            return Ok(("killed", name));
        }
    }
    Ok(("survived", ""))
}

/// Runs tests until they end or are late.
fn is_killed(suite: &Path, arguments: &[String], mutant: usize, cases: u32) -> Result<bool> {
    let mut child = Command::new(suite)
        .args(arguments)
        .current_dir("crates/burn-octconv")
        .env("OPERATOR_CASES", cases.to_string())
        .env("MUTANT", mutant.to_string())
        .env("RAYON_NUM_THREADS", "1")
        // That it fails is enough.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(!status.success());
        }
        if start.elapsed() > LATE {
            child.kill()?;
            child.wait()?;
            return Ok(true);
        }
        sleep(Duration::from_millis(20));
    }
}
