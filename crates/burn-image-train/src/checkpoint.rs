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

use burn::{module::Module, optim::ModuleOptimizer};
use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    files,
    fingerprint::Fingerprint,
    history::History,
    run_dir::RunDir,
    session::RunState,
    text::{first_line, shortened},
    weights::{self, load_weights},
};

/// Checkpoints that are kept.
const KEPT: usize = 2;

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optim.bpk";
const AVERAGE: &str = "ema.bpk";
const STATE: &str = "state.json";

/// What a checkpoint holds beside the position.
pub(crate) struct Parts<'a, M> {
    /// The network, without gradients.
    pub(crate) model: M,
    pub(crate) optimizer: &'a ModuleOptimizer,
    pub(crate) average: Option<&'a M>,
}

/// The checkpoints of a run.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    run: RunDir,
    images: Fingerprint,
}

/// A checkpoint that was found whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) state: RunState,
    /// The images that the run was trained on; runs of earlier versions did not say.
    pub(crate) images: Option<Fingerprint>,
    folder: PathBuf,
}

/// The content of `state.json`. Runs of earlier versions lack what has a default.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    position: RunState,
    files: BTreeMap<String, Sealed>,
    /// The images that the run is trained on.
    #[serde(default)]
    images: Option<Fingerprint>,
    /// Checksum of all the rest.
    #[serde(default)]
    crc32: Option<u32>,
}

impl Contents {
    fn checksum(&self) -> Result<u32, serde_json::Error> {
        let rest = (&self.position, &self.files, &self.images);
        Ok(crc32fast::hash(&serde_json::to_vec(&rest)?))
    }

    /// Checks what does not depend on the other files. A state without a checksum may have been
    /// edited to anything.
    fn check(&self) -> Result<(), String> {
        if self.crc32.is_some() && self.crc32 != self.checksum().ok() {
            return Err("its checksum is wrong".into());
        }
        let known = [MODEL, OPTIMIZER, AVERAGE];
        match self
            .files
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        {
            Some(name) => Err(format!(
                "a checkpoint has no file {:?}",
                shortened(name, 60)
            )),
            None => self.position.check(),
        }
    }
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
    /// Those of a run that is trained on `images`.
    pub(crate) fn of(run: &RunDir, images: Fingerprint) -> Self {
        Self {
            run: run.clone(),
            images,
        }
    }

    /// An error if the run's folder is no longer there.
    pub(crate) fn check_there(&self) -> Result<(), TrainError> {
        self.run.check_there()
    }

    /// Saves a checkpoint and removes what it makes superfluous.
    pub(crate) fn save<M: Module>(
        &self,
        state: &RunState,
        parts: Parts<'_, M>,
    ) -> Result<(), TrainError> {
        let folder = self.run.checkpoint(state.update);
        let hidden = files::beside(&folder);
        let written = self.write(&hidden, state, parts).and_then(|()| {
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
        self.prune(state.update)
    }

    fn write<M: Module>(
        &self,
        folder: &Path,
        state: &RunState,
        parts: Parts<'_, M>,
    ) -> Result<(), TrainError> {
        remove(folder)?;
        // Not its parents: without them the run's folder is gone.
        fs::create_dir(folder).map_err(TrainError::io("make the folder", folder))?;
        let mut sealed = BTreeMap::new();
        let mut add = |name: &str, content: &[u8]| {
            sealed.insert(name.to_string(), Sealed::of(content));
            let path = folder.join(name);
            files::write_synced(&path, content).map_err(TrainError::io("write", &path))
        };
        add(MODEL, &weights::to_bytes(&parts.model)?)?;
        let optimizer = parts.optimizer.into_bytes().map_err(weights::unwritable)?;
        add(OPTIMIZER, &optimizer)?;
        if let Some(average) = parts.average {
            add(AVERAGE, &weights::to_bytes(average)?)?;
        }
        let mut contents = Contents {
            position: state.clone(),
            files: sealed,
            images: Some(self.images),
            crc32: None,
        };
        let path = folder.join(STATE);
        let json = contents.checksum().and_then(|sum| {
            contents.crc32 = Some(sum);
            serde_json::to_vec_pretty(&contents)
        });
        json.map_err(io::Error::from)
            .and_then(|json| files::write_synced(&path, &json))
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
    pub(crate) fn newest(&self) -> Result<Option<Checkpoint>, TrainError> {
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

    /// Writes down an epoch: the metrics, and the weights as last and perhaps as best.
    pub(crate) fn end_epoch(
        &self,
        history: &History,
        weights: &impl Module,
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
        let json = files::read(&path).map_err(TrainError::io("read", &path))?;
        let contents: Contents =
            serde_json::from_slice(&json).map_err(|error| TrainError::damaged(&path, error))?;
        (contents.check()).map_err(|message| TrainError::damaged(&path, message))?;
        for (name, sealed) in &contents.files {
            let path = folder.join(name);
            let content = files::read(&path).map_err(TrainError::io("read", &path))?;
            let found = Sealed::of(&content);
            if found.bytes != sealed.bytes {
                let message = format!("it has {} of {} bytes", found.bytes, sealed.bytes);
                return Err(TrainError::damaged(path, message));
            }
            if found != *sealed {
                return Err(TrainError::damaged(path, "its checksum is wrong"));
            }
        }
        Ok(Self {
            state: contents.position,
            images: contents.images,
            folder,
        })
    }

    /// The network with the weights of the checkpoint.
    pub(crate) fn model<M: Module>(&self, model: M) -> Result<M, TrainError> {
        load_weights(model, &self.folder.join(MODEL))
    }

    /// The network with the averaged weights of the checkpoint.
    pub(crate) fn average<M: Module>(&self, model: M) -> Result<M, TrainError> {
        load_weights(model, &self.folder.join(AVERAGE))
    }

    /// The optimizer with the state of the checkpoint.
    pub(crate) fn optimizer(
        &self,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, TrainError> {
        let path = self.folder.join(OPTIMIZER);
        optimizer.load(&path).map_err(|error| TrainError::Weights {
            path,
            message: first_line(&error.to_string()),
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
