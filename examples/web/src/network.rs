//! A network to run and to time.

use burn::tensor::{Device, Tensor, TensorData};
use burn_octconv::Cost;
use burn_octresnet::model::{OctNet, OctNetConfig};
use wasm_bindgen::{JsError, prelude::wasm_bindgen};

use crate::refused;

/// A network in its inference form, with an image to run it on.
#[wasm_bindgen]
pub struct Network {
    network: OctNet,
    images: Tensor<4>,
    size: usize,
    cost: Cost,
}

#[wasm_bindgen]
impl Network {
    pub(crate) fn new(
        network: OctNet,
        config: &OctNetConfig,
        size: usize,
    ) -> Result<Self, JsError> {
        let cost = config.cost([size, size]).map_err(refused)?;
        Ok(Self {
            network: network.fold_batch_norm(),
            images: Tensor::zeros([1, 3, size, size], &Device::flex()),
            size,
            cost,
        })
    }

    /// Sets the image: `3 · size · size` normalised values, a colour after the other.
    ///
    /// # Errors
    ///
    /// If there are more or fewer.
    pub fn show(&mut self, values: Vec<f32>) -> Result<(), JsError> {
        let (found, wanted) = (values.len(), 3 * self.size * self.size);
        if found != wanted {
            return Err(JsError::new(&format!(
                "{found} values for an image of {0}×{0} pixels, which has {wanted}",
                self.size
            )));
        }
        let data = TensorData::new(values, [1, 3, self.size, self.size]);
        self.images = Tensor::from_data(data, &Device::flex());
        Ok(())
    }

    /// Computes the logits of the image.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub fn run(&self) -> Result<Vec<f32>, JsError> {
        let logits = self.network.forward(self.images.clone());
        logits.try_into_vec_as().map_err(refused)
    }

    /// Multiply–adds of the convolutions and the classifier, per image.
    #[wasm_bindgen(getter)]
    pub fn macs(&self) -> f64 {
        self.cost.macs.total() as f64
    }

    /// Bytes of all feature maps, per image.
    #[wasm_bindgen(getter)]
    pub fn map_bytes(&self) -> f64 {
        4.0 * self.cost.activations as f64
    }

    /// Weights.
    #[wasm_bindgen(getter)]
    pub fn parameters(&self) -> f64 {
        self.cost.params as f64
    }
}
