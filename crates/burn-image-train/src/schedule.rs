use std::f64::consts::PI;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// How the learning rate goes from step to step. The peak is the optimizer's `lr`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// Always the same.
    Constant {},
    /// Up in a line, then down along half a cosine.
    Cosine {
        /// Epochs of the way up; fractions are fine.
        #[serde(default)]
        warmup_epochs: f64,
        /// Where it ends.
        #[serde(default)]
        final_lr: f64,
    },
    /// Up and down along half cosines (Smith and Topin, <https://arxiv.org/abs/1708.07120>, as
    /// PyTorch does it).
    OneCycle {
        /// Share of the steps that the way up takes.
        #[serde(default = "defaults::warmup")]
        warmup: f64,
        /// The start is the peak divided by this.
        #[serde(default = "defaults::start_divisor")]
        start_divisor: f64,
        /// The end is the start divided by this.
        #[serde(default = "defaults::end_divisor")]
        end_divisor: f64,
    },
    /// Up in a line, then multiplied by `gamma` at each milestone.
    Step {
        /// Epochs after which the learning rate drops, ascending.
        milestones: Vec<f64>,
        /// What it is multiplied with.
        #[serde(default = "defaults::gamma")]
        gamma: f64,
        /// Epochs of the way up; fractions are fine.
        #[serde(default)]
        warmup_epochs: f64,
    },
}

mod defaults {
    pub(crate) fn warmup() -> f64 {
        0.3
    }
    pub(crate) fn start_divisor() -> f64 {
        25.0
    }
    pub(crate) fn end_divisor() -> f64 {
        1e4
    }
    pub(crate) fn gamma() -> f64 {
        0.1
    }
}

impl ScheduleConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let check = |good, field, value, expected| {
            TrainError::check(good, &format!("schedule.{field}"), value, expected)
        };
        let epochs = |epochs: f64| {
            let good = epochs.is_finite() && epochs >= 0.0;
            check(good, "warmup_epochs", epochs, "a number of epochs")
        };
        match self {
            Self::Constant {} => Ok(()),
            Self::Cosine {
                warmup_epochs,
                final_lr,
            } => {
                epochs(*warmup_epochs)?;
                let good = final_lr.is_finite() && *final_lr >= 0.0;
                check(good, "final_lr", *final_lr, "0 or a positive number")
            }
            Self::OneCycle {
                warmup,
                start_divisor,
                end_divisor,
            } => {
                let good = (0.0..=1.0).contains(warmup);
                check(good, "warmup", *warmup, "a share of the steps, 0 to 1")?;
                let divisors = [
                    ("start_divisor", start_divisor),
                    ("end_divisor", end_divisor),
                ];
                for (field, divisor) in divisors {
                    let good = divisor.is_finite() && *divisor >= 1.0;
                    check(good, field, *divisor, "at least 1")?;
                }
                Ok(())
            }
            Self::Step {
                milestones,
                gamma,
                warmup_epochs,
            } => {
                epochs(*warmup_epochs)?;
                check(
                    *gamma > 0.0 && *gamma <= 1.0,
                    "gamma",
                    *gamma,
                    "above 0 and at most 1",
                )?;
                let good = milestones.iter().all(|epoch| *epoch > 0.0)
                    && milestones.windows(2).all(|pair| pair[0] < pair[1]);
                TrainError::check(
                    good,
                    "schedule.milestones",
                    format!("{milestones:?}"),
                    "epochs above 0 in ascending order",
                )
            }
        }
    }

    /// The learning rate as a function of the step.
    pub fn over(&self, peak: f64, steps_per_epoch: usize, epochs: usize) -> Schedule {
        Schedule {
            config: self.clone(),
            peak,
            steps_per_epoch,
            steps: steps_per_epoch * epochs,
            step: 0,
            factor: 1.0,
        }
    }
}

/// A learning rate for every step of a run.
///
/// A function of the step alone, where Burn's own schedulers carry state from step to step: a run
/// can be resumed anywhere, also with more epochs, and drawn beforehand. Burn's are also limited
/// to rates of at most 1, which large batches exceed.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    peak: f64,
    steps_per_epoch: usize,
    steps: usize,
    step: usize,
    factor: f64,
}

impl Schedule {
    /// The same from `step` on.
    pub fn at(self, step: usize) -> Self {
        Self { step, ..self }
    }

    /// The same with every rate multiplied by `factor`.
    pub fn times(self, factor: f64) -> Self {
        Self {
            factor: self.factor * factor,
            ..self
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        self.factor * self.shape(step)
    }

    fn shape(&self, step: usize) -> f64 {
        // A run resumed after its end stays at the end.
        let step = step.min(self.steps.saturating_sub(1)) as f64;
        let steps = self.steps as f64;
        let warm = |epochs: f64| (epochs * self.steps_per_epoch as f64).round().min(steps);
        match &self.config {
            ScheduleConfig::Constant {} => self.peak,
            ScheduleConfig::Cosine {
                warmup_epochs,
                final_lr,
            } => {
                let warmup = warm(*warmup_epochs);
                if step < warmup {
                    return self.peak * (step + 1.0) / warmup;
                }
                half_cosine(self.peak, *final_lr, (step - warmup) / (steps - warmup))
            }
            ScheduleConfig::OneCycle {
                warmup,
                start_divisor,
                end_divisor,
            } => {
                let start = self.peak / start_divisor;
                let top = (warmup * steps - 1.0).max(0.0);
                if step < top {
                    return half_cosine(start, self.peak, step / top);
                }
                let way_down = (steps - 1.0 - top).max(1.0);
                half_cosine(self.peak, start / end_divisor, (step - top) / way_down)
            }
            ScheduleConfig::Step {
                milestones,
                gamma,
                warmup_epochs,
            } => {
                let warmup = warm(*warmup_epochs);
                if step < warmup {
                    return self.peak * (step + 1.0) / warmup;
                }
                let epoch = step / self.steps_per_epoch as f64;
                let drops = milestones.partition_point(|&milestone| milestone <= epoch);
                self.peak * gamma.powi(drops as i32)
            }
        }
    }
}

/// From `from` to `to` as `share` goes from 0 to 1.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + 0.5 * (from - to) * (1.0 + (PI * share).cos())
}

impl LrScheduler for Schedule {
    fn step(&mut self) -> f64 {
        let lr = self.lr(self.step);
        self.step += 1;
        lr
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar::<u64>("step") {
            self.step = step as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::lr_scheduler::{
        cosine::CosineAnnealingLrSchedulerConfig, linear::LinearLrSchedulerConfig,
        sequential::SequentialLrSchedulerConfig,
    };

    fn all(config: ScheduleConfig) -> Vec<f64> {
        let schedule = config.over(0.4, 10, 6);
        (0..60).map(|step| schedule.lr(step)).collect()
    }

    fn assert_near(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (step, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert!(
                (got - expected).abs() < 1e-12,
                "step {step}: {got} {expected}"
            );
        }
    }

    #[test]
    fn cosine_equals_burns_schedulers_in_sequence() {
        let got = all(ScheduleConfig::Cosine {
            warmup_epochs: 2.0,
            final_lr: 0.001,
        });
        let mut burn = SequentialLrSchedulerConfig::new(
            vec![
                LinearLrSchedulerConfig::new(0.02, 0.4, 19).into(),
                CosineAnnealingLrSchedulerConfig::new(0.4, 40)
                    .with_min_lr(0.001)
                    .into(),
            ],
            vec![20],
        )
        .init()
        .unwrap();
        let expected: Vec<_> = (0..60).map(|_| burn.step().base()).collect();
        assert_near(&got, &expected);
    }

    #[test]
    fn one_cycle_equals_pytorch() {
        // torch.optim.lr_scheduler.OneCycleLR(SGD([p], 1), max_lr=0.1, total_steps=10), defaults.
        let expected = [
            0.004,
            0.052,
            0.1,
            0.0950484632,
            0.0811745654,
            0.0611262022,
            0.0388741978,
            0.0188258346,
            0.0049519368,
            4e-07,
        ];
        let schedule = ScheduleConfig::OneCycle {
            warmup: 0.3,
            start_divisor: 25.0,
            end_divisor: 1e4,
        }
        .over(0.1, 5, 2);
        for (step, expected) in expected.into_iter().enumerate() {
            assert!((schedule.lr(step) - expected).abs() < 1e-9, "step {step}");
        }
    }

    #[test]
    fn steps_drop_at_their_milestones() {
        let lr = all(ScheduleConfig::Step {
            milestones: vec![2.0, 4.5],
            gamma: 0.1,
            warmup_epochs: 0.5,
        });
        assert_near(&lr[..6], &[0.08, 0.16, 0.24, 0.32, 0.4, 0.4]);
        assert_near(&[lr[19], lr[20], lr[44], lr[45]], &[0.4, 0.04, 0.04, 0.004]);
    }

    #[test]
    fn extremes_stay_finite() {
        for config in [
            ScheduleConfig::Cosine {
                warmup_epochs: 9.0,
                final_lr: 0.0,
            },
            ScheduleConfig::OneCycle {
                warmup: 0.0,
                start_divisor: 1.0,
                end_divisor: 1.0,
            },
            ScheduleConfig::OneCycle {
                warmup: 1.0,
                start_divisor: 25.0,
                end_divisor: 1e4,
            },
        ] {
            for (steps, epochs) in [(1, 1), (1, 2), (10, 6)] {
                let schedule = config.over(1.0, steps, epochs);
                for step in 0..steps * epochs + 5 {
                    let lr = schedule.lr(step);
                    assert!((0.0..=1.0).contains(&lr), "{config:?} {step}: {lr}");
                }
            }
        }
    }

    #[test]
    fn a_record_continues_where_it_was_taken() {
        let config = ScheduleConfig::Cosine {
            warmup_epochs: 1.0,
            final_lr: 0.0,
        };
        let mut whole = config.over(0.1, 10, 2);
        for _ in 0..7 {
            whole.step();
        }
        let mut resumed = config.over(0.1, 10, 2);
        resumed.load_record(whole.to_record());
        assert_eq!(whole, resumed);
        assert_eq!(whole.step(), resumed.step());
    }
}
