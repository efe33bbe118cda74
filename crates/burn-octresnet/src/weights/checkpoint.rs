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
    tensor::{BoolStore, Bytes, DType, Device, Shape},
};
use safetensors::{Dtype, SafeTensors};

use super::{
    Format, LARGEST_EXPANSION, Layout, WeightsError, archive,
    error::{MESSAGE, NAME, list, shown, shown_path},
    layout::transpose,
    nest::{Fit, Nest, preferred},
};
use crate::model::{OctNet, OctNetConfig};

/// The opened checkpoint of a network, of which nothing but the names and shapes of its tensors has
/// been read.
///
/// Checkpoints are untrusted: whatever the file holds, every function returns a network or an
/// error. No code from a file is ever run, and memory stays in proportion to the file's size.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    format: Format,
    /// One at least.
    nests: Vec<Nest>,
    /// Tensors in none of them.
    beside: Vec<String>,
    allow_nan: bool,
}

impl Checkpoint {
    /// Opens a PyTorch (`.pth`, `.pt`), safetensors or burnpack file, whatever its name, or the best
    /// or else the last weights in the folder of a run.
    ///
    /// Programs save weights under keys, beside other things, and wrap networks in modules: whatever
    /// stands before the names is removed. Where a file has several networks, that is taken which
    /// fits what is asked for; of several that do, one that is no average. [`Self::with_key`] chooses.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Io`], [`WeightsError::Format`] for any other file, [`WeightsError::Foreign`] for
    /// the weights of networks that are known to be others, and [`WeightsError::Damaged`].
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
        let nests = Nest::all(&tensors);
        if nests.iter().all(Nest::is_foreign) {
            return Err(WeightsError::Foreign { path: path.into() });
        }
        let outside = |name: &&String| !nests.iter().any(|nest| nest.is_around(name));
        Ok(Self {
            beside: tensors.keys().filter(outside).cloned().collect(),
            path: path.into(),
            format,
            nests,
            allow_nan: false,
        })
    }

    /// Takes the weights under this key, such as `model_ema`, or the first part of a longer one.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Key`] with the keys that there are.
    pub fn with_key(mut self, key: &str) -> Result<Self, WeightsError> {
        let key = key.trim_end_matches('.');
        let names = self.nest_names();
        let exact = self.nests.iter().any(|nest| nest.key == key);
        self.nests.retain(|nest| match nest.key.strip_prefix(key) {
            Some("") => true,
            Some(rest) => !exact && rest.starts_with('.'),
            None => false,
        });
        match self.nests.is_empty() {
            false => Ok(self),
            true => Err(WeightsError::Key {
                path: self.path,
                key: shown(key, NAME),
                nests: names,
            }),
        }
    }

    /// Loads weights that are NaN or infinite, too.
    pub fn with_nan(self, allow_nan: bool) -> Self {
        Self { allow_nan, ..self }
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
        let raw = self.nests.iter().find(|nest| !nest.is_average());
        raw.unwrap_or(&self.nests[0]).layout
    }

    pub(super) fn nests(&self) -> &[Nest] {
        &self.nests
    }

    /// The keys of all nests, in words.
    pub(super) fn nest_names(&self) -> String {
        list(self.nests.iter().map(Nest::name), 10)
    }

    /// The one of those that fit that is to be taken.
    pub(super) fn choose<'a, T>(
        &'a self,
        fitting: Vec<T>,
        nest: impl Fn(&T) -> &'a Nest,
    ) -> Result<T, WeightsError> {
        let mut preferred = preferred(fitting, &nest);
        match (preferred.pop(), preferred.is_empty()) {
            (Some(one), true) => Ok(one),
            (last, _) => {
                preferred.extend(last);
                Err(WeightsError::Ambiguous {
                    path: self.path.clone(),
                    nests: list(preferred.iter().map(|fit| nest(fit).name()), 10),
                })
            }
        }
    }

    /// That all is there but the classifier of this network.
    pub(super) fn lacks_classifier(&self, config: &OctNetConfig) -> WeightsError {
        let OctNetConfig {
            arch, alpha, width, ..
        } = config;
        WeightsError::Classifier {
            path: self.path.clone(),
            network: format!("{arch} (alpha {alpha}, width {width})"),
        }
    }

    /// Builds a network with the weights of the checkpoint, in single precision.
    ///
    /// Tensors that the network has no place for are left out, and a warning names them, unless they
    /// are of layers within it: then the checkpoint is of another network.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Mismatch`] with everything that is missing, unexpected or of the wrong
    /// shape; [`WeightsError::NotFinite`]; [`WeightsError::Ambiguous`] if several networks in the file
    /// fit; [`WeightsError::Damaged`] if a tensor cannot be read.
    pub fn load(&self, config: &OctNetConfig, device: &Device) -> Result<OctNet, WeightsError> {
        let loaded = self.read_network(|_| config.clone(), false, device)?;
        Ok(loaded.warn().model)
    }

    /// Builds a network with the weights of the checkpoint, which may be of the same network at
    /// another α, and is then [converted](OctNet::with_alpha), or for another number of classes,
    /// and then has a new, random classifier.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::load`], and [`WeightsError::Classifier`] for weights without one.
    pub fn load_as(&self, target: &OctNetConfig, device: &Device) -> Result<OctNet, WeightsError> {
        let loaded = self.read_network(|nest| nest.as_it_is(target), false, device)?;
        loaded.warn().into(target, device).map(|(model, _)| model)
    }

    /// As [`Checkpoint::load_as`], for training: also from weights without a classifier, which then is
    /// new and random. Returns with the network what is worth knowing of it, a line each.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::load`].
    pub fn start(
        &self,
        target: &OctNetConfig,
        device: &Device,
    ) -> Result<(OctNet, Vec<String>), WeightsError> {
        let loaded = self.read_network(|nest| nest.as_it_is(target), true, device)?;
        loaded.into(target, device)
    }

    /// Reads the network that fits best, of the configuration that `config` gives a nest.
    fn read_network(
        &self,
        config: impl Fn(&Nest) -> OctNetConfig,
        without_classifier: bool,
        device: &Device,
    ) -> Result<Loaded, WeightsError> {
        let mut tried = Vec::new();
        for nest in &self.nests {
            let config = config(nest);
            let fit = nest.fit(&config)?;
            tried.push((nest, config, fit));
        }
        let fits =
            |fit: &Fit| fit.mismatches.is_empty() || without_classifier && fit.lacks_classifier();
        let (fitting, mut others): (Vec<_>, Vec<_>) =
            tried.into_iter().partition(|(_, _, fit)| fits(fit));
        if fitting.is_empty() {
            others.sort_by_key(|(_, _, fit)| fit.mismatches.count());
            let (_, config, fit) = others.swap_remove(0);
            return Err(match fit.lacks_classifier() {
                true => self.lacks_classifier(&config),
                false => WeightsError::Mismatch {
                    path: self.path.clone(),
                    network: describe(&config),
                    mismatches: Box::new(fit.mismatches),
                    nests: match self.nests.len() {
                        1 => String::new(),
                        _ => format!("; the file has networks under {}", self.nest_names()),
                    },
                },
            });
        }
        let (nest, config, fit) = self.choose(fitting, |(nest, _, _)| nest)?;
        let has_classifier = fit.mismatches.is_empty();
        let fit = fit.without_head();
        let mut notes = Vec::new();
        if self.nests.len() > 1 {
            let (taken, all) = (nest.name(), self.nest_names());
            notes.push(format!(
                "took the weights under {taken}, of those under {all}: --key takes others"
            ));
        }
        let ignored: Vec<_> = fit.ignored.iter().chain(&self.beside).cloned().collect();
        if !ignored.is_empty() {
            notes.push(format!(
                "{} tensors of `{}` are no part of the network and left out: {}",
                ignored.len(),
                shown_path(&self.path),
                list(ignored.iter().map(|name| shown(name, NAME)), 5)
            ));
        }
        let model = self.fill(&config, nest, fit, device)?;
        Ok(Loaded {
            model,
            config,
            has_classifier,
            notes,
        })
    }

    fn fill(
        &self,
        config: &OctNetConfig,
        nest: &Nest,
        fit: Fit<'_>,
        device: &Device,
    ) -> Result<OctNet, WeightsError> {
        let mut model = config.try_init(device)?;
        // All data is drawn before the network is touched, since Burn ends the process if a
        // panic comes in the middle of that.
        let mut not_finite = Vec::new();
        let tensors = contained(&self.path, || {
            let tensors = fit.fitting.into_iter().map(|(path, tensor)| {
                let (tensor, count) = read_tensor(nest.layout, path, tensor.clone())?;
                if count > 0 {
                    not_finite.push((nest.layout.name(&tensor.name), count));
                }
                Ok(tensor)
            });
            tensors.collect::<Result<Vec<_>, String>>()
        })?;
        if !not_finite.is_empty() && !self.allow_nan {
            return Err(WeightsError::NotFinite {
                path: self.path.clone(),
                tensors: not_finite,
            });
        }
        let missing = fit.mismatches.missing.len();
        let applied = model.apply(tensors, None, None, true);
        if applied.errors.is_empty() && applied.missing.len() == missing {
            return Ok(model);
        }
        let errors: Vec<_> = applied.errors.iter().map(ToString::to_string).collect();
        Err(WeightsError::Damaged {
            path: self.path.clone(),
            message: shown(&errors.join(", "), MESSAGE),
        })
    }
}

/// A network with the weights of a nest.
struct Loaded {
    model: OctNet,
    config: OctNetConfig,
    has_classifier: bool,
    notes: Vec<String>,
}

impl Loaded {
    fn warn(self) -> Self {
        self.notes.iter().for_each(|note| log::warn!("{note}"));
        self
    }

    /// The network that it is to become, and what is worth knowing of it.
    fn into(
        self,
        target: &OctNetConfig,
        device: &Device,
    ) -> Result<(OctNet, Vec<String>), WeightsError> {
        let Self {
            mut model,
            mut config,
            has_classifier,
            mut notes,
        } = self;
        if config.num_classes != target.num_classes {
            log::info!("a new classifier for {} classes", target.num_classes);
            model = model.with_classes(target.num_classes)?;
            config.num_classes = target.num_classes;
        }
        if !has_classifier {
            notes.push(format!(
                "the classifier for {} classes is new and random: there is none in the checkpoint",
                target.num_classes
            ));
        }
        if config.alpha != target.alpha {
            log::info!("from alpha {} to {}", config.alpha, target.alpha);
            model = model.with_alpha(&config, target.alpha, device)?;
        }
        Ok((model, notes))
    }
}

/// Reads a tensor, in single precision and as the network has it, and counts what is NaN or infinite.
fn read_tensor(
    layout: Layout,
    path: String,
    tensor: PackTensor,
) -> Result<(PackTensor, usize), String> {
    let id = tensor.param_id;
    let data = bridge::into_data(tensor).map_err(|error| error.to_string())?;
    let data = data.convert_dtype(DType::F32);
    let not_finite = data
        .iter::<f32>()
        .filter(|value| !value.is_finite())
        .count();
    let data = match (layout, data.shape().len()) {
        (Layout::Octave | Layout::Vanilla, 2) => transpose(data),
        _ => data,
    };
    Ok((bridge::from_data(data, path, id), not_finite))
}

/// A network in words.
pub(super) fn describe(config: &OctNetConfig) -> String {
    let OctNetConfig {
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
        message: shown(&message, MESSAGE),
    })
}

/// What the reader of old files says of the class of a module, which they name as they name the data
/// of tensors.
const OLD_MODULE: &str = "storage persistent id has 4 fields";

/// The names and shapes in a file.
fn read(path: &Path, format: Format) -> Result<BTreeMap<String, PackTensor>, String> {
    fn tensors<S: ModuleStore>(mut store: S) -> Result<BTreeMap<String, PackTensor>, String> {
        let tensors = store.get_all_tensors();
        tensors.cloned().map_err(|error| error.to_string())
    }
    match format {
        Format::PyTorch => {
            archive::inspect(path)?;
            let read = tensors(PytorchStore::from_file(path).map_indices_contiguous(false));
            read.map_err(|message| match message.contains(OLD_MODULE) {
                true => {
                    "it holds a module and not its state_dict, as PyTorch before 1.6 pickled it: \
                    load it in PyTorch and save its state_dict()"
                        .into()
                }
                false => message,
            })
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
            // No weights, but other things that programs keep beside them.
            Dtype::I64 => DType::I64,
            Dtype::I32 => DType::I32,
            Dtype::I16 => DType::I16,
            Dtype::I8 => DType::I8,
            Dtype::U64 => DType::U64,
            Dtype::U32 => DType::U32,
            Dtype::U16 => DType::U16,
            Dtype::U8 => DType::U8,
            Dtype::BOOL => DType::Bool(BoolStore::Native),
            other => return Err(format!("'{name}' has elements of type {other:?}")),
        };
        let (shape, data) = (Shape::from(view.shape()), view.data().to_vec());
        let tensor = PackTensor::new(name.into(), dtype, shape, None, Bytes::from_bytes_vec(data));
        Ok((name.into(), tensor))
    });
    tensors.collect()
}
