//! The network that a run begins with.

use burn::tensor::Device;

use crate::{
    classifier::{Classifier, Start},
    error::TrainError,
    recipe::Recipe,
    weights,
};

/// The network with its first weights, which follow from the recipe's seed.
pub(super) fn random<C: Classifier>(
    recipe: &Recipe<C>,
    classes: usize,
    device: &Device,
) -> Result<C::Network, TrainError> {
    device.seed(recipe.seed);
    Ok(weights::number(recipe.model.init(classes, device)?))
}

/// The network with the weights of the checkpoint that the recipe starts from, if it names one, on a
/// device with gradients. A new classifier follows from the seed.
pub(super) fn initial<C: Classifier>(
    recipe: &Recipe<C>,
    classes: usize,
    device: &Device,
) -> Result<Option<C::Network>, TrainError> {
    let Some(path) = &recipe.init else {
        return Ok(None);
    };
    let device = &device.clone().autodiff();
    device.seed(recipe.seed);
    let start = Start {
        path,
        key: recipe.init_key.as_deref(),
        allow_nan: recipe.init_allow_nan,
    };
    let network = recipe.model.init_from(start, classes, device)?;
    Ok(Some(weights::number(network)))
}
