//! The networks in a file: programs put them under keys of their own, beside other things.

use std::collections::{BTreeMap, BTreeSet};

use burn::{store::burn_pack::Tensor as PackTensor, tensor::Device};

use super::{
    Layout, Mismatches, WeightsError, WrongTensor,
    error::{NAME, shown},
    parameters,
};
use crate::model::OctNetConfig;

/// What the name of a tensor has where that of the network begins: every network has a first stage.
const BEGINNINGS: [&str; 2] = ["layer1.0.", "features.1.0.conv."];

/// Words in the key of weights that are averages of those of many steps.
const AVERAGES: [&str; 5] = ["ema", "swa", "avg", "average", "averaged"];

/// Modules that programs put around the modules of a network.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// What a layer's own tensors are called, in any layout.
const OF_LAYERS: [&str; 10] = [
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "gamma",
    "beta",
    "h2h",
    "h2l",
    "l2h",
    "l2l",
];

/// The classifier, in any layout.
const CLASSIFIER: [&str; 2] = ["fc.weight", "fc.bias"];

/// The tensors under one key.
#[derive(Debug, Clone)]
pub(super) struct Nest {
    /// What stands before the names, without the last dot.
    pub(super) key: String,
    pub(super) layout: Layout,
    pub(super) tensors: BTreeMap<String, PackTensor>,
}

impl Nest {
    /// Every nest of a file, without what stands around modules within a network; if there is none, all
    /// that the names have in common is the key of one.
    pub(super) fn all(tensors: &BTreeMap<String, PackTensor>) -> Vec<Self> {
        let named = tensors.iter();
        let named = named.map(|(name, tensor)| (without_wrappers(name), tensor.clone()));
        let tensors: &BTreeMap<String, PackTensor> = &named.collect();
        let mut keys: BTreeSet<&str> = tensors.keys().filter_map(|name| key(name)).collect();
        if keys.is_empty() {
            keys.insert(common_key(tensors.keys()));
        }
        let nests = keys.iter().map(|key| {
            let deeper = keys
                .iter()
                .filter(|other| *other != key && other.starts_with(key));
            Self::under(key, &deeper.copied().collect::<Vec<_>>(), tensors)
        });
        nests.collect()
    }

    /// The tensors under a key, but for those under a deeper one.
    fn under(key: &str, deeper: &[&str], tensors: &BTreeMap<String, PackTensor>) -> Self {
        let inside = tensors.iter().filter_map(|(full, tensor)| {
            let name = full.strip_prefix(key)?;
            if deeper.iter().any(|other| full.starts_with(other)) {
                return None;
            }
            let counter = name.ends_with("num_batches_tracked");
            (!counter).then(|| (Layout::family_name(&without_variants(name)), tensor.clone()))
        });
        let tensors: BTreeMap<_, _> = inside.collect();
        Self {
            key: key.trim_end_matches('.').into(),
            layout: Layout::of(tensors.keys().map(String::as_str)),
            tensors,
        }
    }

    /// Whether these are the blocks of <https://github.com/lxtGH/OctaveConv_pytorch>, which are wired in
    /// another way than those of the paper's authors.
    pub(super) fn is_foreign(&self) -> bool {
        let mut names = self.tensors.keys();
        names.any(|name| name.starts_with("layer") && name.contains(".ocb1."))
    }

    /// Whether a tensor of the file is in this nest.
    pub(super) fn is_around(&self, name: &str) -> bool {
        let inside = name.strip_prefix(&self.key);
        inside.is_some_and(|rest| self.key.is_empty() || rest.starts_with('.'))
    }

    /// The key in words.
    pub(super) fn name(&self) -> String {
        match self.key.as_str() {
            "" => "the top".into(),
            key => format!("`{}`", shown(key, NAME)),
        }
    }

    /// Whether the key says that the weights are averages.
    pub(super) fn is_average(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        let mut words = key.split(|character: char| !character.is_ascii_alphanumeric());
        words.any(|word| AVERAGES.contains(&word))
    }

    /// The shape of a tensor by the path of the parameter, if there is such a tensor.
    pub(super) fn shape(&self, path: &str) -> Option<Vec<usize>> {
        let tensor = self.tensors.get(&self.layout.name(path))?;
        Some(self.layout.shape(&tensor.shape))
    }

    /// The number of numbers.
    pub(super) fn count_numbers(&self) -> u64 {
        let numbers = self.tensors.values();
        numbers
            .map(|tensor| tensor.shape.num_elements() as u64)
            .fold(0, u64::saturating_add)
    }

    /// Compares with the parameters of a network.
    pub(super) fn fit(&self, config: &OctNetConfig) -> Result<Fit<'_>, WeightsError> {
        let model = config.try_init(&Device::default())?;
        let mut rest: BTreeMap<&str, &PackTensor> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let mut mismatches = Mismatches::default();
        let mut fitting = Vec::new();
        let mut parts = BTreeSet::new();
        for (path, shape) in parameters(&model) {
            let name = self.layout.name(&path);
            parts.insert(part(&name).to_string());
            let Some(tensor) = rest.remove(name.as_str()) else {
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
        let mut ignored = Vec::new();
        for (name, tensor) in rest {
            let of_network = parts.contains(part(name)) || name.starts_with("layer");
            let of_layer = OF_LAYERS.contains(&name.rsplit('.').next().unwrap_or(name));
            // Further layers within the network compute something: without them it is another.
            match of_network && (of_layer || tensor.shape.num_dims() > 1) {
                true => mismatches.unexpected.push(name.into()),
                false => ignored.push(name.into()),
            }
        }
        Ok(Fit {
            fitting,
            mismatches,
            ignored,
        })
    }
}

/// What a nest and a network have in common, and what not.
pub(super) struct Fit<'a> {
    /// The path of the parameter and the tensor of each that fits.
    pub(super) fitting: Vec<(String, &'a PackTensor)>,
    pub(super) mismatches: Mismatches,
    /// Tensors that the network has no place for and does without.
    pub(super) ignored: Vec<String>,
}

impl Fit<'_> {
    /// Whether all is there but a classifier, in whose place another head may be.
    pub(super) fn lacks_classifier(&self) -> bool {
        let Mismatches {
            missing,
            unexpected,
            wrong,
        } = &self.mismatches;
        *missing == CLASSIFIER
            && unexpected.iter().all(|name| part(name) == "fc")
            && wrong.is_empty()
    }

    /// Without the head that is in the place of a classifier.
    pub(super) fn without_head(mut self) -> Self {
        self.ignored.append(&mut self.mismatches.unexpected);
        self
    }
}

/// The nests among those that fit of which one is to be taken: averages only if there is nothing else.
pub(super) fn preferred<'a, T>(fitting: Vec<T>, nest: impl Fn(&T) -> &'a Nest) -> Vec<T> {
    let raw = fitting.iter().any(|fit| !nest(fit).is_average());
    let kept = fitting
        .into_iter()
        .filter(|fit| !raw || !nest(fit).is_average());
    kept.collect()
}

/// What stands before the name that the network has for a tensor.
fn key(name: &str) -> Option<&str> {
    let begins = |at: usize| at == 0 || name.as_bytes()[at - 1] == b'.';
    let places = BEGINNINGS
        .iter()
        .flat_map(|begin| name.match_indices(begin));
    let first = places.map(|(at, _)| at).filter(|&at| begins(at)).min();
    first.map(|at| &name[..at])
}

/// The longest beginning of all names that ends with a dot.
fn common_key<'a>(mut names: impl Iterator<Item = &'a String> + Clone) -> &'a str {
    let Some(first) = names.next() else {
        return "";
    };
    let ends = first.rmatch_indices('.').map(|(dot, _)| &first[..=dot]);
    let mut common = ends.filter(|start| names.clone().all(|name| name.starts_with(start)));
    common.next().unwrap_or("")
}

/// The first module of a name.
fn part(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// A name without the wrappers behind the name of a stage.
fn without_wrappers(name: &str) -> String {
    let mut inside = false;
    let modules = name.split('.').filter(|module| {
        let wrapper = inside && WRAPPERS.contains(module);
        inside |= module.starts_with("layer");
        !wrapper
    });
    modules.collect::<Vec<_>>().join(".")
}

/// Burn's path of a parameter without the variants of enums, which no other format has.
fn without_variants(name: &str) -> String {
    if !name.contains(char::is_uppercase) {
        return name.into();
    }
    let modules = name.split('.');
    let modules = modules.filter(|module| !module.starts_with(char::is_uppercase));
    modules.collect::<Vec<_>>().join(".")
}
