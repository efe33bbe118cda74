use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
};

use burn::store::{BurnpackStore, ModuleSnapshot, ModuleStore, SafetensorsStore, bridge};

use super::{Format, Layout, WeightsError, layout::Export};
use crate::model::{OctNet, OctNetConfig};

/// The smallest number that half precision rounds to infinity.
const BEYOND_HALF: f32 = 65_520.0;

impl OctNet {
    /// Writes the weights, in single or (`half`) half precision.
    ///
    /// A file that ends in `.bpk` becomes a burnpack, one that ends in `.safetensors` has the
    /// names and shapes of PyTorch and loads there with `strict=True`: in the
    /// [octave layout](Layout::Octave), or in torchvision's and timm's if the network is vanilla. One of
    /// more than two frequencies, for which PyTorch has no names, has [Burn's](Layout::Burn).
    /// A file that exists is replaced once the new one is complete.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Ending`] for any other ending, [`WeightsError::Half`], [`WeightsError::Io`].
    pub fn save_weights(
        &self,
        config: &OctNetConfig,
        path: impl AsRef<Path>,
        half: bool,
    ) -> Result<(), WeightsError> {
        let path = path.as_ref();
        let format = Format::of_ending(path)?;
        let io = |error| WeightsError::io("write", path)(error);
        // The stores report failures of the system as text, and one of them writes a private file.
        let permissions = permissions_beside(path).map_err(io)?;
        if half {
            self.check_half(path)?;
        }
        let written = match format {
            Format::Burnpack => BurnpackStore::from_file(path)
                .overwrite(true)
                .with_to_adapter(Export {
                    layout: Layout::Burn,
                    half,
                })
                .collect_from(self)
                .map_err(|error| error.to_string()),
            _ => SafetensorsStore::from_file(path)
                .overwrite(true)
                .skip_enum_variants(true)
                .with_to_adapter(Export {
                    layout: match config.alpha {
                        alpha if alpha.is_vanilla() => Layout::Vanilla,
                        // PyTorch has no names for more than two frequencies.
                        alpha if alpha.has_shares() => Layout::Burn,
                        _ => Layout::Octave,
                    },
                    half,
                })
                .collect_from(self)
                .map_err(|error| error.to_string()),
        };
        written.map_err(|message| io(std::io::Error::other(message)))?;
        fs::set_permissions(path, permissions).map_err(io)
    }

    /// Refuses weights that half precision would make infinite.
    fn check_half(&self, path: &Path) -> Result<(), WeightsError> {
        let too_large = self
            .collect(None, None, true)
            .into_iter()
            .filter_map(|tensor| {
                let data = bridge::to_data(&tensor).ok()?;
                let values = data.iter::<f32>();
                let count = values
                    .filter(|value| value.is_finite() && value.abs() >= BEYOND_HALF)
                    .count();
                (count > 0).then_some((tensor.name, count))
            });
        let too_large: Vec<_> = too_large.collect();
        match too_large.is_empty() {
            true => Ok(()),
            false => Err(WeightsError::Half {
                path: path.into(),
                tensors: too_large,
            }),
        }
    }
}

/// The permissions of a new file in the folder of `path`, by making one.
fn permissions_beside(path: &Path) -> std::io::Result<fs::Permissions> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let probe = path.with_file_name(name);
    let permissions = File::create(&probe)?.metadata()?.permissions();
    fs::remove_file(&probe)?;
    Ok(permissions)
}

impl Format {
    /// The format to write under this name.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Ending`] if the name's ending is neither `.bpk` nor `.safetensors`.
    pub fn of_ending(path: &Path) -> Result<Self, WeightsError> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("bpk") => Ok(Self::Burnpack),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(WeightsError::Ending { path: path.into() }),
        }
    }
}
