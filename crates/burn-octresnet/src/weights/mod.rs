//! Weights from other programs and to them.
//!
//! A [`Checkpoint`] is an opened file: PyTorch's own format, safetensors or burnpack, told by its
//! content, in the [`Layout`] of Burn, of d-li14/octconv.pytorch or of vanilla ResNets, under any key.
//! [`Checkpoint::detect`] finds out of which network it is, [`Checkpoint::load`] builds that,
//! [`OctNet::with_alpha`] turns it into the network at another α, and
//! [`OctNet::save_weights`] writes it. With the feature `onnx`, `OctNet::save_onnx` writes it as
//! ONNX. `docs/weights.md` of the repository tells more.
//!
//! ```
//! use burn::tensor::Device;
//! use burn_octresnet::{model::{Alpha, Arch, OctNetConfig}, weights::Checkpoint};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("resnet.safetensors");
//! let device = Device::default();
//! let mut config = OctNetConfig::new(Arch::OctResNet26, 10);
//! config.alpha = Alpha::Uniform(0.0);
//! config.width = 0.25;
//! config.try_init(&device)?.save_weights(&config, &path, false)?;
//!
//! let checkpoint = Checkpoint::open(&path)?;
//! let config = checkpoint.detect()?;
//! assert_eq!(config.arch, Arch::OctResNet26);
//! let vanilla = checkpoint.load(&config, &device)?;
//! let octave = vanilla.with_alpha(&config, Alpha::Uniform(0.25), &device)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod checkpoint;
mod convert;
mod detect;
mod error;
mod format;
mod layout;
mod nest;
#[cfg(feature = "onnx")]
mod onnx;
mod pickle;
mod save;
mod tables;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};

pub use checkpoint::Checkpoint;
pub use error::{Mismatches, WeightsError, WrongTensor};
pub use format::Format;
pub use layout::Layout;

use crate::model::OctNet;

/// A file may claim to unfold to this many times its own size, as compressed archives and tensors
/// that repeat their elements do, and not to more.
const LARGEST_EXPANSION: u64 = 8;

/// Path, without variants of blocks, and shape of every parameter and running statistic.
fn parameters(model: &OctNet) -> Vec<(String, Vec<usize>)> {
    #[derive(Default)]
    struct Visitor {
        path: Vec<String>,
        found: Vec<(String, Vec<usize>)>,
    }

    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // The shape is known before a parameter is initialised.
            let shape = param.lazy_shape().to_vec();
            self.found.push((self.path.join("."), shape));
        }

        fn enter_module(&mut self, name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.path.push(name.into());
            }
        }

        fn exit_module(&mut self, _name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.path.pop();
            }
        }
    }

    let mut visitor = Visitor::default();
    model.visit(&mut visitor);
    visitor.found
}
