use std::path::{Path, PathBuf};

use burn::tensor::activation::softmax;
use serde::Serialize;

use crate::{
    classifier::Classifier, error::TrainError, tensors::host, text::lossy, trained::TrainedModel,
};
use burn_image_folder::DataError;

/// What a network sees in an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The image file.
    #[serde(serialize_with = "lossy")]
    pub image: PathBuf,
    /// The most probable classes, best first.
    pub predictions: Vec<Ranked>,
}

/// A class and how probable the network finds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// Name of the class.
    pub class: String,
    /// Softmax over all classes.
    pub probability: f64,
}

impl<C: Classifier> TrainedModel<C> {
    /// Predicts the `top` most probable classes of image files.
    ///
    /// `unreadable` is told about files that cannot be read, or have more pixels than the recipe's
    /// `data.max_megapixels` allows; they are left out of the result.
    ///
    /// # Errors
    ///
    /// [`TrainError::Stopped`] if the device fails, [`TrainError::OutputNotFinite`] unless
    /// [`allow_nan`](Self::allow_nan).
    pub fn predict<P: AsRef<Path>>(
        &self,
        images: &[P],
        top: usize,
        mut unreadable: impl FnMut(DataError),
    ) -> Result<Vec<Prediction>, TrainError> {
        let data = &self.recipe.data;
        let logits = C::for_inference(self.model.clone());
        let mut results = Vec::with_capacity(images.len());
        for files in images.chunks(data.batch_size) {
            let (mut pixels, mut paths) = (Vec::new(), Vec::new());
            for file in files {
                match data.val.load(file, data.max_megapixels) {
                    Ok(image) => {
                        pixels.extend(image);
                        paths.push(file.as_ref().to_path_buf());
                    }
                    Err(error) => unreadable(error),
                }
            }
            if paths.is_empty() {
                continue;
            }
            let batch = data.normalize.batch(pixels, data.val.size, &self.device);
            let probabilities = host(softmax(logits(batch), 1))?;
            self.check(&probabilities)?;
            let rows = probabilities.chunks(self.classes.len());
            for (image, row) in paths.into_iter().zip(rows) {
                results.push(Prediction {
                    image,
                    predictions: self.rank(row, top),
                });
            }
        }
        Ok(results)
    }

    fn rank(&self, probabilities: &[f32], top: usize) -> Vec<Ranked> {
        let mut order: Vec<_> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let ranked = order.into_iter().take(top).map(|class| Ranked {
            class: self.classes[class].clone(),
            probability: probabilities[class].into(),
        });
        ranked.collect()
    }
}
