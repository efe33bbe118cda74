use std::{fmt, str::FromStr};

use burn::tensor::Device;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Backend, DeviceError, DeviceName};

/// The devices of a run: one, or several that share each batch, such as `cuda:0,cuda:1`.
///
/// In a recipe, a text with commas or a list of names. The same device may be named more than once,
/// which gains nothing but tries out what several would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Devices(Vec<DeviceName>);

/// How several devices train together. One device alone knows no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The first device gathers the gradients, makes the step and hands out the weights. Works with
    /// any devices, also of different kinds and machines.
    #[default]
    Multi,
    /// Distributed data parallel: every device keeps weights and optimizer and makes every step,
    /// after an all-reduce of the gradients, which Burn 0.22 has for CUDA.
    Ddp,
}

impl Devices {
    /// The device that validates, and that trains if it is the only one.
    pub fn first(&self) -> &DeviceName {
        // No list without a name can be made.
        &self.0[0]
    }

    /// All devices.
    pub fn names(&self) -> &[DeviceName] {
        &self.0
    }

    /// Checks that the devices can train together by `strategy`.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NoCollectives`] and [`DeviceError::Twice`] for several devices that have no
    /// all-reduce between them.
    pub fn check(&self, strategy: Strategy) -> Result<(), DeviceError> {
        if strategy == Strategy::Multi || self.0.len() == 1 {
            return Ok(());
        }
        for (place, name) in self.0.iter().enumerate() {
            let DeviceName::On {
                backend: Backend::Cuda,
                index,
            } = name
            else {
                return Err(DeviceError::NoCollectives(name.clone()));
            };
            let number = |name: &DeviceName| match name {
                DeviceName::On { index, .. } => index.unwrap_or(0),
                _ => 0,
            };
            let mine = index.unwrap_or(0);
            if self.0[..place].iter().any(|other| number(other) == mine) {
                return Err(DeviceError::Twice(name.clone()));
            }
        }
        Ok(())
    }

    /// Opens every device, and computes something on it to see that it works.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if one of them is not in this build or does not work.
    pub fn open(&self) -> Result<Vec<Device>, DeviceError> {
        self.0.iter().map(DeviceName::open).collect()
    }

    /// The same with `auto` replaced by what it stands for.
    ///
    /// # Errors
    ///
    /// A [`DeviceError`] if one of them is not in this build.
    pub fn resolved(&self) -> Result<Self, DeviceError> {
        let names = self.0.iter().map(DeviceName::resolved);
        Ok(Self(names.collect::<Result<_, _>>()?))
    }
}

impl Default for Devices {
    fn default() -> Self {
        DeviceName::default().into()
    }
}

impl From<DeviceName> for Devices {
    fn from(name: DeviceName) -> Self {
        Self(vec![name])
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(DeviceName::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Devices {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let names = text.split(',').map(|name| name.trim().parse());
        Ok(Self(names.collect::<Result<_, _>>()?))
    }
}

impl From<Devices> for String {
    fn from(devices: Devices) -> Self {
        devices.to_string()
    }
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected devices, such as \"flex\", \"cuda:0,cuda:1\" or [\"cuda:0\", \"cuda:1\"]"
        )]
        enum Names {
            Text(String),
            List(Vec<String>),
        }
        let text = match Names::deserialize(deserializer)? {
            Names::Text(text) => text,
            Names::List(names) => names.join(","),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "multi" => Ok(Self::Multi),
            "ddp" => Ok(Self::Ddp),
            _ => Err("use multi or ddp".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_a_round_trip() {
        for text in ["auto", "cuda:0,cuda:1", "remote:ws://a:1,remote:ws://b:2#1"] {
            let devices: Devices = text.parse().unwrap();
            assert_eq!(devices.to_string(), text);
            let json = serde_json::to_string(&devices).unwrap();
            assert_eq!(serde_json::from_str::<Devices>(&json).unwrap(), devices);
        }
        let list: Devices = serde_json::from_str(r#"["cuda:0", "cuda:1"]"#).unwrap();
        assert_eq!(list.to_string(), "cuda:0,cuda:1");
        for bad in ["\"cuda:0,\"", "[]", "[\"gpu\"]"] {
            let error = serde_json::from_str::<Devices>(bad).unwrap_err();
            assert!(error.to_string().contains("there is no device"), "{error}");
        }
        let error = serde_json::from_str::<Devices>("3").unwrap_err();
        assert!(error.to_string().contains("cuda:0,cuda:1"), "{error}");
    }

    #[test]
    fn ddp_takes_different_cuda_devices() {
        let check = |text: &str| text.parse::<Devices>().unwrap().check(Strategy::Ddp);
        for good in ["flex", "cuda:0,cuda:1", "cuda,cuda:3,cuda:1"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["flex,flex", "cuda:0,wgpu:0", "cuda,remote:ws://a:1"] {
            let error = check(bad).unwrap_err().to_string();
            assert!(
                error.contains("--strategy multi") && error.contains("CUDA"),
                "{error}"
            );
        }
        let error = check("cuda,cuda:0").unwrap_err().to_string();
        assert!(error.contains("'cuda:0'"), "{error}");
        let devices: Devices = "flex,flex".parse().unwrap();
        assert_eq!(devices.check(Strategy::Multi), Ok(()));
    }
}
