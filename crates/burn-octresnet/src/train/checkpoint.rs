//! Checkpoints on disk: whole or not there.
//!
//! ```text
//! checkpoint/step-00001200/   after update 1200
//!     model.bpk               weights
//!     optim.bpk               state of the optimizer
//!     ema.bpk                 averaged weights, if the recipe asks for them
//!     state.json              position in the run, metric sums, size and checksum of each file
//! ```
//!
//! A checkpoint is written into a hidden folder, each file synced, and the folder renamed. So a
//! process or machine that dies at any moment leaves the old checkpoints as they were.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};

use super::{
    History, RunDir, TrainError, files, session::Position, trained::load_weights, weights,
};
use crate::model::OctResNet;

/// Checkpoints that are kept.
const KEPT: usize = 2;

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optim.bpk";
const AVERAGE: &str = "ema.bpk";
const STATE: &str = "state.json";

/// What a checkpoint holds beside the position.
pub(super) struct Parts<'a> {
    /// The network, without gradients.
    pub(super) model: OctResNet,
    pub(super) optimizer: &'a ModuleOptimizer,
    pub(super) average: Option<&'a OctResNet>,
}

/// The checkpoints of a run.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    run: RunDir,
}

/// A checkpoint that was found whole.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    folder: PathBuf,
}

/// The content of `state.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    position: Position,
    files: BTreeMap<String, Sealed>,
}

/// What a file must be like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sealed {
    bytes: u64,
    crc32: u32,
}

impl Sealed {
    fn of(content: &[u8]) -> Self {
        Self {
            bytes: content.len() as u64,
            crc32: crc32fast::hash(content),
        }
    }
}

impl Checkpoints {
    pub(super) fn of(run: &RunDir) -> Self {
        Self { run: run.clone() }
    }

    /// Saves a checkpoint and removes what it makes superfluous.
    pub(super) fn save(&self, position: &Position, parts: Parts<'_>) -> Result<(), TrainError> {
        let folder = self.run.checkpoint(position.update);
        let hidden = files::beside(&folder);
        let written = self.write(&hidden, position, parts).and_then(|()| {
            remove(&folder)?;
            fs::rename(&hidden, &folder)
                .map_err(TrainError::io("write the checkpoint", &folder))?;
            files::sync_folder(&self.run.checkpoints())
                .map_err(TrainError::io("write the checkpoint", &folder))
        });
        if let Err(error) = written {
            // What failed already is worth more to the reader than a leftover.
            let _ = fs::remove_dir_all(&hidden);
            return Err(error);
        }
        self.prune(position.update)
    }

    fn write(
        &self,
        folder: &Path,
        position: &Position,
        parts: Parts<'_>,
    ) -> Result<(), TrainError> {
        remove(folder)?;
        fs::create_dir_all(folder).map_err(TrainError::io("make the folder", folder))?;
        let mut sealed = BTreeMap::new();
        let mut add = |name: &str, content: &[u8]| {
            sealed.insert(name.to_string(), Sealed::of(content));
            let path = folder.join(name);
            files::write_synced(&path, content).map_err(TrainError::io("write", &path))
        };
        add(MODEL, &weights::to_bytes(parts.model)?)?;
        let optimizer = parts.optimizer.into_bytes().map_err(weights::unwritable)?;
        add(OPTIMIZER, &optimizer)?;
        if let Some(average) = parts.average {
            add(AVERAGE, &weights::to_bytes(average.clone())?)?;
        }
        let state = State {
            position: position.clone(),
            files: sealed,
        };
        let path = folder.join(STATE);
        let json = serde_json::to_vec_pretty(&state).map_err(io::Error::from);
        json.and_then(|json| files::write_synced(&path, &json))
            .and_then(|()| files::sync_folder(folder))
            .map_err(TrainError::io("write", &path))
    }

    /// Keeps the newest checkpoints up to `update`. Later ones are of a run that went on from an
    /// earlier one since they were damaged.
    fn prune(&self, update: usize) -> Result<(), TrainError> {
        let (kept, later): (Vec<_>, Vec<_>) =
            (self.run.checkpoint_updates().into_iter()).partition(|&saved| saved <= update);
        let old = kept.len().saturating_sub(KEPT);
        for saved in kept[..old].iter().chain(&later) {
            remove(&self.run.checkpoint(*saved))?;
        }
        Ok(())
    }

    /// The newest checkpoint that is whole; damaged ones are logged.
    ///
    /// # Errors
    ///
    /// The first failure if there are checkpoints and none is whole.
    pub(super) fn newest(&self) -> Result<Option<Checkpoint>, TrainError> {
        self.sweep();
        let mut failure = None;
        for update in self.run.checkpoint_updates().into_iter().rev() {
            match Checkpoint::open(self.run.checkpoint(update)) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => {
                    log::warn!("leaving out the checkpoint of step {update}: {error}");
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// Removes what a process left that died while it saved or removed a checkpoint.
    fn sweep(&self) {
        let entries = fs::read_dir(self.run.checkpoints()).into_iter().flatten();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with('.')) {
                // It is in nobody's way if it cannot be removed.
                let _ = fs::remove_dir_all(&path);
            }
        }
    }

    /// Writes down an epoch: the metrics, and the weights as last and perhaps as best.
    pub(super) fn end_epoch(
        &self,
        history: &History,
        weights: OctResNet,
        best: bool,
    ) -> Result<(), TrainError> {
        let weights = weights::to_bytes(weights)?;
        let mut targets = vec![self.run.last()];
        if best {
            targets.push(self.run.best());
        }
        for path in targets {
            files::write(&path, &weights).map_err(TrainError::io("write", &path))?;
        }
        let path = self.run.metrics();
        history.save(&path).map_err(TrainError::io("write", &path))
    }
}

impl Checkpoint {
    /// Reads every file once to see that it is what was written.
    fn open(folder: PathBuf) -> Result<Self, TrainError> {
        let path = folder.join(STATE);
        let json = fs::read(&path).map_err(TrainError::io("read", &path))?;
        let damaged = |path: PathBuf, message: String| TrainError::Damaged { path, message };
        let state: State =
            serde_json::from_slice(&json).map_err(|error| damaged(path, error.to_string()))?;
        for (name, sealed) in &state.files {
            let path = folder.join(name);
            let content = fs::read(&path).map_err(TrainError::io("read", &path))?;
            let found = Sealed::of(&content);
            if found.bytes != sealed.bytes {
                let message = format!("it has {} of {} bytes", found.bytes, sealed.bytes);
                return Err(damaged(path, message));
            }
            if found != *sealed {
                return Err(damaged(path, "its checksum is wrong".into()));
            }
        }
        Ok(Self {
            position: state.position,
            folder,
        })
    }

    /// The network with the weights of the checkpoint.
    pub(super) fn model(&self, model: OctResNet) -> Result<OctResNet, TrainError> {
        load_weights(model, &self.folder.join(MODEL))
    }

    /// The network with the averaged weights of the checkpoint.
    pub(super) fn average(&self, model: OctResNet) -> Result<OctResNet, TrainError> {
        load_weights(model, &self.folder.join(AVERAGE))
    }

    /// The optimizer with the state of the checkpoint.
    pub(super) fn optimizer(
        &self,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, TrainError> {
        let path = self.folder.join(OPTIMIZER);
        optimizer.load(&path).map_err(|error| TrainError::Weights {
            path,
            message: super::error::first_line(&error.to_string()),
        })
    }
}

/// Removes a folder in one step, if it is there.
fn remove(folder: &Path) -> Result<(), TrainError> {
    if !folder.exists() {
        return Ok(());
    }
    let mut trash = folder.to_path_buf();
    trash.set_extension("old");
    let trash = files::beside(&trash);
    let removed = match fs::remove_dir_all(&trash) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::rename(folder, &trash).and_then(|()| fs::remove_dir_all(&trash)),
    };
    removed.map_err(TrainError::io("remove the checkpoint", folder))
}
