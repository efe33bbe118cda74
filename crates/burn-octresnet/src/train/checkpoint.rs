use std::{
    collections::BTreeSet,
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use burn::{
    store::ModuleRecord,
    train::{
        Interrupter,
        checkpoint::{Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy},
        metric::store::{Aggregate, EventStoreClient, Split},
    },
};

use super::{History, RunDir, files, journal::Journal};

/// The history, shared between the thread that decides and the one that writes weights.
pub(super) type SharedHistory = Arc<Mutex<History>>;

pub(super) fn lock(history: &SharedHistory) -> MutexGuard<'_, History> {
    // Every statement leaves the history consistent, also if another thread panicked.
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Saves every epoch; keeps the last two and the best, and the metrics of all.
pub(super) struct EveryEpoch {
    pub(super) run: RunDir,
    pub(super) journal: Journal,
    pub(super) history: SharedHistory,
    pub(super) interrupter: Interrupter,
    /// Names of loss, top-1 and top-5.
    pub(super) metrics: [String; 3],
    /// Epochs with a checkpoint.
    pub(super) saved: BTreeSet<usize>,
}

impl CheckpointingStrategy for EveryEpoch {
    fn checkpointing(
        &mut self,
        epoch: usize,
        store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        // The store lives in another thread. Its answer comes after all it was told before, so
        // from here on the journal knows all of the epoch.
        store.find_metric(&self.metrics[0], epoch, Aggregate::Mean, &Split::Valid);
        let row = (self.journal).row(epoch, self.metrics.each_ref().map(String::as_str));
        let mut history = lock(&self.history);
        history.push(row);
        if let Err(error) = history.save(&self.run.metrics()) {
            self.interrupter
                .fail(CheckpointerError::IOError(named(error, "metrics.csv")));
        }
        let best = history.best().map(|row| row.epoch);
        let keep = |saved: usize| saved + 1 >= epoch || Some(saved) == best;
        let old: Vec<_> = self
            .saved
            .iter()
            .copied()
            .filter(|&e| e < epoch && !keep(e))
            .collect();
        self.saved.retain(|epoch| !old.contains(epoch));
        self.saved.insert(epoch);
        let delete = old.into_iter().map(CheckpointingAction::Delete);
        [CheckpointingAction::Save]
            .into_iter()
            .chain(delete)
            .collect()
    }
}

/// Saves weights, and says which are the last and which the best.
pub(super) struct WeightsCheckpointer {
    pub(super) run: RunDir,
    pub(super) history: SharedHistory,
}

impl Checkpointer<ModuleRecord> for WeightsCheckpointer {
    fn save(&self, epoch: usize, record: ModuleRecord) -> Result<(), CheckpointerError> {
        let [weights, ..] = self.run.checkpoint(epoch);
        // Burn writes to a temporary file and renames it.
        record.save(&weights).map_err(CheckpointerError::Record)?;
        let best = lock(&self.history).best().map(|row| row.epoch);
        let mut targets = vec![self.run.last()];
        if best == Some(epoch) {
            targets.push(self.run.best());
        }
        for target in targets {
            files::copy(&weights, &target)
                .map_err(|error| CheckpointerError::IOError(named(error, "weights")))?;
        }
        Ok(())
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        let [weights, ..] = self.run.checkpoint(epoch);
        match fs::remove_file(weights) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CheckpointerError::IOError(error))
            }
            _ => Ok(()),
        }
    }

    fn restore(&self, epoch: usize) -> Result<ModuleRecord, CheckpointerError> {
        let [weights, ..] = self.run.checkpoint(epoch);
        ModuleRecord::load(weights).map_err(CheckpointerError::Record)
    }
}

/// The same error with the name of what could not be written.
fn named(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {what}: {error}"))
}
