use std::{collections::BTreeSet, fmt::Debug, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    device::plainest,
    error::NetworkError,
    paths::Place,
    weights::{check_finite, load_weights},
};

/// A kind of network that classifies images, by its configuration: the `model` of a
/// [`Recipe`](crate::Recipe).
///
/// The configuration and not the network implements it, so that networks of other crates can be
/// trained too. [`init`](Self::init), [`features`](Self::features) and [`classify`](Self::classify)
/// are enough; the rest has defaults.
///
/// Training knows the parameters by their paths in the network. Those called `running_mean` and
/// `running_var` are statistics that several devices average; parameters of one axis are biases and
/// norms, which are not decayed.
pub trait Classifier:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The network.
    type Network: Module + Sync + 'static;

    /// Builds the network for a number of classes, with random weights.
    ///
    /// # Errors
    ///
    /// An error that names the illegal value.
    fn init(&self, classes: usize, device: &Device) -> Result<Self::Network, NetworkError>;

    /// Computes what the classifier sees. In training, dropout comes between it and the classifier.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`, normalised
    /// - output: `[batch, channels]`
    fn features(network: &Self::Network, images: Tensor<4>) -> Tensor<2>;

    /// Computes the logits from what [`features`](Self::features) gives.
    ///
    /// # Shapes
    ///
    /// - features: `[batch, channels]`
    /// - output: `[batch, classes]`
    fn classify(network: &Self::Network, features: Tensor<2>) -> Tensor<2>;

    /// Computes the logits of images.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, 3, height, width]`, normalised
    /// - output: `[batch, classes]`
    fn logits(network: &Self::Network, images: Tensor<4>) -> Tensor<2> {
        Self::classify(network, Self::features(network, images))
    }

    /// The network in the form that answers fastest, as a function from images to logits.
    fn for_inference(network: Self::Network) -> impl Fn(Tensor<4>) -> Tensor<2> {
        move |images| Self::logits(&network, images)
    }

    /// Builds the network with the weights of a checkpoint, by default a burnpack file of this
    /// very network.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or does not fit, or weights that are not finite where they must be.
    fn init_from(
        &self,
        start: Start<'_>,
        classes: usize,
        device: &Device,
    ) -> Result<Self::Network, NetworkError> {
        let network = load_weights(self.init(classes, device)?, start.path)?;
        if !start.allow_nan {
            check_finite(&network, start.path)?;
        }
        Ok(network)
    }

    /// Checks the configuration without building the network.
    ///
    /// # Errors
    ///
    /// An error that names the illegal value.
    fn validate(&self) -> Result<(), NetworkError> {
        Ok(())
    }

    /// The names of the network's parts, at all depths, in ascending order: what a recipe can freeze
    /// or slow down.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    fn parts(&self) -> Result<Vec<String>, NetworkError> {
        let mut parts = Parts::default();
        self.init(1, &plainest())?.visit(&mut parts);
        Ok(parts.names.into_iter().collect())
    }

    /// What the network costs for an image of `size = [height, width]`, if that is known.
    fn cost(&self, _classes: usize, _size: [usize; 2]) -> Option<Cost> {
        None
    }

    /// The network that a report compares the cost with.
    fn baseline(&self) -> Option<Baseline<Self>> {
        None
    }

    /// Whether a parameter stays in 32 bits where training computes in 16: by default the parameters
    /// and statistics of norms, by the names that Burn gives them. The network then has to give its
    /// norms maps of 32 bits.
    fn stays_in_32_bits(path: &str) -> bool {
        let name = path.rsplit('.').next().unwrap_or(path);
        ["gamma", "beta", "running_mean", "running_var"].contains(&name)
    }

    /// The network in a few words, for the head of a report.
    fn describe(&self) -> String {
        let name = std::any::type_name::<Self::Network>();
        name.rsplit("::").next().unwrap_or(name).into()
    }
}

/// The checkpoint that a run starts from, as its recipe says.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The file, or what else a network can start from.
    pub path: &'a Path,
    /// Which weights to take, if there are several.
    pub key: Option<&'a str>,
    /// Whether they may be NaN or infinite.
    pub allow_nan: bool,
}

/// What a network costs, for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Trained parameters.
    pub params: u64,
    /// Multiply–adds.
    pub macs: u64,
    /// Numbers that training keeps for the backward pass.
    pub activations: u64,
}

/// A network to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline<C> {
    /// Its configuration.
    pub config: C,
    /// What it is called in a table, such as "vanilla".
    pub name: &'static str,
    /// What it is, such as "the same network with α = 0".
    pub about: &'static str,
}

/// The paths of all modules with parameters.
#[derive(Default)]
struct Parts {
    place: Place,
    names: BTreeSet<String>,
}

impl ModuleVisitor for Parts {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        let path = self.place.path();
        let dots = path.match_indices('.').map(|(dot, _)| dot);
        // The parameter itself is no part: a layer is frozen as a whole.
        self.names.extend(dots.map(|dot| path[..dot].to_string()));
    }
}
