use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use burn::train::{
    logger::{MetricLogger, TrainingProgressLogger},
    metric::{
        MetricDefinition, MetricId, MetricName, NumericEntry,
        store::{EpochSummary, MetricsUpdate, Split},
    },
};

use super::EpochRow;

/// Listens to Burn's training loop and puts together what happened in an epoch.
///
/// Burn's own logger writes a file per metric and epoch; this one keeps the epoch's end values
/// and the time they took. Clones listen together.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: HashMap<MetricId, MetricName>,
    /// Values of the current epoch by split and name.
    values: HashMap<(bool, String), f64>,
    epoch: usize,
    lr: f64,
    training: bool,
    train_start: Option<Instant>,
    train_seconds: f64,
    train_images: usize,
}

impl Journal {
    /// The row of the epoch that just ended. `names` are those of loss, top-1 and top-5.
    pub(super) fn row(&self, epoch: usize, names: [&str; 3]) -> EpochRow {
        let state = self.lock();
        let value = |training: bool, index: usize| {
            let value = state.values.get(&(training, names[index].to_string()));
            // Burn counts accuracies in percent.
            let scale = if index == 0 { 1.0 } else { 0.01 };
            rounded(value.map_or(f64::NAN, |value| value * scale), 1e6)
        };
        let seconds = (state.train_start).map_or(0.0, |start| start.elapsed().as_secs_f64());
        EpochRow {
            epoch,
            train_loss: value(true, 0),
            train_top1: value(true, 1),
            train_top5: value(true, 2),
            val_loss: value(false, 0),
            val_top1: value(false, 1),
            val_top5: value(false, 2),
            lr: state.lr,
            seconds: rounded(seconds, 1e2),
            images_per_second: rounded(
                state.train_images as f64 / state.train_seconds.max(1e-9),
                1e2,
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every statement leaves the state consistent, also if another thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rounded(value: f64, digits: f64) -> f64 {
    (value * digits).round() / digits
}

/// Name of Burn's metric of the learning rate.
const LR: &str = "Learning Rate";

impl MetricLogger for Journal {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        let mut state = self.lock();
        if epoch != state.epoch {
            state.epoch = epoch;
            state.values.clear();
        }
        for update in update.entries_numeric {
            let Some(name) = state.names.get(&update.entry.metric_id).cloned() else {
                continue;
            };
            match update.numeric_entry {
                Some(NumericEntry::Final(value)) => {
                    let key = (*split == Split::Train, name.to_string());
                    state.values.insert(key, value);
                }
                // The mean over an epoch, which Burn gives at its end, is of no use to anyone.
                Some(entry) if name.as_str() == LR => state.lr = entry.current(),
                _ => {}
            }
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        let state = self.lock();
        let value = state
            .values
            .get(&(*split == Split::Train, name.to_string()));
        let value = value.filter(|_| epoch == state.epoch);
        Ok(value
            .map(|value| NumericEntry::Final(*value))
            .into_iter()
            .collect())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        let mut state = self.lock();
        state.names.insert(definition.metric_id, definition.name);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

impl TrainingProgressLogger for Journal {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}

    fn update_epoch(&mut self, _epoch: usize) {}

    fn start_split(&mut self, split: &str, _total_items: usize) {
        let mut state = self.lock();
        state.training = split == "train";
        if state.training {
            state.train_start = Some(Instant::now());
            state.train_images = 0;
        }
    }

    fn update_split(&mut self, items_processed: usize) {
        let mut state = self.lock();
        if state.training {
            state.train_images = items_processed;
        }
    }

    fn end_split(&mut self) {
        let mut state = self.lock();
        if let (true, Some(start)) = (state.training, state.train_start) {
            state.train_seconds = start.elapsed().as_secs_f64();
        }
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}
