//! The loop on batches made by hand, with Burn's part around it.

mod groups;
mod precision;
mod resume;
mod team;

use std::sync::Arc;

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    module::Module,
    tensor::{Device, Distribution, Int, Tensor},
    train::{
        Interrupter, Learner, SupervisedTraining, TrainingStrategy,
        metric::{AccuracyMetric, LearningRateMetric, LossMetric, Metric, TopKAccuracyMetric},
    },
};

use super::*;
use crate::{
    Classifier, DataWait, History, OnNan, OptimizerConfig, PlainProgress, RunDir, ScheduleConfig,
    TrainError,
    batch::{TrainBatch, Trainee},
    checkpoint::Checkpoints,
    fingerprint::Fingerprint,
    journal::Journal,
    testing::{TestConfig, TestNetwork, turn},
    weights,
};

type Recipe = crate::Recipe<TestConfig>;
type Session = super::Session<TestNetwork>;

use burn_image_folder::ImageBatch;

/// The same batches in every epoch.
#[derive(Clone)]
struct Batches<B> {
    batches: Vec<B>,
    /// Told to stop when they are at their end.
    at_end: Option<Interrupter>,
}

impl<B: Clone + Send + Sync + 'static> DataLoader<B> for Batches<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<B> + 'a> {
        Box::new(Iter {
            left: self.batches.iter(),
            all: self.batches.len(),
            at_end: self.at_end.as_ref(),
        })
    }

    fn num_items(&self) -> usize {
        self.batches.len()
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<B>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B>> {
        Arc::new(Self {
            batches: self.batches[start..end].to_vec(),
            at_end: self.at_end.clone(),
        })
    }
}

struct Iter<'a, B> {
    left: std::slice::Iter<'a, B>,
    all: usize,
    at_end: Option<&'a Interrupter>,
}

impl<B: Clone> Iterator for Iter<'_, B> {
    type Item = Result<B, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.left.next().cloned();
        if let (None, Some(interrupter)) = (&next, self.at_end) {
            interrupter.stop(None);
        }
        next.map(Ok)
    }
}

impl<B: Clone> DataLoaderIterator<B> for Iter<'_, B> {
    fn progress(&self) -> Progress {
        Progress::new(self.all - self.left.len(), self.all, None)
    }
}

fn batch(images: Tensor<4>) -> TrainBatch {
    let device = images.device();
    let classes: Vec<_> = (0..images.dims()[0] as i32)
        .map(|image| image % 3)
        .collect();
    TrainBatch {
        images,
        targets: Tensor::<1, Int>::from_data(classes.as_slice(), &device),
        mixed: None,
        label_smoothing: 0.0,
        dropout: 0.0,
        loss_scale: 1.0,
        indexes: Vec::new(),
        next: burn_image_folder::Position::start_of(1),
        share: 1.0,
    }
}

fn random(count: usize) -> TrainBatch {
    let device = Device::flex().autodiff();
    batch(Tensor::random(
        [count, 3, 8, 8],
        Distribution::Normal(0.0, 1.0),
        &device,
    ))
}

fn recipe() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.model.channels = 4;
    recipe.data.batch_size = 4;
    recipe.schedule = ScheduleConfig::Constant {};
    recipe.epochs = 1;
    recipe
}

/// The network that every run here begins with.
fn network(recipe: &Recipe) -> TestNetwork {
    let device = Device::flex().autodiff();
    device.seed(5);
    let model = recipe.model.init(3, &device).unwrap();
    freeze(weights::number(model), &recipe.freeze)
}

/// Trains on the batches, and gives the loop's end.
fn train(recipe: &Recipe, batches: Vec<TrainBatch>) -> Result<Session, TrainError> {
    train_on(1, recipe, batches)
}

/// The same by several devices, all of which are the processor.
fn train_on(
    devices: usize,
    recipe: &Recipe,
    batches: Vec<TrainBatch>,
) -> Result<Session, TrainError> {
    let folder = tempfile::tempdir().unwrap();
    let folder = RunDir::at(folder.path());
    let session = fresh(recipe, batches.len());
    run(&folder, devices, recipe, batches, session, None)
}

/// A run of epochs of `steps` batches before its first step.
fn fresh(recipe: &Recipe, steps: usize) -> Session {
    let model = network(recipe);
    let rates = (recipe.schedule).over(recipe.optimizer.lr(), steps, recipe.epochs);
    Session {
        optimizer: optimizer(recipe, &model),
        schedule: schedule(recipe, &model, rates, 0),
        ema: recipe.ema.map(|decay| Ema::new(decay, model.valid())),
        state: RunState::start(),
        history: History::default(),
        not_finite: 0,
        listener: None,
        model,
    }
}

/// Goes on with a run in `folder`; `stop` is told to stop it when a validation is at its end.
fn run(
    folder: &RunDir,
    devices: usize,
    recipe: &Recipe,
    batches: Vec<TrainBatch>,
    session: Session,
    stop: Option<Interrupter>,
) -> Result<Session, TrainError> {
    let _lock = folder.hold().unwrap();
    folder.begin("{}", &[]).unwrap();
    let (loss, top1, top5) = (
        LossMetric::new(),
        AccuracyMetric::new(),
        TopKAccuracyMetric::new(3),
    );
    let journal = Journal::default();
    let settings = Settings {
        recipe: recipe.clone(),
        devices: vec![Device::flex(); devices],
        journal: journal.clone(),
        checkpoints: Checkpoints::of(folder, Fingerprint::default()),
        path: Box::new(|image| format!("{image}.png").into()),
        metrics: [loss.name(), top1.name(), top5.name()].map(|name| name.to_string()),
    };
    let learner = Learner::new(
        Trainee::on(&Device::flex()),
        session.optimizer.clone(),
        session.schedule.clone(),
    );
    let steps = StepLoop::new(settings, session);
    let val = ImageBatch {
        images: Tensor::zeros([1, 3, 8, 8], &Device::flex()),
        targets: Tensor::from_data([0], &Device::flex()),
        indexes: vec![0],
        next: burn_image_folder::Position::start_of(2),
    };
    let interrupter = stop.clone().unwrap_or_default();
    let val = Batches {
        batches: vec![val],
        at_end: stop,
    };
    SupervisedTraining::new(
        folder.root(),
        Arc::new(Batches {
            batches,
            at_end: None,
        }),
        Arc::new(val),
    )
    .metrics((loss, top1, top5))
    .metric_train_numeric(LearningRateMetric::new())
    .with_metric_logger(journal.clone())
    .with_progress_logger(journal)
    .with_application_logger(None)
    .with_interrupter(interrupter)
    .with_training_strategy(TrainingStrategy::Custom(steps.clone()))
    .renderer(Box::new(PlainProgress::new(
        std::io::sink(),
        1,
        DataWait::default(),
    )))
    .num_epochs(recipe.epochs)
    .launch(learner);
    steps.outcome()
}

fn bytes(model: &TestNetwork) -> Vec<u8> {
    weights::to_bytes(&model.valid()).unwrap().to_vec()
}

/// The values of a network one after another, by the name of their part.
fn values(model: &TestNetwork, part: &str) -> Vec<f32> {
    use burn::module::{ModuleVisitor, Param};

    struct Values<'a>(Vec<String>, &'a str, Vec<f32>);

    impl ModuleVisitor for Values<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.join(".").starts_with(self.1) {
                self.2.extend(param.val().into_data().iter::<f32>());
            }
        }
    }

    let mut values = Values(Vec::new(), part, Vec::new());
    model.valid().visit(&mut values);
    values.2
}

#[test]
fn a_batch_left_out_for_its_loss_is_as_if_it_had_not_been_there() {
    let _turn = turn();
    let not_a_number = || {
        let device = Device::flex().autodiff();
        batch(Tensor::full([4, 3, 8, 8], f32::NAN, &device))
    };
    let (one, two) = (random(4), random(4));
    let plain = recipe();
    let recipe = Recipe {
        on_nan: OnNan::Skip,
        ..recipe()
    };
    let with = train(&recipe, vec![one.clone(), not_a_number(), two.clone()]).unwrap();
    let without = train(&recipe, vec![one.clone(), two]).unwrap();
    assert_eq!((with.not_finite, without.not_finite), (1, 0));
    assert_eq!(bytes(&with.model), bytes(&without.model));

    // Where nothing is left, or where it should, the run stops and says where.
    let recipes = [(recipe.clone(), 1), (plain, 2)];
    for ((recipe, at), batches) in recipes
        .into_iter()
        .zip([vec![not_a_number()], vec![one, not_a_number()]])
    {
        let error = train(&recipe, batches).map(drop).unwrap_err();
        let TrainError::NotFinite { epoch, batch, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((epoch, batch), (1, at));
    }
}

#[test]
fn accumulated_batches_make_the_step_of_their_mean_gradient() {
    let _turn = turn();
    // Of the same batch twice, the mean is the gradient of one.
    let batch = random(4);
    let once = train(&recipe(), vec![batch.clone()]).unwrap();
    let recipe = Recipe {
        accumulate: 2,
        ..recipe()
    };
    let twice = train(&recipe, vec![batch.clone(), batch.clone()]).unwrap();
    assert_eq!(twice.state.update, 1);
    for part in ["conv1", "layer2", "fc"] {
        let weights = |session: &Session| -> Vec<f32> { values(&session.model, part) };
        let (once, twice) = (weights(&once), weights(&twice));
        let start = values(&network(&recipe), part);
        assert_ne!(once, start, "{part}");
        // The norms' statistics saw the batch twice.
        let near = once
            .iter()
            .zip(&twice)
            .filter(|(a, b)| (*a - *b).abs() < 1e-6);
        assert!(near.count() * 10 >= once.len() * 9, "{part}");
    }
    // A rest that is shorter makes a step as well.
    let three = train(&recipe, vec![batch.clone(), batch.clone(), batch]).unwrap();
    assert_eq!(three.state.update, 2);
}

#[test]
fn clipping_bounds_the_step() {
    let _turn = turn();
    let step = |clip_norm: Option<f64>| {
        let recipe = Recipe {
            clip_norm,
            optimizer: OptimizerConfig::Sgd {
                lr: 1.0,
                momentum: 0.0,
                nesterov: false,
                weight_decay: 0.0,
            },
            ..recipe()
        };
        Device::flex().autodiff().seed(9);
        let end = train(&recipe, vec![random(4)]).unwrap();
        let squares = |from: Vec<f32>, to: Vec<f32>| -> f64 {
            (from.iter().zip(to))
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum()
        };
        // Of the parts, these have no norms, whose statistics are no step.
        let parts = ["conv1", "fc"];
        let sum: f64 = parts
            .map(|part| squares(values(&network(&recipe), part), values(&end.model, part)))
            .into_iter()
            .sum();
        sum.sqrt()
    };
    let free = step(None);
    assert!(free > 0.02, "{free}");
    let clipped = step(Some(0.01));
    assert!(clipped <= 0.01 + 1e-5, "{clipped}");
    // Short enough gradients stay as they are.
    assert_eq!(step(Some(1e9)), free);
}

#[test]
fn averaged_weights_follow_their_formula() {
    let _turn = turn();
    let recipe = Recipe {
        ema: Some(0.9),
        ..recipe()
    };
    let end = train(&recipe, vec![random(4)]).unwrap();
    let average = values(end.ema.as_ref().unwrap().model(), "fc");
    // After the first update the decay is 1 / 10.
    let expected = (values(&network(&recipe), "fc").into_iter())
        .zip(values(&end.model, "fc"))
        .map(|(start, end)| 0.1 * start + 0.9 * end);
    for (got, expected) in average.into_iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    }
}
