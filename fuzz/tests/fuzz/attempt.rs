//! What the process of one target does.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{Seek, Write},
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use burn_octconv_fuzz::{Target, mutated};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::{arguments::Arguments, memory, watch};

/// Panics so far, contained ones too.
static PANICS: Mutex<Panics> = Mutex::new(Panics {
    places: BTreeMap::new(),
    last: String::new(),
    last_is_ours: false,
});

struct Panics {
    /// How many there were at each place.
    places: BTreeMap<String, u64>,
    /// What the last one said.
    last: String,
    /// Whether it came from the project's own code.
    last_is_ours: bool,
}

fn panics() -> MutexGuard<'static, Panics> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of the input that is being tried, in the folder of temporary files.
pub fn input_in(folder: &Path) -> PathBuf {
    folder.join("input")
}

/// Tries a target until its time is over or it has a finding.
pub fn run(target: &Target, arguments: &Arguments) -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut panics = panics();
        panics.last = panic.to_string();
        // Crates of others are elsewhere, under absolute paths.
        panics.last_is_ours = place.starts_with("crates/");
        *panics.places.entry(place).or_default() += 1;
    }));
    watch::start();
    let tried = catch_unwind(AssertUnwindSafe(|| match &arguments.input {
        Some(path) => try_file(target, path),
        None => try_mutations(target, arguments),
    }));
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            eprintln!("{}: {}", target.name, panics().last);
            ExitCode::FAILURE
        }
    }
}

fn try_file(target: &Target, path: &Path) {
    let input = fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut trial = Trial::of(target);
    let accepted = trial.give(&input);
    let verdict = if accepted { "accepted" } else { "refused" };
    println!("{}: {verdict}, {}", target.name, trial.summary());
}

fn try_mutations(target: &Target, arguments: &Arguments) {
    let (seeds, words) = ((target.seeds)(), target.words());
    // The first use of a target also sets it up, on nobody's account.
    target.try_on(&seeds[0]);
    let start = Instant::now();
    let mut trial = Trial::of(target);
    for seed in &seeds {
        trial.give(seed);
    }
    assert!(trial.accepted > 0, "not one seed is accepted");
    for number in 0..arguments.inputs {
        if start.elapsed() >= arguments.time {
            break;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
        rng.set_stream(number);
        trial.give(&mutated(&seeds, &words, &mut rng));
    }
    let seconds = start.elapsed().as_secs();
    println!("{}: {seconds} s, {}", target.name, trial.summary());
}

/// What a target was given, and what it took.
struct Trial<'a> {
    target: &'a Target,
    file: File,
    inputs: u64,
    accepted: u64,
    memory: usize,
    slowest: u128,
}

impl<'a> Trial<'a> {
    fn of(target: &'a Target) -> Self {
        let file = File::create(input_in(&env::temp_dir())).expect("the file can be made");
        Self {
            target,
            file,
            inputs: 0,
            accepted: 0,
            memory: 0,
            slowest: 0,
        }
    }

    /// Gives the target an input, and says whether it was accepted. A finding ends the process.
    fn give(&mut self, input: &[u8]) -> bool {
        let written = (self.file.rewind())
            .and_then(|()| self.file.write_all(input))
            .and_then(|()| self.file.set_len(input.len() as u64));
        written.expect("the input can be written");
        let start = Instant::now();
        watch::begin(self.inputs + 1);
        memory::allow(self.target.memory);
        let accepted = self.target.try_on(input);
        self.memory = self.memory.max(memory::peak());
        watch::end();
        // What decoders of others do is known to need containing; the project's own code is not.
        let (ours, last) = {
            let panics = panics();
            (panics.last_is_ours, panics.last.clone())
        };
        assert!(!ours, "a contained panic: {last}");
        self.slowest = self.slowest.max(start.elapsed().as_millis());
        self.inputs += 1;
        self.accepted += u64::from(accepted);
        accepted
    }

    fn summary(&self) -> String {
        let mut summary = format!(
            "{} inputs, {} accepted, at most {} MB and {} ms",
            self.inputs,
            self.accepted,
            self.memory >> 20,
            self.slowest
        );
        for (place, count) in &panics().places {
            summary += &format!("\n    {count} panics contained at {place}");
        }
        summary
    }
}
