//! What one batch goes through, in training and in validation.

use std::{ops::Range, sync::Arc};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    module::{Module, Param},
    nn::DropoutConfig,
    tensor::{Device, ExecutionError, Int, Tensor, activation::log_softmax},
    train::{
        InferenceStep, ItemLazy, TrainOutput, TrainStep,
        metric::{AccuracyInput, Adaptor, LossInput, TopKAccuracyInput},
    },
};

use crate::{classifier::Classifier, tensors::full, wait::DataWait};
use burn_image_folder::{ImageBatch, Position};

/// A batch to train on: images and what the loss compares the logits with.
#[derive(Debug, Clone)]
pub(crate) struct TrainBatch {
    /// Normalised images, `[batch, 3, height, width]`.
    pub(crate) images: Tensor<4>,
    /// Classes, `[batch]`.
    pub(crate) targets: Tensor<1, Int>,
    /// The second classes of images that are made of two.
    pub(crate) mixed: Option<Mixed>,
    /// Share of each label that is spread over all classes.
    pub(crate) label_smoothing: f64,
    /// Share of what the classifier sees that is set to zero.
    pub(crate) dropout: f64,
    /// What the loss is multiplied by for the gradients, which come out as much larger.
    pub(crate) loss_scale: f64,
    /// Places of the images in the dataset's list, which knows their files.
    pub(crate) indexes: Vec<usize>,
    /// Where the next batch starts.
    pub(crate) next: Position,
    /// Share of a whole batch that this is, by which its loss counts.
    pub(crate) share: f64,
}

/// The second labels of a batch whose images are each made of two.
#[derive(Debug, Clone)]
pub(crate) struct Mixed {
    /// Class of the second image, `[batch]`.
    pub(crate) targets: Tensor<1, Int>,
    /// Share of the first image, 0 to 1; that of the second is the rest.
    pub(crate) share: f64,
}

impl TrainBatch {
    /// The batch in at most `count` parts: equal ones, or the first with one image more where they
    /// cannot be.
    pub(crate) fn split(self, count: usize) -> Vec<Self> {
        if count == 1 {
            return vec![self];
        }
        let images = self.images.dims()[0];
        let start = |part: usize| part * (images / count) + part.min(images % count);
        (0..count.min(images))
            .map(|part| self.rows(start(part)..start(part + 1)))
            .collect()
    }

    fn rows(&self, rows: Range<usize>) -> Self {
        let of = |targets: &Tensor<1, Int>| targets.clone().slice(rows.clone());
        Self {
            images: self.images.clone().slice(rows.clone()),
            targets: of(&self.targets),
            mixed: self.mixed.as_ref().map(|mixed| Mixed {
                targets: of(&mixed.targets),
                share: mixed.share,
            }),
            label_smoothing: self.label_smoothing,
            dropout: self.dropout,
            loss_scale: self.loss_scale,
            indexes: self.indexes.get(rows.clone()).unwrap_or_default().to_vec(),
            next: self.next,
            share: self.share * rows.len() as f64 / self.images.dims()[0] as f64,
        }
    }

    /// The batch on another device.
    pub(crate) fn on(self, device: &Device) -> Self {
        Self {
            images: self.images.to_device(device),
            targets: self.targets.to_device(device),
            mixed: self.mixed.map(|mixed| Mixed {
                targets: mixed.targets.to_device(device),
                share: mixed.share,
            }),
            ..self
        }
    }

    /// Cross entropy of each image, `[batch]`; of mixed ones the mean by their shares.
    fn loss(&self, logits: &Tensor<2>) -> Tensor<1> {
        let of = |targets: &Tensor<1, Int>| {
            cross_entropy(logits.clone(), targets.clone(), self.label_smoothing)
        };
        let first = of(&self.targets);
        match &self.mixed {
            Some(Mixed { targets, share }) => first * *share + of(targets) * (1.0 - share),
            None => first,
        }
    }
}

/// Batches to train on, out of batches of images.
///
/// The targets' form is decided here and not in the network, so the network's modules hold
/// weights and nothing else.
pub(crate) struct TrainLoader {
    images: Arc<dyn DataLoader<ImageBatch>>,
    label_smoothing: f64,
    wait: DataWait,
}

impl TrainLoader {
    /// Batches of `images` with smoothed labels.
    pub(crate) fn new(images: Arc<dyn DataLoader<ImageBatch>>, label_smoothing: f64) -> Self {
        Self {
            images,
            label_smoothing,
            wait: DataWait::default(),
        }
    }

    /// Measures with `wait` how long an epoch waits for batches.
    pub(crate) fn with_wait(self, wait: DataWait) -> Self {
        Self { wait, ..self }
    }

    fn around(&self, images: Arc<dyn DataLoader<ImageBatch>>) -> Arc<dyn DataLoader<TrainBatch>> {
        Arc::new(Self {
            images,
            label_smoothing: self.label_smoothing,
            wait: self.wait.clone(),
        })
    }
}

impl DataLoader<TrainBatch> for TrainLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TrainBatch> + 'a> {
        let images = self.images.iter();
        self.wait.begin(images.progress().items_processed);
        Box::new(TrainBatches {
            images,
            label_smoothing: self.label_smoothing,
            wait: self.wait.clone(),
        })
    }

    fn num_items(&self) -> usize {
        self.images.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<TrainBatch>> {
        self.around(self.images.to_device(device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<TrainBatch>> {
        self.around(self.images.slice(start, end))
    }
}

struct TrainBatches<'a> {
    images: Box<dyn DataLoaderIterator<ImageBatch> + 'a>,
    label_smoothing: f64,
    wait: DataWait,
}

impl Iterator for TrainBatches<'_> {
    type Item = Result<TrainBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.wait.during(|| self.images.next())?;
        Some(batch.map(|batch| TrainBatch {
            images: batch.images,
            targets: batch.targets,
            mixed: None,
            label_smoothing: self.label_smoothing,
            dropout: 0.0,
            loss_scale: 1.0,
            indexes: batch.indexes,
            next: batch.next,
            share: 1.0,
        }))
    }
}

impl DataLoaderIterator<TrainBatch> for TrainBatches<'_> {
    fn progress(&self) -> Progress {
        self.images.progress()
    }
}

/// Cross entropy of each image, `[batch]`.
///
/// With smoothing `s` the label is `1 − s` of its class and `s` spread over all classes alike.
/// Per image, not their mean as Burn's loss gives: the last batch of an epoch may be short, and
/// the epoch's mean has to count images, not batches.
pub fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    label_smoothing: f64,
) -> Tensor<1> {
    let log = log_softmax(logits, 1);
    let of_target = log.clone().gather(1, targets.unsqueeze_dim(1));
    let of_target = of_target.squeeze_dim::<1>(1).neg();
    if label_smoothing == 0.0 {
        return of_target;
    }
    let of_all = log.mean_dim(1).squeeze_dim::<1>(1).neg();
    of_target * (1.0 - label_smoothing) + of_all * label_smoothing
}

/// What a batch gave, for the metrics.
#[derive(Debug)]
pub(crate) struct Classified {
    /// Loss of each image, `[batch]`.
    pub(crate) loss: Tensor<1>,
    /// Logits, `[batch, classes]`.
    pub(crate) logits: Tensor<2>,
    /// Classes, `[batch]`.
    pub(crate) targets: Tensor<1, Int>,
}

impl Classified {
    /// What a network made of a batch that it was not trained on.
    pub(crate) fn new(logits: Tensor<2>, targets: Tensor<1, Int>) -> Self {
        Self {
            loss: cross_entropy(logits.clone(), targets.clone(), 0.0),
            logits,
            targets,
        }
    }
}

impl Classified {
    /// What several devices made of the parts of a batch, on the first one's.
    pub(crate) fn join(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let device = parts[0].loss.device().without_autodiff();
        let parts = parts.into_iter().map(|part| Self {
            loss: part.loss.without_autodiff().to_device(&device),
            logits: part.logits.without_autodiff().to_device(&device),
            targets: part.targets.without_autodiff().to_device(&device),
        });
        let parts: Vec<_> = parts.collect();
        Self {
            loss: Tensor::cat(parts.iter().map(|part| part.loss.clone()).collect(), 0),
            logits: Tensor::cat(parts.iter().map(|part| part.logits.clone()).collect(), 0),
            targets: Tensor::cat(parts.iter().map(|part| part.targets.clone()).collect(), 0),
        }
    }
}

impl ItemLazy for Classified {
    fn sync(self) -> Result<Self, ExecutionError> {
        // Metrics run in another thread: what the device has buffered has to start before they
        // wait for it, and they need no gradients.
        self.loss.device().flush()?;
        Ok(Self {
            loss: self.loss.without_autodiff(),
            logits: self.logits.without_autodiff(),
            targets: self.targets.without_autodiff(),
        })
    }
}

impl Adaptor<LossInput> for Classified {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.loss.clone())
    }
}

impl Adaptor<AccuracyInput> for Classified {
    fn adapt(&self) -> AccuracyInput {
        AccuracyInput::new(self.logits.clone(), self.targets.clone())
    }
}

impl Adaptor<TopKAccuracyInput> for Classified {
    fn adapt(&self) -> TopKAccuracyInput {
        TopKAccuracyInput::new(self.logits.clone(), self.targets.clone())
    }
}

/// A training step of a network: the gradients, and what it made of the batch.
pub(crate) fn step<C: Classifier>(
    network: &C::Network,
    batch: TrainBatch,
) -> TrainOutput<Classified> {
    let features = C::features(network, batch.images.clone());
    let features = DropoutConfig::new(batch.dropout).init().forward(features);
    let logits = full(C::classify(network, features));
    let loss = batch.loss(&logits);
    let factor = batch.share * batch.loss_scale;
    let gradients = (loss.clone().mean() * factor).backward();
    let item = Classified {
        loss,
        logits,
        targets: batch.targets,
    };
    TrainOutput::new(network, gradients, item)
}

/// What stands for the network in Burn's types. The session has the network itself, and Burn's part
/// of a run only says what goes in and out of it, and asks where it is.
#[derive(Module, Debug)]
pub(crate) struct Trainee {
    place: Param<Tensor<1>>,
}

impl Trainee {
    /// One on a device.
    pub(crate) fn on(device: &Device) -> Self {
        Self {
            place: Param::from_tensor(Tensor::zeros([1], device)),
        }
    }
}

impl TrainStep for Trainee {
    type Input = TrainBatch;
    type Output = Classified;

    fn step(&self, _batch: TrainBatch) -> TrainOutput<Classified> {
        unreachable!("the session makes the steps")
    }
}

impl InferenceStep for Trainee {
    type Input = ImageBatch;
    type Output = Classified;

    fn step(&self, _batch: ImageBatch) -> Classified {
        unreachable!("the session makes the steps")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{nn::loss::CrossEntropyLossConfig, tensor::Tolerance};

    #[test]
    fn the_mean_of_the_cross_entropies_is_burns_loss() {
        let device = Device::flex();
        // Not random numbers: other tests count on what they seeded the generator with.
        let wave = Tensor::<1, Int>::arange(0..35, &device).float().sin();
        let logits = (wave * 3.0).reshape([7, 5]);
        let targets = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 4, 0, 2], &device);
        for smoothing in [0.0, 0.1, 0.5] {
            let burn = CrossEntropyLossConfig::new()
                .with_smoothing((smoothing > 0.0).then_some(smoothing as f32))
                .init(&device)
                .forward(logits.clone(), targets.clone());
            let ours = cross_entropy(logits.clone(), targets.clone(), smoothing).mean();
            ours.into_data()
                .assert_approx_eq::<f32>(&burn.into_data(), Tolerance::absolute(1e-5));
        }
    }
}
