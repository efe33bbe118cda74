use std::{
    ffi::OsString,
    fs::{self, File},
    path::Path,
};

use burn::store::{BurnpackStore, ModuleStore, SafetensorsStore};

use super::{Format, Layout, WeightsError, layout::Export};
use crate::model::{OctResNet, OctResNetConfig};

impl OctResNet {
    /// Writes the weights, in single or (`half`) half precision.
    ///
    /// A file that ends in `.bpk` becomes a burnpack, one that ends in `.safetensors` has the
    /// names and shapes of PyTorch and loads there with `strict=True`: in the
    /// [octave layout](Layout::Octave), or in torchvision's and timm's if the network is vanilla.
    /// A file that exists is replaced once the new one is complete.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Ending`] for any other ending, [`WeightsError::Io`].
    pub fn save_weights(
        &self,
        config: &OctResNetConfig,
        path: impl AsRef<Path>,
        half: bool,
    ) -> Result<(), WeightsError> {
        let path = path.as_ref();
        let format = Format::of_ending(path)?;
        let io = |error| WeightsError::io("write", path)(error);
        // The stores report failures of the system as text, and one of them writes a private file.
        let permissions = permissions_beside(path).map_err(io)?;
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
                    layout: match config.alpha.is_vanilla() {
                        true => Layout::Vanilla,
                        false => Layout::Octave,
                    },
                    half,
                })
                .collect_from(self)
                .map_err(|error| error.to_string()),
        };
        written.map_err(|message| io(std::io::Error::other(message)))?;
        fs::set_permissions(path, permissions).map_err(io)
    }
}

/// The permissions of a new file in the folder of `path`, by making one.
fn permissions_beside(path: &Path) -> std::io::Result<fs::Permissions> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
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
