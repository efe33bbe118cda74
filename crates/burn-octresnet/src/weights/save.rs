use std::{fs, path::Path};

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
        let written = match Format::of_ending(path)? {
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
        written.map_err(|message| {
            // The stores report failures of the system as text.
            let reason = match fs::metadata(path.parent().unwrap_or(Path::new(""))) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => error,
                _ => std::io::Error::other(message),
            };
            WeightsError::io("write", path)(reason)
        })
    }
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
