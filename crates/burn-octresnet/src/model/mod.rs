//! The backbones.

mod arch;
mod block;
mod config;
mod resnet;

pub use arch::{Arch, UnknownArch};
pub use block::{Bottleneck, BottleneckConfig, Projection};
pub use config::{Alpha, LayerCost, ModelError, OctResNetConfig, Stem};
pub use resnet::OctResNet;
