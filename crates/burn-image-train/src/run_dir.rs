use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::{error::TrainError, files};

/// The folder of one run.
///
/// | file | content |
/// |---|---|
/// | `config.json` | the recipe, complete |
/// | `classes.json` | class names; a class is known by its place |
/// | `metrics.csv` | one row per epoch |
/// | `metrics.jsonl` | the same as JSON, a line per epoch |
/// | `tensorboard/` | logs for TensorBoard, if they were asked for |
/// | `report.md`, `report/` | what came out, as a page with pictures |
/// | `best.bpk` | weights after the epoch with the best validation top-1, averaged if the recipe averages |
/// | `last.bpk` | the same after the last whole epoch |
/// | `log.txt` | warnings that came while the terminal was drawn on, if any |
/// | `lock` | held by the process that trains |
/// | `checkpoint/step-<n>/` | what resuming needs, of the last two checkpoints |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

/// What the folder of a checkpoint is called, before its number.
const CHECKPOINT: &str = "step-";

impl RunDir {
    /// The run in `root`, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes a new folder `base/name-<n>`, numbered after the last one there is.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] if the folder cannot be made.
    pub fn numbered(base: impl AsRef<Path>, name: &str) -> Result<Self, TrainError> {
        let base = base.as_ref();
        fs::create_dir_all(base).map_err(TrainError::io("make the folder", base))?;
        let mut number = numbers(base, name).into_iter().max().unwrap_or(0);
        loop {
            number += 1;
            let root = base.join(format!("{name}-{number}"));
            match fs::create_dir(&root) {
                Ok(()) => return Ok(Self { root }),
                // Another run was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(TrainError::io("make the folder", root)(error)),
            }
        }
    }

    /// The newest run `base/name-<n>`.
    pub fn latest(base: impl AsRef<Path>, name: &str) -> Option<Self> {
        let base = base.as_ref();
        let mut numbers = numbers(base, name);
        numbers.sort_unstable();
        let runs = numbers.iter().rev();
        runs.map(|number| Self::at(base.join(format!("{name}-{number}"))))
            .find(Self::holds_run)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The recipe.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    /// The class names.
    pub fn classes(&self) -> PathBuf {
        self.root.join("classes.json")
    }

    /// The metrics per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// The weights after the best epoch.
    pub fn best(&self) -> PathBuf {
        self.root.join("best.bpk")
    }

    /// The weights after the last whole epoch.
    pub fn last(&self) -> PathBuf {
        self.root.join("last.bpk")
    }

    /// The warnings that came while the terminal was drawn on.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.txt")
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// The checkpoint after update `update` of the weights: a folder.
    pub fn checkpoint(&self, update: usize) -> PathBuf {
        self.checkpoints().join(format!("{CHECKPOINT}{update:08}"))
    }

    /// The updates after which there is a checkpoint, ascending.
    pub fn checkpoint_updates(&self) -> Vec<usize> {
        let Ok(entries) = fs::read_dir(self.checkpoints()) else {
            return Vec::new();
        };
        let number = |entry: io::Result<fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix(CHECKPOINT)?.parse().ok()
        };
        let mut updates: Vec<_> = entries.filter_map(number).collect();
        updates.sort_unstable();
        updates
    }

    /// The folder of logs for TensorBoard.
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    /// The file that the process holds which trains.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Makes the folder, and sure that no other process trains in it while the returned file is
    /// open. Then removes what earlier processes left half written.
    ///
    /// The system gives the lock back when a process ends, however it ends.
    pub(crate) fn hold(&self) -> Result<File, TrainError> {
        fs::create_dir_all(&self.root).map_err(TrainError::io("make the folder", &self.root))?;
        let path = self.lock();
        let file = File::create(&path).map_err(TrainError::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(TrainError::Locked {
                    path: self.root.clone(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(TrainError::io("lock", &path)(error)),
        }
        files::sweep(&self.root);
        files::sweep(&self.checkpoints());
        Ok(file)
    }

    /// An error if there is a run in the folder.
    pub(crate) fn check_free(&self) -> Result<(), TrainError> {
        match self.holds_run() {
            false => Ok(()),
            true => Err(TrainError::RunExists {
                path: self.root.clone(),
            }),
        }
    }

    /// An error if the folder is no longer there.
    pub(crate) fn check_there(&self) -> Result<(), TrainError> {
        match self.lock().exists() {
            true => Ok(()),
            false => Err(TrainError::Gone {
                path: self.root.clone(),
            }),
        }
    }

    /// Whether there is a run in the folder.
    pub fn holds_run(&self) -> bool {
        self.config().exists() || self.metrics().exists() || self.last().exists()
    }

    /// The class names of the run.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] and [`TrainError::Damaged`].
    pub fn read_classes(&self) -> Result<Vec<String>, TrainError> {
        let path = self.classes();
        let text = fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
        serde_json::from_str(&text).map_err(|error| TrainError::damaged(path, error))
    }

    /// Writes what a run begins with.
    pub(crate) fn begin(&self, recipe: &str, classes: &[String]) -> Result<(), TrainError> {
        let checkpoints = self.checkpoints();
        fs::create_dir_all(&checkpoints)
            .map_err(TrainError::io("make the folder", &checkpoints))?;
        let mut names = serde_json::to_string_pretty(classes).unwrap_or_default();
        names.push('\n');
        for (path, content) in [(self.classes(), names.as_str()), (self.config(), recipe)] {
            files::write(&path, content.as_bytes()).map_err(TrainError::io("write", &path))?;
        }
        Ok(())
    }
}

/// The numbers of the folders `base/name-<n>`.
fn numbers(base: &Path, name: &str) -> Vec<usize> {
    let Ok(entries) = fs::read_dir(base) else {
        return Vec::new();
    };
    let number = |entry: io::Result<fs::DirEntry>| {
        let folder = entry.ok()?.file_name();
        let number = folder.to_str()?.strip_prefix(name)?.strip_prefix('-')?;
        number.parse().ok()
    };
    entries.filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_numbered_after_the_last() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("emoji-vanilla-7")).unwrap();
        let run = |expected: &str| {
            let run = RunDir::numbered(base.path(), "emoji").unwrap();
            assert_eq!(run.root(), base.path().join(expected));
            run
        };
        let first = run("emoji-1");
        run("emoji-2");
        fs::remove_dir(first.root()).unwrap();
        run("emoji-3");
    }

    #[test]
    fn the_latest_run_is_one_that_began() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(RunDir::latest(base.path(), "a"), None);
        let runs: Vec<_> = (0..11)
            .map(|_| RunDir::numbered(base.path(), "a").unwrap())
            .collect();
        for run in &runs[..10] {
            run.begin("{}", &["x".into()]).unwrap();
        }
        assert_eq!(RunDir::latest(base.path(), "a"), Some(runs[9].clone()));
        assert_eq!(runs[9].read_classes().unwrap(), ["x"]);
    }

    #[test]
    fn checkpoints_are_known_by_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        run.begin("{}", &[]).unwrap();
        for update in [10, 123_456_789, 9] {
            fs::create_dir(run.checkpoint(update)).unwrap();
        }
        fs::create_dir(run.checkpoints().join(".step-00000011.tmp")).unwrap();
        assert_eq!(run.checkpoint_updates(), [9, 10, 123_456_789]);
    }

    #[test]
    fn a_folder_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path());
        let held = run.hold().unwrap();
        assert!(matches!(run.hold(), Err(TrainError::Locked { .. })));
        drop(held);
        run.hold().unwrap();
    }
}
