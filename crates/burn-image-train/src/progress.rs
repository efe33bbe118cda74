use std::{
    collections::HashMap,
    io::{self, Write},
    time::{Duration, Instant},
};

use burn::train::{
    logger::{EvaluationProgressLogger, TrainingProgressLogger},
    metric::{MetricDefinition, MetricId, MetricName, NumericEntry},
    renderer::{
        EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
        MetricsRendererTraining,
    },
};

use crate::wait::DataWait;

/// Name of Burn's metric of the learning rate.
const LR: &str = "Learning Rate";

/// Shows training as lines of text: one every few seconds and one per epoch.
///
/// For logs and pipes, where Burn's terminal interface has no place.
pub struct PlainProgress<W> {
    out: W,
    every: Duration,
    /// Steps of a training epoch.
    steps: usize,
    wait: DataWait,
    names: HashMap<MetricId, MetricName>,
    epoch: usize,
    epochs: usize,
    training: bool,
    train: Sums,
    val: Sums,
    lr: f64,
    step: usize,
    /// Steps of the first epoch that came before.
    first_step: usize,
    items: usize,
    total_items: usize,
    epoch_start: Instant,
    /// Duration and number of whole epochs.
    done: (Duration, u32),
    last_line: Instant,
}

/// Sum and count of each metric over an epoch so far.
#[derive(Default)]
struct Sums(HashMap<String, (f64, f64)>);

impl Sums {
    fn add(&mut self, name: &str, value: f64, count: usize) {
        let (sum, images) = self.0.entry(name.to_string()).or_default();
        *sum += value * count as f64;
        *images += count as f64;
    }

    fn mean(&self, is: impl Fn(&str) -> bool) -> Option<f64> {
        let (_, (sum, images)) = self.0.iter().find(|(name, _)| is(name))?;
        Some(sum / images)
    }

    fn loss(&self) -> Option<f64> {
        self.mean(|name| name == "Loss")
    }

    fn top1(&self) -> Option<f64> {
        self.mean(|name| name == "Accuracy")
    }

    /// Top-5, or top-k of fewer classes.
    fn top5(&self) -> Option<f64> {
        self.mean(|name| name.starts_with("Top-K"))
    }
}

impl<W: Write + Send + Sync> PlainProgress<W> {
    /// Lines on `out`, for epochs of `steps` steps that wait for images as `wait` says.
    pub fn new(out: W, steps: usize, wait: DataWait) -> Self {
        let now = Instant::now();
        Self {
            out,
            every: Duration::from_secs(5),
            steps,
            wait,
            names: HashMap::new(),
            epoch: 0,
            epochs: 0,
            training: false,
            train: Sums::default(),
            val: Sums::default(),
            lr: 0.0,
            step: 0,
            first_step: 0,
            items: 0,
            total_items: 0,
            epoch_start: now,
            done: (Duration::ZERO, 0),
            last_line: now,
        }
    }

    /// Goes on after the first `step` steps of an epoch.
    pub fn after_step(self, step: usize) -> Self {
        Self {
            first_step: step,
            ..self
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.last_line = Instant::now();
        let width = self.epochs.to_string().len();
        // Nobody may be listening any more: no reason to stop training.
        let _ = writeln!(
            self.out,
            "epoch {:width$}/{}  {text}",
            self.epoch, self.epochs
        );
        let _ = self.out.flush();
    }

    fn progress(&mut self) {
        if !self.training {
            let (items, total) = (self.items, self.total_items);
            return self.line(format_args!("validating, {items} of {total} images"));
        }
        let rate = self.wait.rate(self.items);
        let left = self
            .time_left()
            .map_or(String::new(), |left| format!(", {left} left"));
        let (step, steps, lr) = (self.step, self.steps, self.lr);
        let width = steps.to_string().len();
        let wait = 100.0 * self.wait.share();
        let (loss, top1) = (number(self.train.loss(), 3), number(self.train.top1(), 1));
        self.line(format_args!(
            "step {step:width$}/{steps}  loss {loss}, top-1 {top1} %, lr {lr:.2e}, {rate:.0} images/s, data wait {wait:.0} %{left}"
        ));
    }

    fn end_of_epoch(&mut self) {
        let duration = self.epoch_start.elapsed();
        if self.wait.before() == 0 {
            self.done = (self.done.0 + duration, self.done.1 + 1);
        }
        let [train_loss, val_loss] = [self.train.loss(), self.val.loss()].map(|v| number(v, 3));
        let accuracies = [self.train.top1(), self.val.top1(), self.val.top5()];
        let [train_top1, val_top1, val_top5] = accuracies.map(|v| number(v, 1));
        let left = match (self.epochs.saturating_sub(self.epoch), self.done) {
            (0, _) | (_, (_, 0)) => String::new(),
            (epochs, (time, done)) => format!(", {} left", short(time / done * epochs as u32)),
        };
        let took = short(duration);
        self.line(format_args!(
            "train: loss {train_loss}, top-1 {train_top1} %; validation: loss {val_loss}, top-1 {val_top1} %, top-5 {val_top5} %; {took}{left}"
        ));
    }

    /// From the duration of the whole epochs so far, or else from the part of this one.
    fn time_left(&self) -> Option<String> {
        let elapsed = self.epoch_start.elapsed();
        let share = |items: usize| items as f64 / self.total_items.max(1) as f64;
        let before = self.wait.before();
        let here = share(self.items.saturating_sub(before));
        let epoch = match self.done {
            (_, 0) if here < 0.02 => return None,
            (_, 0) => elapsed.div_f64(here),
            (time, epochs) => time / epochs,
        };
        let epochs = (self.epochs + 1).saturating_sub(self.epoch);
        let gone = elapsed + epoch.mul_f64(share(before));
        Some(short((epoch * epochs as u32).saturating_sub(gone)))
    }

    fn update(&mut self, training: bool, state: MetricState) {
        let MetricState::Numeric(entry, Some(value)) = state else {
            return;
        };
        let Some(name) = self.names.get(&entry.metric_id) else {
            return;
        };
        let sums = if training {
            &mut self.train
        } else {
            &mut self.val
        };
        // The end values repeat the sums.
        if let NumericEntry::Aggregated {
            aggregated_value,
            count,
        } = value
        {
            if name.as_str() == LR {
                self.lr = aggregated_value;
            } else {
                sums.add(name, aggregated_value, count);
            }
        }
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}

/// A duration to the precision that a reader wants.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

impl PlainProgress<io::Stderr> {
    /// Lines on the standard error stream, for epochs of `steps` steps that wait for images as
    /// `wait` says.
    pub fn stderr(steps: usize, wait: DataWait) -> Self {
        Self::new(io::stderr(), steps, wait)
    }
}

impl<W: Write + Send + Sync> TrainingProgressLogger for PlainProgress<W> {
    fn start(&mut self, epochs: usize, first: usize, _: Option<usize>, _: Option<&str>) {
        self.epochs = epochs;
        self.epoch = first;
        self.last_line = Instant::now();
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch;
        self.end_of_epoch();
        self.epoch = epoch + 1;
    }

    fn start_split(&mut self, split: &str, total_items: usize) {
        self.training = split == "train";
        (self.step, self.items, self.total_items) = (0, 0, total_items);
        if self.training {
            self.step = std::mem::take(&mut self.first_step);
            self.epoch_start = Instant::now();
            self.train = Sums::default();
            self.val = Sums::default();
        }
    }

    fn update_split(&mut self, items_processed: usize) {
        self.step += 1;
        self.items = items_processed;
        if self.last_line.elapsed() >= self.every {
            self.progress();
        }
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl<W: Write + Send + Sync> MetricsRendererTraining for PlainProgress<W> {
    fn update_train(&mut self, state: MetricState) {
        self.update(true, state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update(false, state);
    }
}

impl<W: Write + Send + Sync> MetricsRenderer for PlainProgress<W> {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }
}

// A renderer has to know both; evaluation is not done through Burn's loop here.
impl<W: Write + Send + Sync> MetricsRendererEvaluation for PlainProgress<W> {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl<W: Write + Send + Sync> EvaluationProgressLogger for PlainProgress<W> {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let text = |seconds| short(Duration::from_secs(seconds));
        assert_eq!(text(59), "59 s");
        assert_eq!(text(61), "1 min 01 s");
        assert_eq!(text(7_260), "2 h 01 min");
    }

    #[test]
    fn means_are_over_images_whatever_the_batches() {
        let mut sums = Sums::default();
        sums.add("Loss", 1.0, 3);
        sums.add("Loss", 5.0, 1);
        assert_eq!(sums.loss(), Some(2.0));
        assert_eq!(sums.top1(), None);
    }
}
