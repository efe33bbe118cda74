//! Where networks are computed: one device by its name, or several that train together.

mod backend;
mod driver;
mod error;
mod list;
#[cfg(feature = "remote")]
mod remote;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use backend::Backend;
pub use error::DeviceError;
pub use list::{Devices, Strategy};
#[cfg(feature = "remote")]
pub use remote::TOKEN;

use crate::text::{first_line, panic_message};

/// A device by name: `auto`, `flex`, `cuda:1`, `remote:ws://host:3000` …
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The first device of the best backend that is compiled in, and whose driver is not known to be
    /// missing.
    #[default]
    Auto,
    /// A device of a certain backend.
    On {
        /// The backend.
        backend: Backend,
        /// Which of the backend's devices; none is its default.
        index: Option<usize>,
    },
    /// A device that `octresnet serve` lends, written `remote:ws://host:port` or, for another than
    /// the first, `remote:ws://host:port#1`.
    Remote {
        /// Address of the server, such as `ws://host:3000`.
        url: String,
        /// Which of the server's devices.
        index: usize,
    },
}

impl DeviceName {
    /// The device that this name stands for: `auto` becomes that of the best backend.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if this program was built without the backend.
    pub fn resolved(&self) -> Result<Self, DeviceError> {
        match self {
            Self::Auto => {
                let there = |backend: &Backend| driver::missing(*backend, None).is_none();
                let mut backends = Backend::compiled_in();
                // Without any, the first says what it misses.
                let backend = (backends.clone().find(there)).or_else(|| backends.next());
                let index = None;
                let on = |backend| Self::On { backend, index };
                backend.map(on).ok_or(DeviceError::NoneCompiledIn)
            }
            Self::On { backend, .. } if !backend.is_compiled_in() => {
                Err(DeviceError::NotCompiledIn(*backend))
            }
            Self::Remote { .. } if !cfg!(feature = "remote") => {
                Err(DeviceError::NoRemote(self.clone()))
            }
            name => Ok(name.clone()),
        }
    }

    /// Opens the device, and computes something on it to see that it works.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if this program was built without the backend, or the machine has no
    /// such device.
    pub fn open(&self) -> Result<Device, DeviceError> {
        let name = self.resolved()?;
        let unusable = |reason: &str| DeviceError::Unusable {
            name: name.clone(),
            reason: first_line(reason),
        };
        if let Self::On { backend, index } = name
            && let Some(reason) = driver::missing(backend, index)
        {
            return Err(unusable(&reason));
        }
        // Any other missing driver or GPU shows only at the first computation, and as a panic.
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let device = name.create()?;
            let sum = Tensor::<1>::ones([2], &device).sum();
            let sum = sum.try_into_scalar::<f32>();
            sum.map_err(|error| unusable(&error.to_string()))?;
            Ok(device)
        }));
        tried.unwrap_or_else(|panic| Err(unusable(panic_message(&*panic))))
    }

    /// The device, untried.
    fn create(&self) -> Result<Device, DeviceError> {
        match self {
            Self::Auto => self.resolved()?.create(),
            Self::On { backend, index } => {
                backend::create(*backend, *index).ok_or(DeviceError::NotCompiledIn(*backend))
            }
            #[cfg(feature = "remote")]
            Self::Remote { url, index } => {
                remote::connect(url, *index).map_err(|reason| DeviceError::Unusable {
                    name: self.clone(),
                    reason: first_line(&reason),
                })
            }
            #[cfg(not(feature = "remote"))]
            Self::Remote { .. } => Err(DeviceError::NoRemote(self.clone())),
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
            Self::Remote { url, index: 0 } => write!(f, "remote:{url}"),
            Self::Remote { url, index } => write!(f, "remote:{url}#{index}"),
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
        if let Some(address) = text.strip_prefix("remote:") {
            return on_another_machine(address).ok_or_else(unknown);
        }
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

/// A device for what needs one and computes nothing: of the backends that are compiled in, that of
/// the last, which needs no driver.
pub(crate) fn plainest() -> Device {
    let plainest = Backend::compiled_in().last();
    let device = plainest.and_then(|backend| backend::create(backend, None));
    device.unwrap_or_default()
}

/// The device at `ws://host:port` or `ws://host:port#index`. Burn would miss a port only when it
/// connects.
fn on_another_machine(address: &str) -> Option<DeviceName> {
    let (url, index) = match address.split_once('#') {
        Some((url, index)) => (url, index.parse().ok()?),
        None => (address, 0),
    };
    let (host, port) = url.strip_prefix("ws://")?.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    (!host.is_empty()).then(|| DeviceName::Remote {
        url: url.into(),
        index,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in [
            "auto",
            "flex",
            "cuda",
            "cuda:1",
            "wgpu:0",
            "tch",
            "remote:ws://gpu:3000",
            "remote:ws://10.0.0.7:3000#2",
            "remote:ws://[::1]:3000",
        ] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        for name in [
            "gpu",
            "cuda:x",
            "",
            "flex ",
            "remote:gpu:3000",
            "remote:ws://gpu",
            "remote:ws://gpu:3000#x",
        ] {
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

    #[cfg(feature = "cuda")]
    #[test]
    fn without_a_driver_one_line_says_so() {
        let name: DeviceName = "cuda:999".parse().unwrap();
        let error = name.open().unwrap_err().to_string();
        assert!(
            error.contains("NVIDIA driver") && !error.contains('\n'),
            "{error}"
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
