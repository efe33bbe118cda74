//! Training, and using what was trained.
//!
//! ```text
//! Recipe ──► Training ──► run folder ──► TrainedModel ──► evaluate, predict
//! ```
//!
//! A [`Recipe`] is one JSON file and decides everything that a run computes. [`Training`] runs it
//! with Burn's [`SupervisedTraining`](burn::train::SupervisedTraining) and fills a [`RunDir`];
//! [`TrainedModel`] loads one.

mod checkpoint;
mod confusion;
mod device;
mod error;
mod evaluate;
mod files;
mod history;
mod journal;
mod optimizer;
mod precision;
mod predict;
mod progress;
mod recipe;
mod run_dir;
mod runner;
mod schedule;
mod session;
mod speed;
mod step;
mod trained;
mod wait;
mod weights;

pub use confusion::Confusion;
#[cfg(feature = "remote")]
pub use device::TOKEN;
pub use device::{Backend, DeviceError, DeviceName, Devices, Strategy};
pub use error::TrainError;
pub use evaluate::{ClassResult, Evaluation};
pub use history::{EpochRow, History};
pub use optimizer::OptimizerConfig;
pub use precision::Precision;
pub use predict::{Prediction, Ranked};
pub use progress::PlainProgress;
pub use recipe::{DataRecipe, ModelRecipe, OnNan, Recipe};
pub use run_dir::RunDir;
pub use runner::{Outcome, Plan, Training};
pub use schedule::{Schedule, ScheduleConfig};
pub use session::Mixed;
pub use step::{Classified, TrainBatch, TrainLoader, cross_entropy};
pub use trained::TrainedModel;
pub use wait::DataWait;

#[cfg(feature = "plot")]
pub(crate) use evaluate::host;
