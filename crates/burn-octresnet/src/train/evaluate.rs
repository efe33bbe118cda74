use burn::{data::dataloader::DataLoader, tensor::Tensor, train::InferenceStep};
use serde::Serialize;

use super::{Classified, TrainError, TrainedModel, error::first_line};
use crate::data::{ImageDataset, ImageFolder, ImageList, ImageLoader, Transform};

/// How well a network does on a folder of images. Accuracies are shares, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images looked at.
    pub images: usize,
    /// Images that could not be read and are not counted anywhere else.
    pub skipped: usize,
    /// Mean cross entropy.
    pub loss: f64,
    /// Share of images whose class came first.
    pub top1: f64,
    /// Share of images whose class was among the first five.
    pub top5: f64,
    /// The same for each class, in the order of the logits.
    pub per_class: Vec<ClassResult>,
}

/// How well a network does on one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassResult {
    /// Name of the class.
    pub class: String,
    /// Images of the class.
    pub images: usize,
    /// Share of them that were recognised; none if there are none.
    pub top1: Option<f64>,
}

impl TrainedModel {
    /// The images the network was validated on in training.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] if they are no longer where they were.
    pub fn validation_images(&self) -> Result<ImageList, TrainError> {
        let folder = self.recipe.data.open(self.recipe.seed)?;
        if folder.classes != self.classes {
            let path = self.recipe.data.path.clone();
            return Err(TrainError::ClassesChanged {
                data: path,
                path: self.weights.clone(),
            });
        }
        Ok(folder.val)
    }

    /// The images of a folder with this network's classes, or some of them.
    ///
    /// # Errors
    ///
    /// Whatever [`ImageFolder::open_eval`] refuses.
    pub fn images_in(&self, folder: impl AsRef<std::path::Path>) -> Result<ImageList, TrainError> {
        Ok(ImageFolder::open_eval(folder, &self.classes)?)
    }

    /// Shows the network every image, with the recipe's transform, batch size and workers.
    ///
    /// `progress` is called after each batch with the number of images so far and in all.
    ///
    /// # Errors
    ///
    /// An unreadable image where the recipe says so, a failing device, and no image at all.
    pub fn evaluate(
        &self,
        images: ImageList,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Evaluation, TrainError> {
        let total = images.len();
        let transform = Transform::Eval(self.recipe.data.val.clone());
        let loader = ImageLoader::new(
            ImageDataset::new(images, transform, self.recipe.seed)?,
            self.recipe.data.normalize.clone(),
            self.recipe.loader(),
            &self.device,
        )?;
        let mut tally = Tally::new(self.classes.len());
        for batch in loader.iter() {
            let batch =
                batch.map_err(|error| TrainError::Stopped(first_line(&error.to_string())))?;
            tally.add(InferenceStep::step(&self.model, batch))?;
            progress(tally.images(), total);
        }
        Ok(tally.finish(&self.classes, loader.report().count()))
    }
}

/// Sums over the images seen.
struct Tally {
    loss: f64,
    top5: usize,
    /// Per class, images and how many of them were recognised.
    classes: Vec<[usize; 2]>,
}

impl Tally {
    fn new(classes: usize) -> Self {
        Self {
            loss: 0.0,
            top5: 0,
            classes: vec![[0; 2]; classes],
        }
    }

    fn images(&self) -> usize {
        self.classes.iter().map(|[images, _]| images).sum()
    }

    fn add(&mut self, batch: Classified) -> Result<(), TrainError> {
        let targets = batch.targets.try_into_vec_as::<i64>();
        let targets =
            targets.map_err(|error| TrainError::Stopped(first_line(&error.to_string())))?;
        self.loss += host(batch.loss)?.into_iter().map(f64::from).sum::<f64>();
        let logits = host(batch.logits)?;
        for (logits, target) in logits.chunks(self.classes.len()).zip(targets) {
            let rank = rank(logits, target as usize);
            let [images, first] = &mut self.classes[target as usize];
            *images += 1;
            *first += usize::from(rank == 0);
            self.top5 += usize::from(rank < 5);
        }
        Ok(())
    }

    fn finish(&self, names: &[String], skipped: usize) -> Evaluation {
        let images = self.images();
        let first: usize = self.classes.iter().map(|[_, first]| first).sum();
        let share = |count: usize, of: usize| count as f64 / of as f64;
        Evaluation {
            images,
            skipped,
            loss: self.loss / images as f64,
            top1: share(first, images),
            top5: share(self.top5, images),
            per_class: (names.iter().zip(&self.classes))
                .map(|(class, &[images, first])| ClassResult {
                    class: class.clone(),
                    images,
                    top1: (images > 0).then(|| share(first, images)),
                })
                .collect(),
        }
    }
}

/// How many logits come before that of `target`; of equals, the first class comes first. A NaN
/// comes last, or a broken network would be right about everything.
fn rank(logits: &[f32], target: usize) -> usize {
    let mine = logits[target];
    if mine.is_nan() {
        return logits.len();
    }
    let before =
        |(class, logit): (usize, &f32)| *logit > mine || (*logit == mine && class < target);
    logits
        .iter()
        .enumerate()
        .filter(|&entry| before(entry))
        .count()
}

/// A tensor's values on this side.
pub(super) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let values = tensor.try_into_vec_as::<f32>();
    values.map_err(|error| TrainError::Stopped(first_line(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn ranks_count_from_the_top() {
        let logits = [0.1, 0.7, 0.3, 0.7];
        assert_eq!(
            [0, 1, 2, 3].map(|target| rank(&logits, target)),
            [3, 0, 2, 1]
        );
        assert_eq!(rank(&[f32::NAN, 1.0], 0), 2);
    }

    #[test]
    fn a_tally_counts_images_and_not_batches() {
        let device = Device::flex();
        let mut tally = Tally::new(6);
        let batch = |loss: &[f32], logits: Vec<[f32; 6]>, targets: &[i32]| Classified {
            loss: Tensor::from_floats(loss, &device),
            logits: Tensor::from_data(
                burn::tensor::TensorData::new(logits.concat(), [targets.len(), 6]),
                &device,
            ),
            targets: Tensor::from_data(targets, &device),
        };
        let down = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        tally
            .add(batch(&[1.0, 2.0, 3.0], vec![down; 3], &[0, 4, 5]))
            .unwrap();
        tally.add(batch(&[6.0], vec![down], &[0])).unwrap();
        let names: Vec<_> = (0..6).map(|class| class.to_string()).collect();
        let result = tally.finish(&names, 2);
        assert_eq!((result.images, result.skipped), (4, 2));
        assert_eq!([result.loss, result.top1, result.top5], [3.0, 0.5, 0.75]);
        assert_eq!(result.per_class[0].top1, Some(1.0));
        assert_eq!(result.per_class[1].top1, None);
        assert_eq!(result.per_class[5].top1, Some(0.0));
    }
}
