use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::error::first_line;

/// The backends that a device can belong to, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// NVIDIA GPUs.
    Cuda,
    /// AMD GPUs.
    Rocm,
    /// Apple GPUs.
    Metal,
    /// GPUs through Vulkan.
    Vulkan,
    /// GPUs through WebGPU.
    WebGpu,
    /// GPUs through whichever interface the system has.
    Wgpu,
    /// LibTorch.
    Tch,
    /// The processor, in plain Rust.
    Flex,
    /// The processor, through ndarray.
    NdArray,
    /// The processor, through CubeCL.
    Cpu,
}

impl Backend {
    /// Every backend, best first.
    pub const ALL: [Self; 10] = [
        Self::Cuda,
        Self::Rocm,
        Self::Metal,
        Self::Vulkan,
        Self::WebGpu,
        Self::Wgpu,
        Self::Tch,
        Self::Flex,
        Self::NdArray,
        Self::Cpu,
    ];

    /// Its name on the command line, which is also that of the feature to build it with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::WebGpu => "webgpu",
            Self::Wgpu => "wgpu",
            Self::Tch => "tch",
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Cpu => "cpu",
        }
    }

    /// Whether this program was built with it.
    pub fn is_compiled_in(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::WebGpu => cfg!(feature = "webgpu"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Tch => cfg!(feature = "tch"),
            Self::Flex => cfg!(feature = "flex"),
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Cpu => cfg!(feature = "cpu"),
        }
    }

    /// The backends that this program was built with, best first.
    pub fn compiled_in() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|b| b.is_compiled_in())
    }

    /// Whether its devices are numbered.
    fn is_numbered(self) -> bool {
        !matches!(self, Self::Flex | Self::NdArray | Self::Cpu)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// A name that no device has.
    #[error("there is no device '{0}'; use auto or one of {known}, such as cuda:1 for the second GPU", known = known())]
    Unknown(String),
    /// A number for a device that has none.
    #[error("device '{0}' has no number: use {0}")]
    NotNumbered(Backend),
    /// A backend that was left out of this build.
    #[error(
        "device '{0}' is not in this build, which has {built}: build with `cargo build --release --features {0}`", built = built()
    )]
    NotCompiledIn(Backend),
    /// No backend at all in this build.
    #[error(
        "this build has no device at all: build with `cargo build --release --features flex`, or another of {}",
        known()
    )]
    NoneCompiledIn,
    /// A device that is not there or does not work.
    #[error("device '{name}' cannot be used: {reason}; choose another with --device ({built})", built = built())]
    Unusable {
        /// The device's name.
        name: String,
        /// The backend's reason.
        reason: String,
    },
}

fn known() -> String {
    Backend::ALL.map(Backend::name).join(", ")
}

fn built() -> String {
    let names: Vec<_> = Backend::compiled_in().map(Backend::name).collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

/// A device by name: `auto`, `flex`, `cuda:1` …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The first device of the best backend that is compiled in.
    #[default]
    Auto,
    /// A device of a certain backend.
    On {
        /// The backend.
        backend: Backend,
        /// Which of the backend's devices; none is its default.
        index: Option<usize>,
    },
}

impl DeviceName {
    /// The device that this name stands for: `auto` becomes that of the best backend.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if this program was built without the backend.
    pub fn resolved(self) -> Result<Self, DeviceError> {
        match self {
            Self::Auto => match Backend::compiled_in().next() {
                Some(backend) => Ok(Self::On {
                    backend,
                    index: None,
                }),
                None => Err(DeviceError::NoneCompiledIn),
            },
            Self::On { backend, .. } if !backend.is_compiled_in() => {
                Err(DeviceError::NotCompiledIn(backend))
            }
            name => Ok(name),
        }
    }

    /// Opens the device, and computes something on it to see that it works.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if this program was built without the backend, or the machine has no
    /// such device.
    pub fn open(self) -> Result<Device, DeviceError> {
        let (name, backend, index) = match self.resolved()? {
            name @ Self::On { backend, index } => (name, backend, index),
            Self::Auto => return Err(DeviceError::NoneCompiledIn),
        };
        let unusable = |reason: &str| DeviceError::Unusable {
            name: name.to_string(),
            reason: first_line(reason),
        };
        // A missing driver or GPU shows only at the first computation, and as a panic.
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let device = create(backend, index)?;
            let sum = Tensor::<1>::ones([2], &device).sum();
            Some((device, sum.try_into_scalar::<f32>()))
        }));
        match tried {
            Ok(Some((device, Ok(_)))) => Ok(device),
            Ok(Some((_, Err(error)))) => Err(unusable(&error.to_string())),
            Ok(None) => Err(DeviceError::NotCompiledIn(backend)),
            Err(panic) => Err(unusable(panic_message(&*panic))),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::On {
                backend,
                index: None,
            } => write!(f, "{backend}"),
            Self::On {
                backend,
                index: Some(index),
            } => write!(f, "{backend}:{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let unknown = || DeviceError::Unknown(text.into());
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let backend = (Backend::ALL.into_iter())
            .find(|backend| backend.name() == name)
            .ok_or_else(unknown)?;
        if index.is_some() && !backend.is_numbered() {
            return Err(DeviceError::NotNumbered(backend));
        }
        Ok(Self::On { backend, index })
    }
}

impl TryFrom<String> for DeviceName {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

/// The device, if this program was built with its backend.
#[allow(unused_variables, deprecated)] // Burn discourages ndarray and tch, users may still want them.
fn create(backend: Backend, index: Option<usize>) -> Option<Device> {
    #[cfg(any(
        feature = "wgpu",
        feature = "vulkan",
        feature = "metal",
        feature = "webgpu"
    ))]
    let kind = match index {
        Some(index) => burn::tensor::DeviceKind::DiscreteGpu(index),
        None => burn::tensor::DeviceKind::DefaultDevice,
    };
    match backend {
        #[cfg(feature = "cuda")]
        Backend::Cuda => Some(Device::cuda(index.unwrap_or(0))),
        #[cfg(feature = "rocm")]
        Backend::Rocm => Some(Device::rocm(index.unwrap_or(0))),
        #[cfg(feature = "metal")]
        Backend::Metal => Some(Device::metal(kind)),
        #[cfg(feature = "vulkan")]
        Backend::Vulkan => Some(Device::vulkan(kind)),
        #[cfg(feature = "webgpu")]
        Backend::WebGpu => Some(Device::webgpu(kind)),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => Some(Device::wgpu(kind)),
        #[cfg(feature = "tch")]
        Backend::Tch => Some(match index {
            Some(index) => Device::libtorch_cuda(index),
            None => Device::libtorch(),
        }),
        #[cfg(feature = "flex")]
        Backend::Flex => Some(Device::flex()),
        #[cfg(feature = "ndarray")]
        Backend::NdArray => Some(Device::ndarray()),
        #[cfg(feature = "cpu")]
        Backend::Cpu => Some(Device::cpu()),
        #[allow(unreachable_patterns)] // Nothing is left where every backend is compiled in.
        _ => None,
    }
}

/// The message of a caught panic.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in ["auto", "flex", "cuda", "cuda:1", "wgpu:0", "tch"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        for name in ["gpu", "cuda:x", "", "flex "] {
            let error = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(
                error.contains("ndarray") && error.contains("cuda"),
                "{error}"
            );
        }
        assert_eq!(
            "flex:1".parse::<DeviceName>().unwrap_err().to_string(),
            "device 'flex' has no number: use flex"
        );
    }

    #[test]
    fn a_backend_that_is_not_built_in_names_its_feature() {
        let Some(missing) = (Backend::ALL.into_iter()).find(|b| !b.is_compiled_in()) else {
            return;
        };
        let name = DeviceName::On {
            backend: missing,
            index: None,
        };
        let error = name.open().unwrap_err().to_string();
        assert!(error.contains(&format!("--features {missing}")), "{error}");
    }
}
