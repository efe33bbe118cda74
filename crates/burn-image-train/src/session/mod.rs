//! The training loop: every step can be saved, and a run goes on from any of them.
//!
//! Burn's own loops save whole epochs. This one plugs into
//! [`SupervisedTraining`](burn::train::SupervisedTraining) as a strategy of its own, so metrics,
//! display and interrupter are Burn's, and adds what a long run needs: checkpoints in mid-epoch,
//! accumulated and clipped gradients, averaged weights, and faults with a name.
//!
//! Whatever a step draws at random follows from the seed and the step's number, so nothing but
//! weights, optimizer state and sums has to be saved for a resumed run to be the same run.

mod collective;
mod contain;
mod ema;
mod epoch;
mod gradients;
mod groups;
mod half;
mod loss_scale;
mod mix;
mod state;
mod statistics;
mod strategy;
mod team;
#[cfg(test)]
mod tests;

pub(crate) use ema::Ema;
pub(crate) use groups::{freeze, optimizer, schedule};
pub(crate) use state::{RunState, Sums};
pub(crate) use strategy::{Session, Settings, StepLoop};
