use burn::{data::dataloader::DataLoader, module::Module};
use serde::Serialize;

use crate::{
    attack::Attack,
    batch::Classified,
    classifier::Classifier,
    confusion::Confusion,
    error::TrainError,
    tensors::{full, host},
    trained::TrainedModel,
};
use burn_image_folder::{
    Corruption, ImageBatch, ImageDataset, ImageFolder, ImageList, ImageLoader, Transform,
};

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
    /// Which classes were taken for which.
    #[serde(skip)]
    pub confusion: Confusion,
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

impl<C: Classifier> TrainedModel<C> {
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
        let files = self.recipe.data.files;
        Ok(ImageFolder::open_eval(folder, &self.classes, files)?)
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
        progress: impl FnMut(usize, usize),
    ) -> Result<Evaluation, TrainError> {
        self.evaluate_corrupted(images, None, progress)
    }

    /// As [`evaluate`](Self::evaluate), of images that are corrupted first. What is random about that
    /// follows from the recipe's seed.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_corrupted(
        &self,
        images: ImageList,
        corruption: Option<Corruption>,
        progress: impl FnMut(usize, usize),
    ) -> Result<Evaluation, TrainError> {
        let logits = C::for_inference(self.model.clone());
        self.measure(images, corruption, progress, |batch| {
            Ok(Classified::new(logits(batch.images), batch.targets))
        })
    }

    /// As [`evaluate`](Self::evaluate), of images that are changed against this very network first.
    ///
    /// The network is as it answers, its norms with the statistics of training; the images are changed
    /// before they are normalised. What is random follows from the recipe's seed and the batch size.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate), and a setting of the attack that is out of its range.
    pub fn evaluate_attacked(
        &self,
        images: ImageList,
        attack: &Attack,
        progress: impl FnMut(usize, usize),
    ) -> Result<Evaluation, TrainError> {
        attack.validate()?;
        self.device.seed(self.recipe.seed);
        let answer = C::for_inference(self.model.clone());
        // With gradients for the images alone, and norms as above.
        let network = self.model.clone().train().freeze();
        let normalize = &self.recipe.data.normalize;
        let logits = |images| full(C::logits(&network, normalize.normalized(images)));
        self.measure(images, None, progress, |batch| {
            let pixels = normalize.pixels(batch.images);
            let changed = attack.perturb(pixels, batch.targets.clone(), logits)?;
            Ok(Classified::new(
                answer(normalize.normalized(changed)),
                batch.targets,
            ))
        })
    }

    fn measure(
        &self,
        images: ImageList,
        corruption: Option<Corruption>,
        mut progress: impl FnMut(usize, usize),
        answer: impl Fn(ImageBatch) -> Result<Classified, TrainError>,
    ) -> Result<Evaluation, TrainError> {
        let total = images.len();
        let transform = Transform::Eval(self.recipe.data.val.clone());
        let mut images = ImageDataset::new(images, transform, self.recipe.seed)?
            .with_max_megapixels(self.recipe.data.max_megapixels);
        if let Some(corruption) = corruption {
            images = images.with_corruption(corruption)?;
        }
        let loader = ImageLoader::new(
            images,
            self.recipe.data.normalize.clone(),
            self.recipe.data.loader(),
            &self.device,
        )?;
        let mut tally = Tally::new(self.classes.len());
        for batch in loader.iter() {
            let batch = batch.map_err(TrainError::stopped)?;
            tally.add(answer(batch)?)?;
            progress(tally.images(), total);
        }
        Ok(tally.finish(&self.classes, loader.report().count()))
    }
}

/// Sums over the images seen.
struct Tally {
    loss: f64,
    top5: usize,
    confusion: Confusion,
}

impl Tally {
    fn new(classes: usize) -> Self {
        Self {
            loss: 0.0,
            top5: 0,
            confusion: Confusion::new(classes),
        }
    }

    fn images(&self) -> usize {
        let classes = 0..self.confusion.classes();
        classes.map(|class| self.confusion.images(class)).sum()
    }

    fn add(&mut self, batch: Classified) -> Result<(), TrainError> {
        let targets = batch.targets.try_into_vec_as::<i64>();
        let targets = targets.map_err(TrainError::stopped)?;
        self.loss += host(batch.loss)?.into_iter().map(f64::from).sum::<f64>();
        let logits = host(batch.logits)?;
        for (logits, target) in logits.chunks(self.confusion.classes()).zip(targets) {
            let target = target as usize;
            self.confusion.add(target, first(logits, target));
            self.top5 += usize::from(rank(logits, target) < 5);
        }
        Ok(())
    }

    fn finish(self, names: &[String], skipped: usize) -> Evaluation {
        let images = self.images();
        let confusion = self.confusion;
        let first: usize = (0..names.len())
            .map(|class| confusion.count(class, class))
            .sum();
        let share = |count: usize, of: usize| count as f64 / of as f64;
        Evaluation {
            images,
            skipped,
            loss: self.loss / images as f64,
            top1: share(first, images),
            top5: share(self.top5, images),
            per_class: (names.iter().enumerate())
                .map(|(class, name)| ClassResult {
                    class: name.clone(),
                    images: confusion.images(class),
                    top1: confusion.share(class, class),
                })
                .collect(),
            confusion,
        }
    }
}

/// The class that comes first: `target` exactly if its [`rank`] is 0.
pub(crate) fn first(logits: &[f32], target: usize) -> usize {
    let numbers = (0..logits.len()).filter(|&class| !logits[class].is_nan());
    let greater = |best: usize, class: usize| match logits[class] > logits[best] {
        true => class,
        false => best,
    };
    // A network that gives only NaN is wrong, whatever the class.
    numbers.reduce(greater).unwrap_or(match target {
        0 => logits.len().min(2) - 1,
        _ => 0,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn ranks_count_from_the_top() {
        let logits = [0.1, 0.7, 0.3, 0.7];
        assert_eq!(
            [0, 1, 2, 3].map(|target| rank(&logits, target)),
            [3, 0, 2, 1]
        );
        assert_eq!(rank(&[f32::NAN, 1.0], 0), 2);
        assert_eq!([0, 1, 3].map(|target| first(&logits, target)), [1; 3]);
        assert_eq!(first(&[f32::NAN, 1.0], 0), 1);
        for target in [0, 1] {
            assert_ne!(first(&[f32::NAN; 2], target), target);
        }
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
