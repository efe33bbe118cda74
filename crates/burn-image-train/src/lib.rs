//! Trains any [Burn](https://burn.dev) network that classifies images, from folders of images, and
//! uses what was trained.
//!
//! ```text
//! Recipe ──► Training ──► run folder ──► TrainedModel ──► evaluate, predict
//! ```
//!
//! A [`Recipe`] is one JSON file and decides everything that a run computes: images and their
//! augmentation, network, optimizer, schedule, Mixup and CutMix, averaged weights, precision,
//! devices. [`Training`] runs it with Burn's
//! [`SupervisedTraining`](burn::train::SupervisedTraining) and fills a [`RunDir`]. A run that was
//! stopped, killed or cut off goes on as if nothing had been, on the CPU to the last bit.
//! [`TrainedModel`] loads what came out; `Report` (feature `plot`) makes a page of it, and
//! `Training::with_tensorboard` (feature `tensorboard`) writes logs for TensorBoard as it goes.
//!
//! A network comes in by a [`Classifier`]: its configuration, how it is built, what its classifier
//! sees and what that makes of it.
//!
//! ```
//! use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
//! use burn_image_train::{Classifier, NetworkError, Recipe};
//! use serde::{Deserialize, Serialize};
//!
//! /// A classifier over the mean colour.
//! #[derive(Module, Debug)]
//! struct Colours {
//!     fc: Linear,
//! }
//!
//! #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct ColoursConfig {}
//!
//! impl Classifier for ColoursConfig {
//!     type Network = Colours;
//!
//!     fn init(&self, classes: usize, device: &Device) -> Result<Colours, NetworkError> {
//!         Ok(Colours { fc: LinearConfig::new(3, classes).init(device) })
//!     }
//!
//!     fn features(_: &Colours, images: Tensor<4>) -> Tensor<2> {
//!         images.mean_dim(3).mean_dim(2).flatten(1, 3)
//!     }
//!
//!     fn classify(network: &Colours, features: Tensor<2>) -> Tensor<2> {
//!         network.fc.forward(features)
//!     }
//! }
//!
//! let mut recipe = Recipe::<ColoursConfig>::default();
//! recipe.freeze = vec!["conv1".into()];
//! let error = recipe.validate().unwrap_err().to_string();
//! assert!(error.contains("`freeze` is \"conv1\""), "{error}");
//! ```
//!
//! The example `own_network` trains a small network on the repository's pictures, stops, goes on and
//! writes a report.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Doc tests and tests name the crate as its users do.
#[cfg(test)]
extern crate self as burn_image_train;

mod attack;
mod batch;
mod checkpoint;
mod classifier;
mod confusion;
mod device;
mod error;
mod evaluate;
mod exact;
mod files;
mod fingerprint;
mod history;
mod journal;
mod listener;
mod optimizer;
mod paths;
#[cfg(feature = "plot")]
pub mod plot;
mod precision;
mod predict;
mod progress;
mod recipe;
#[cfg(feature = "plot")]
mod report;
mod run_dir;
mod schedule;
mod session;
mod speed;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod tensors;
#[cfg(test)]
mod testing;
pub mod text;
mod trained;
mod training;
mod wait;
mod weights;

pub use attack::Attack;
pub use batch::cross_entropy;
pub use classifier::{Baseline, Classifier, Cost, Start};
pub use confusion::Confusion;
#[cfg(feature = "remote")]
pub use device::TOKEN;
pub use device::{Backend, DeviceError, DeviceName, Devices, Strategy};
pub use error::{NetworkError, TrainError};
pub use evaluate::{ClassResult, Evaluation};
pub use history::{EpochRow, History};
pub use optimizer::OptimizerConfig;
pub use precision::Precision;
pub use predict::{Prediction, Ranked};
pub use progress::PlainProgress;
pub use recipe::{DataRecipe, OnNan, Recipe};
#[cfg(feature = "plot")]
pub use report::{Report, ReportError};
pub use run_dir::RunDir;
pub use schedule::{Schedule, ScheduleConfig};
pub use trained::TrainedModel;
pub use training::{Outcome, Plan, Training};
pub use wait::DataWait;
