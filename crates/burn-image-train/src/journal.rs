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

use crate::{
    exact::Exact,
    history::EpochRow,
    session::{RunState, Sums},
    speed::SpeedMetric,
    wait::DataWait,
};

/// Listens to Burn's training loop and puts together what happened in an epoch.
///
/// Burn's own logger writes a file per metric and epoch; this one keeps the epoch's end values
/// and the time they took. Clones listen together.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: HashMap<MetricId, MetricName>,
    /// What this epoch's training has given so far, also before the run was resumed.
    train: Sums,
    /// The same of its validation.
    val: Sums,
    training: bool,
    /// Start of the epoch, or of the part of it after the run was resumed.
    start: Option<Instant>,
    /// Seconds of the epoch before that.
    before: f64,
    train_seconds: f64,
    wait: DataWait,
    train_wait: f64,
}

impl Journal {
    /// A journal that reads how long an epoch waited for batches from `wait`.
    pub(crate) fn new(wait: DataWait) -> Self {
        let journal = Self::default();
        journal.lock().wait = wait;
        journal
    }

    /// The row of the epoch that just ended. `names` are those of loss, top-1 and top-5.
    pub(crate) fn row(&self, epoch: usize, names: [&str; 3]) -> EpochRow {
        let state = self.lock();
        let value = |sums: &Sums, index: usize| {
            let sum = sums.metrics.get(names[index]);
            // Burn counts accuracies in percent.
            let scale = if index == 0 { 1.0 } else { 0.01 };
            let mean = sum.map_or(f64::NAN, |(sum, count)| sum.0 / *count as f64);
            rounded(mean * scale, 1e6)
        };
        let rate = state.train.images as f64 / state.train_seconds.max(1e-9);
        EpochRow {
            epoch,
            train_loss: value(&state.train, 0),
            train_top1: value(&state.train, 1),
            train_top5: value(&state.train, 2),
            val_loss: value(&state.val, 0),
            val_top1: value(&state.val, 1),
            val_top5: value(&state.val, 2),
            lr: state.train.lr.0,
            seconds: rounded(state.seconds(), 1e2),
            images_per_second: rounded(rate, 1e2),
            data_wait: Some(rounded(state.train_wait, 1e4)),
        }
    }

    /// Begins where a checkpoint was taken.
    pub(crate) fn restore(&self, position: &RunState) {
        let mut state = self.lock();
        state.train = position.sums.clone();
        state.val = Sums::default();
        state.before = position.sums.seconds.0;
        state.train_seconds = state.before;
        state.start = None;
    }

    /// What a checkpoint has to know.
    pub(crate) fn sums(&self) -> Sums {
        let state = self.lock();
        Sums {
            seconds: Exact(state.seconds()),
            ..state.train.clone()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every statement leaves the state consistent, also if another thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seconds(&self) -> f64 {
        let now = self
            .start
            .map_or(0.0, |start| start.elapsed().as_secs_f64());
        self.before + now
    }

    fn current(&mut self, training: bool) -> &mut Sums {
        if training {
            &mut self.train
        } else {
            &mut self.val
        }
    }
}

fn rounded(value: f64, digits: f64) -> f64 {
    (value * digits).round() / digits
}

/// Name of Burn's metric of the learning rate.
const LR: &str = "Learning Rate";

impl MetricLogger for Journal {
    fn log(&mut self, update: MetricsUpdate, _epoch: usize, split: &Split) {
        let mut state = self.lock();
        for update in update.entries_numeric {
            let Some(name) = state.names.get(&update.entry.metric_id).cloned() else {
                continue;
            };
            // The end values repeat the sums, and of a resumed epoch know only the last part.
            let Some(NumericEntry::Aggregated {
                aggregated_value,
                count,
            }) = update.numeric_entry
            else {
                continue;
            };
            let sums = state.current(*split == Split::Train);
            if name.as_str() == LR {
                sums.lr = Exact(aggregated_value);
                continue;
            }
            // Times differ from run to run, and have no place in a checkpoint.
            if SpeedMetric::NAMES.contains(&name.as_str()) {
                continue;
            }
            let (sum, images) = sums.metrics.entry(name.to_string()).or_default();
            sum.0 += aggregated_value * count as f64;
            *images += count;
        }
    }

    fn read_numeric(
        &mut self,
        _name: &str,
        _epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
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
        if state.start.is_none() {
            state.start = Some(Instant::now());
        }
    }

    fn update_split(&mut self, items_processed: usize) {
        let mut state = self.lock();
        if state.training {
            state.train.images = items_processed;
            state.train_seconds = state.seconds();
            state.train_wait = state.wait.share();
        }
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}
