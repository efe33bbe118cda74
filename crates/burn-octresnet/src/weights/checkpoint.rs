use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use burn::{
    store::{
        BurnpackStore, ModuleSnapshot, ModuleStore, PytorchStore, bridge,
        burn_pack::Tensor as PackTensor,
    },
    tensor::{Bytes, DType, Device, Shape},
};
use safetensors::{Dtype, SafeTensors};

use super::{
    Format, LARGEST_EXPANSION, Layout, Mismatches, WeightsError, WrongTensor, archive,
    layout::transpose, parameters,
};
use crate::model::{OctResNet, OctResNetConfig};

/// Prefixes that wrappers of networks put before every name.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// Keys under which training scripts save the weights, beside other things.
const WRAPPERS: [&str; 3] = ["state_dict.", "model_state_dict.", "model."];

/// The opened checkpoint of a network, of which nothing but the names and shapes of its tensors has
/// been read.
///
/// Checkpoints are untrusted: whatever the file holds, every function returns a network or an
/// error. No code from a file is ever run, and memory stays in proportion to the file's size.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    layout: Layout,
    tensors: BTreeMap<String, PackTensor>,
}

impl Checkpoint {
    /// Opens a PyTorch (`.pth`, `.pt`), safetensors or burnpack file, whatever its name, or the best
    /// or else the last weights in the folder of a run.
    ///
    /// A surrounding `state_dict` and leading `module.` are removed from the names.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Io`], [`WeightsError::Format`] for any other file, and
    /// [`WeightsError::Damaged`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = &weights_in(path.as_ref());
        let format = Format::detect(path)?;
        let size = fs::metadata(path).map_err(WeightsError::io("read", path))?;
        let tensors = contained(path, || read(path, format))?;
        let claimed = tensors.values().try_fold(0u64, |sum, tensor| {
            sum.checked_add(tensor.byte_len() as u64)
        });
        let most = size.len().saturating_mul(LARGEST_EXPANSION);
        if claimed.is_none_or(|bytes| bytes > most) {
            return Err(WeightsError::Damaged {
                path: path.into(),
                message: format!(
                    "its tensors claim more than {LARGEST_EXPANSION} times the {} bytes of the file",
                    size.len()
                ),
            });
        }
        let tensors = bare_names(tensors);
        Ok(Self {
            layout: Layout::of(tensors.keys().map(String::as_str)),
            path: path.into(),
            format,
            tensors,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How its tensors are called.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The shape of a tensor by the path of the parameter, if there is such a tensor.
    pub(super) fn shape(&self, path: &str) -> Option<Vec<usize>> {
        let tensor = self.tensors.get(&self.layout.name(path))?;
        Some(self.layout.shape(&tensor.shape))
    }

    /// The number of tensors.
    pub(super) fn count(&self) -> usize {
        self.tensors.len()
    }

    /// The number of trained parameters.
    pub(super) fn count_parameters(&self) -> u64 {
        let tensors = self.tensors.iter();
        let trained = tensors.filter(|(name, _)| !name.contains(".running_"));
        trained
            .map(|(_, tensor)| tensor.shape.num_elements() as u64)
            .sum()
    }

    /// Builds a network with the weights of the checkpoint, in single precision.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Mismatch`] with everything that is missing, unexpected or of the wrong
    /// shape; [`WeightsError::Damaged`] if a tensor cannot be read.
    pub fn load(
        &self,
        config: &OctResNetConfig,
        device: &Device,
    ) -> Result<OctResNet, WeightsError> {
        let mut model = config.try_init(device)?;
        let mut mismatches = Mismatches::default();
        let mut unexpected = self.tensors.clone();
        let mut fitting = Vec::new();
        for (path, shape) in parameters(&model) {
            let name = self.layout.name(&path);
            let Some(tensor) = unexpected.remove(&name) else {
                mismatches.missing.push(name);
                continue;
            };
            let expected = self.layout.shape(&shape);
            if tensor.shape[..] == expected && tensor.dtype.is_float() {
                fitting.push((path, tensor));
            } else {
                mismatches.wrong.push(WrongTensor {
                    name,
                    expected,
                    found: tensor.shape.to_vec(),
                    dtype: format!("{:?}", tensor.dtype),
                });
            }
        }
        mismatches.unexpected = unexpected.into_keys().collect();
        if !mismatches.is_empty() {
            return Err(WeightsError::Mismatch {
                path: self.path.clone(),
                network: describe(config),
                mismatches: Box::new(mismatches),
            });
        }
        // All data is drawn before the network is touched, since Burn ends the process if a
        // panic comes in the middle of that.
        let tensors = contained(&self.path, || {
            let tensors = fitting.into_iter();
            let tensors = tensors.map(|(path, tensor)| self.read(path, tensor));
            tensors.collect::<Result<Vec<_>, String>>()
        })?;
        let applied = model.apply(tensors, None, None, true);
        if applied.errors.is_empty() && applied.missing.is_empty() {
            return Ok(model);
        }
        let errors: Vec<_> = applied.errors.iter().map(ToString::to_string).collect();
        Err(self.damaged(errors.join(", ")))
    }

    /// Builds a network with the weights of the checkpoint, which may be of the same network at
    /// another α, and is then [converted](OctResNet::with_alpha), or for another number of classes,
    /// and then has a new, random classifier.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::load`].
    pub fn load_as(
        &self,
        target: &OctResNetConfig,
        device: &Device,
    ) -> Result<OctResNet, WeightsError> {
        let mut source = OctResNetConfig {
            alpha: self.alpha(target.arch),
            num_classes: self.num_classes().unwrap_or(target.num_classes),
            ..target.clone()
        };
        let mut model = self.load(&source, device)?;
        if source.num_classes != target.num_classes {
            log::info!("a new classifier for {} classes", target.num_classes);
            model = model.with_classes(target.num_classes)?;
            source.num_classes = target.num_classes;
        }
        if source.alpha != target.alpha {
            log::info!("from alpha {} to {}", source.alpha, target.alpha);
            model = model.with_alpha(&source, target.alpha, device)?;
        }
        Ok(model)
    }

    /// Reads a tensor, in single precision and as the network has it.
    fn read(&self, path: String, tensor: PackTensor) -> Result<PackTensor, String> {
        let id = tensor.param_id;
        let data = bridge::into_data(tensor).map_err(|error| error.to_string())?;
        let data = data.convert_dtype(DType::F32);
        let data = match (self.layout, data.shape().len()) {
            (Layout::Octave | Layout::Vanilla, 2) => transpose(data),
            _ => data,
        };
        Ok(bridge::from_data(data, path, id))
    }

    fn damaged(&self, message: String) -> WeightsError {
        WeightsError::Damaged {
            path: self.path.clone(),
            message: one_line(&message),
        }
    }
}

/// A network in words.
pub(super) fn describe(config: &OctResNetConfig) -> String {
    let OctResNetConfig {
        arch,
        alpha,
        stem,
        width,
        num_classes,
        ..
    } = config;
    format!("{arch} (alpha {alpha}, stem {stem}, width {width}, {num_classes} classes)")
}

/// The file that a path stands for.
fn weights_in(path: &Path) -> PathBuf {
    let weights = ["best.bpk", "last.bpk"]
        .map(|name| path.join(name))
        .into_iter();
    let mut weights = weights.filter(|file| file.is_file());
    weights.next().unwrap_or_else(|| path.into())
}

/// Runs what reads a file. The libraries that do mean to return errors, and where they panic
/// instead, that is an error about the file, too.
fn contained<T>(path: &Path, read: impl FnOnce() -> Result<T, String>) -> Result<T, WeightsError> {
    let result = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(message.unwrap_or_default())
    });
    result.map_err(|message| WeightsError::Damaged {
        path: path.into(),
        message: one_line(&message),
    })
}

/// The names and shapes in a file.
fn read(path: &Path, format: Format) -> Result<BTreeMap<String, PackTensor>, String> {
    fn tensors<S: ModuleStore>(mut store: S) -> Result<BTreeMap<String, PackTensor>, String> {
        let tensors = store.get_all_tensors();
        tensors.cloned().map_err(|error| error.to_string())
    }
    match format {
        Format::PyTorch => {
            archive::inspect(path)?;
            tensors(PytorchStore::from_file(path).map_indices_contiguous(false))
        }
        Format::Burnpack => tensors(BurnpackStore::from_file(path).auto_extension(false)),
        Format::Safetensors => safetensors(&fs::read(path).map_err(|error| error.to_string())?),
    }
}

/// Burn's own reader goes through the header anew for every tensor, which takes long for a large
/// one, and maps the file, which ends the process if the file shrinks.
fn safetensors(bytes: &[u8]) -> Result<BTreeMap<String, PackTensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 => DType::I64,
            Dtype::I32 => DType::I32,
            other => return Err(format!("'{name}' has elements of type {other:?}")),
        };
        let (shape, data) = (Shape::from(view.shape()), view.data().to_vec());
        let tensor = PackTensor::new(name.into(), dtype, shape, None, Bytes::from_bytes_vec(data));
        Ok((name.into(), tensor))
    });
    tensors.collect()
}

/// Removes what surrounds the names, and what is no parameter.
fn bare_names(tensors: BTreeMap<String, PackTensor>) -> BTreeMap<String, PackTensor> {
    let wrapper = WRAPPERS.into_iter().find(|wrapper| {
        let inside = |name: &String| name.starts_with(wrapper);
        tensors.keys().any(inside)
    });
    let inside = tensors
        .into_iter()
        .filter_map(|(name, tensor)| match wrapper {
            None => Some((name, tensor)),
            Some(wrapper) => Some((name.strip_prefix(wrapper)?.into(), tensor)),
        });
    let mut tensors: BTreeMap<String, PackTensor> = inside
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, tensor)| (without_variants(name), tensor))
        .collect();
    while let Some(prefix) = PREFIXES.into_iter().find(|prefix| {
        let has = |name: &String| name.starts_with(prefix);
        !tensors.is_empty() && tensors.keys().all(has)
    }) {
        let bare = tensors.into_iter();
        tensors = bare
            .map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor))
            .collect();
    }
    tensors
}

/// Burn's path of a parameter without the variants of enums, which no other format has.
fn without_variants(name: String) -> String {
    if !name.contains(char::is_uppercase) {
        return name;
    }
    let modules = name.split('.');
    let modules = modules.filter(|module| !module.starts_with(char::is_uppercase));
    modules.collect::<Vec<_>>().join(".")
}

/// A message of a library as one line of bounded length.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 300;
    let words: Vec<&str> = message.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
