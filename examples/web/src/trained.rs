//! A trained network, of the files of its run.

use burn::{
    store::{BurnpackStore, ModuleSnapshot, ModuleStore, bridge},
    tensor::{Bytes, DType, Device},
};
use burn_octresnet::model::{Alpha, OctNet, OctNetConfig};
use serde::Deserialize;
use wasm_bindgen::{JsError, prelude::wasm_bindgen};

use crate::{
    Network, Seen,
    look::{self, Data},
    refused,
};

/// What of a run's recipe says how to show its network a picture.
#[derive(Deserialize)]
struct Recipe {
    model: OctNetConfig,
    data: Data,
}

/// A trained network that looks at pictures.
#[wasm_bindgen]
pub struct Classifier {
    trained: OctNet,
    inference: OctNet,
    config: OctNetConfig,
    data: Data,
    classes: Vec<String>,
}

#[wasm_bindgen]
impl Classifier {
    /// Of the `config.json`, the `classes.json` and the weights (a burnpack, in single or half
    /// precision) of a run.
    ///
    /// # Errors
    ///
    /// Which of the three cannot be read, and why.
    #[wasm_bindgen(constructor)]
    pub fn new(recipe: &str, classes: &str, weights: Vec<u8>) -> Result<Self, JsError> {
        let named = |name: &'static str| move |error| refused(format!("{name}: {error}"));
        let recipe: Recipe = serde_json::from_str(recipe).map_err(named("config.json"))?;
        let classes: Vec<String> = serde_json::from_str(classes).map_err(named("classes.json"))?;
        let mut config = recipe.model;
        config.num_classes = classes.len();
        let empty = config.try_init(&Device::flex()).map_err(refused)?;
        let trained =
            filled(empty, weights).map_err(|error| refused(format!("weights: {error}")))?;
        Ok(Self {
            inference: trained.clone().fold_batch_norm(),
            trained,
            config,
            data: recipe.data,
            classes,
        })
    }

    /// Names of the classes, in the order of the logits.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    /// Share of low-frequency channels that it was trained with, that of the first stage.
    #[wasm_bindgen(getter)]
    pub fn alpha(&self) -> f64 {
        let alpha = self.config.alpha.stages()[0].alpha();
        alpha.expect("the page's network has two frequencies")
    }

    /// Height and width of what it sees, in pixels.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> usize {
        self.data.val.size
    }

    /// Looks at the content of an image file.
    ///
    /// # Errors
    ///
    /// Why the file is no image that can be read.
    pub fn look(&self, file: &[u8]) -> Result<Seen, JsError> {
        look::look(&self.trained, &self.inference, &self.data, file).map_err(refused)
    }

    /// The same network at another α, its weights converted, for images of `size`×`size` pixels:
    /// to time it. It is not trained at that α, so what it says is worth nothing.
    ///
    /// # Errors
    ///
    /// If α is not between 0 and 1.
    pub fn at(&self, alpha: f64, size: usize) -> Result<Network, JsError> {
        let config = OctNetConfig {
            alpha: Alpha::Uniform(alpha),
            ..self.config.clone()
        };
        let device = Device::flex();
        let network = match config.alpha == self.config.alpha {
            true => self.trained.clone(),
            false => (self.trained.clone())
                .with_alpha(&self.config, config.alpha, &device)
                .map_err(refused)?,
        };
        Network::new(network, &config, size)
    }
}

/// A network with weights in place of its random ones.
fn filled(mut network: OctNet, weights: Vec<u8>) -> Result<OctNet, String> {
    let mut store = BurnpackStore::from_bytes(Some(Bytes::from_bytes_vec(weights)));
    let tensors = store.get_all_tensors().map_err(|error| error.to_string())?;
    let single = tensors.iter().map(|(name, tensor)| {
        let id = tensor.param_id;
        let data = bridge::into_data(tensor.clone()).map_err(|error| error.to_string())?;
        Ok(bridge::from_data(
            data.convert_dtype(DType::F32),
            name.clone(),
            id,
        ))
    });
    let single = single.collect::<Result<Vec<_>, String>>()?;
    let applied = network.apply(single, None, None, false);
    match (applied.errors.first(), applied.missing.first()) {
        (Some(error), _) => Err(error.to_string()),
        (None, Some((name, _))) => Err(format!(
            "{} tensors are missing, such as {name}: they are of another network",
            applied.missing.len()
        )),
        (None, None) => Ok(network),
    }
}
