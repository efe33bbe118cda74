use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{DecodeError, shown};

/// How many files are listed by name; the rest is counted.
const LISTED: usize = 1000;

/// The images that could not be read and were left out. Clones share one report.
#[derive(Clone, Debug, Default)]
pub struct SkipReport(Arc<Mutex<Skipped>>);

#[derive(Debug, Default)]
struct Skipped {
    /// Hashes, so that a million unreadable files take megabytes.
    seen: HashSet<u64>,
    paths: Vec<PathBuf>,
}

impl SkipReport {
    /// Number of files left out so far; one that is met again in a later epoch counts once.
    pub fn count(&self) -> usize {
        self.lock().seen.len()
    }

    /// The files left out, in the order they were met; at most the first thousand.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().paths.clone()
    }

    /// Notes a file, and logs it with the reason the first time.
    pub(super) fn record(&self, path: PathBuf, reason: &DecodeError) {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let mut skipped = self.lock();
        if !skipped.seen.insert(hasher.finish()) {
            return;
        }
        match skipped.paths.len() {
            ..LISTED => {
                log::warn!("skipping image `{}`: {reason}", shown(&path));
                skipped.paths.push(path);
            }
            _ if skipped.seen.len() == LISTED + 1 => {
                log::warn!("further images that cannot be read are counted, not named");
            }
            _ => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Skipped> {
        // The state is consistent between any two statements, also after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
