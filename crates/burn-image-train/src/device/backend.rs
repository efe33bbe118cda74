use std::fmt;

use burn::tensor::Device;

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
    pub fn compiled_in() -> impl Iterator<Item = Self> + Clone {
        Self::ALL.into_iter().filter(|b| b.is_compiled_in())
    }

    /// Whether its devices are numbered.
    pub(super) fn is_numbered(self) -> bool {
        !matches!(self, Self::Flex | Self::NdArray | Self::Cpu)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The device, if this program was built with its backend.
#[allow(unused_variables, deprecated)] // Burn discourages ndarray and tch, users may still want them.
pub(super) fn create(backend: Backend, index: Option<usize>) -> Option<Device> {
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
