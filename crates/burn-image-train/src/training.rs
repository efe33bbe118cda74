use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::{
    data::dataloader::DataLoader,
    module::Module,
    tensor::Device,
    train::{
        Interrupter, Learner, SupervisedTraining, TrainingStrategy,
        metric::{AccuracyMetric, LearningRateMetric, LossMetric, Metric, TopKAccuracyMetric},
        renderer::MetricsRenderer,
    },
};
use burn_image_folder::{
    ImageBatch, ImageDataset, ImageFolder, ImageList, ImageLoader, LoaderConfig, SkipReport,
    Transform,
};

use crate::{
    batch::{TrainLoader, Trainee},
    checkpoint::{Checkpoint, Checkpoints},
    classifier::{Classifier, Cost},
    device::Devices,
    error::TrainError,
    fingerprint::Fingerprint,
    history::{EpochRow, History},
    journal::Journal,
    recipe::Recipe,
    run_dir::RunDir,
    session::{self, Ema, RunState, Session, Settings, StepLoop},
    speed::SpeedMetric,
    wait::DataWait,
    weights,
};

/// Where runs go that are given no folder.
const RUNS: &str = "runs";

/// A run that is ready to go: everything it needs has been checked and opened.
#[derive(Debug)]
pub struct Training<C: Classifier> {
    recipe: Recipe<C>,
    folder: ImageFolder,
    devices: Vec<Device>,
    run: RunDir,
    /// What to go on from, if anything.
    checkpoint: Option<Checkpoint>,
    history: History,
    wait: DataWait,
    fingerprint: Fingerprint,
    /// Open as long as no other process may train in the folder.
    _lock: File,
}

/// What a run is about to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<C> {
    /// The network.
    pub model: C,
    /// The number of classes.
    pub classes: usize,
    /// Where its first weights come from, if they are not random.
    pub init: Option<PathBuf>,
    /// Its cost per image, if that is known.
    pub cost: Option<Cost>,
    /// The cost per image of the network it is compared with, if there is one.
    pub baseline: Option<Cost>,
    /// Number of images to train on and to validate on.
    pub images: [usize; 2],
    /// Steps per epoch.
    pub steps: usize,
    /// The first epoch to come, from 1, and the last.
    pub epochs: [usize; 2],
    /// Batches of the first epoch to come that were trained on before.
    pub step: usize,
    /// Steps of the optimizer in all epochs.
    pub updates: usize,
    /// The first, the highest and the last learning rate.
    pub lr: [f64; 3],
    /// Bytes that training takes on the device, as a rule of thumb, if the cost is known.
    pub memory: Option<u64>,
    /// The devices.
    pub devices: Devices,
    /// The folder of the run.
    pub run: RunDir,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The folder of the run.
    pub run: RunDir,
    /// Whole epochs so far, and how many there should be.
    pub epochs: [usize; 2],
    /// Batches of the epoch at hand that were trained on.
    pub step: usize,
    /// The best epoch so far.
    pub best: Option<EpochRow>,
    /// Images that could not be read.
    pub skipped: usize,
}

impl Outcome {
    /// Whether the run was stopped before its end.
    pub fn interrupted(&self) -> bool {
        self.epochs[0] < self.epochs[1]
    }
}

impl<C: Classifier> Training<C> {
    /// Prepares a new run. `name` is that of the folder where the recipe names none.
    ///
    /// The folder is made last, when nothing else can fail any more.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the recipe, the images, the device or the output folder.
    pub fn start(recipe: Recipe<C>, name: &str) -> Result<Self, TrainError> {
        recipe.validate()?;
        let given = recipe.output.clone().map(RunDir::at);
        given.as_ref().map_or(Ok(()), RunDir::check_free)?;
        let (folder, devices) = open(&recipe)?;
        if recipe.init.is_some() {
            first(&recipe, folder.classes.len(), &devices[0])?;
        }
        let run = match given {
            Some(run) => run,
            None => RunDir::numbered(RUNS, name)?,
        };
        let lock = run.hold()?;
        // Another process may have held it since it was looked at.
        run.check_free()?;
        run.begin(&saved(&recipe), &folder.classes)?;
        Ok(Self {
            fingerprint: Fingerprint::of(&folder, &recipe.data.path),
            recipe,
            folder,
            devices,
            run,
            checkpoint: None,
            history: History::default(),
            wait: DataWait::default(),
            _lock: lock,
        })
    }

    /// Prepares to go on with a run, from its newest checkpoint that is whole.
    ///
    /// `recipe` may differ from the run's in how long, where and with how many threads it goes
    /// on; nothing else, or it would be another run. The images must be those it was trained on.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the recipe, the images, the device or the run's folder;
    /// [`TrainError::DataChanged`] for other images than before.
    pub fn resume(recipe: Recipe<C>, run: RunDir) -> Result<Self, TrainError> {
        let (training, changed) = Self::reopen(recipe, run)?;
        match changed {
            Some(changed) => Err(TrainError::DataChanged {
                data: training.recipe.data.path.clone(),
                path: training.run.root().to_path_buf(),
                changed,
            }),
            None => training.begin_again(),
        }
    }

    /// As [`resume`](Self::resume), also with other images of the same classes. What has changed is
    /// logged.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume), but for the images.
    pub fn resume_with_changed_data(recipe: Recipe<C>, run: RunDir) -> Result<Self, TrainError> {
        let (training, changed) = Self::reopen(recipe, run)?;
        if let Some(changed) = changed {
            log::warn!("going on with other images: {changed}");
        }
        training.begin_again()
    }

    /// The run as it was left, and how its images have changed since.
    fn reopen(recipe: Recipe<C>, run: RunDir) -> Result<(Self, Option<String>), TrainError> {
        recipe.validate()?;
        if !run.config().exists() {
            return Err(TrainError::NoRun {
                path: run.root().to_path_buf(),
            });
        }
        let before = Recipe::load(run.config())?;
        if let Some((field, given, saved)) = recipe.difference(&before) {
            return Err(TrainError::Changed {
                field,
                given,
                saved,
                path: run.root().to_path_buf(),
            });
        }
        let (folder, devices) = open(&recipe)?;
        if folder.classes != run.read_classes()? {
            return Err(TrainError::ClassesChanged {
                data: recipe.data.path.clone(),
                path: run.root().to_path_buf(),
            });
        }
        let lock = run.hold()?;
        let fingerprint = Fingerprint::of(&folder, &recipe.data.path);
        let checkpoint = Checkpoints::of(&run, fingerprint).newest()?;
        let changed = checkpoint.as_ref().and_then(|checkpoint| {
            let before = checkpoint.images.as_ref()?;
            before.difference(&fingerprint)
        });
        let done = checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.state.epochs_done());
        let mut history = History::load(run.metrics())?;
        history.truncate(done.unwrap_or(0));
        let training = Self {
            recipe,
            folder,
            devices,
            run,
            checkpoint,
            history,
            wait: DataWait::default(),
            fingerprint,
            _lock: lock,
        };
        Ok((training, changed))
    }

    /// Writes down the recipe with which the run goes on.
    fn begin_again(self) -> Result<Self, TrainError> {
        self.run.begin(&saved(&self.recipe), &self.folder.classes)?;
        Ok(self)
    }

    /// The run to resume where no folder is given: the newest one of this name.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoRun`] if there is none.
    pub fn newest_run(name: &str) -> Result<RunDir, TrainError> {
        RunDir::latest(RUNS, name).ok_or_else(|| TrainError::NoRun {
            path: Path::new(RUNS).join(format!("{name}-<n>")),
        })
    }

    /// What the run is about to do.
    ///
    /// # Errors
    ///
    /// A [`DataError`](burn_image_folder::DataError) for images that cannot be loaded.
    pub fn plan(&self) -> Result<Plan<C>, TrainError> {
        let state = self.state();
        let cost = self.cost(&self.recipe.model);
        let baseline = self.recipe.model.baseline();
        let steps = self.train_loader()?.num_batches();
        let schedule = self.recipe.rates(steps);
        let updates = steps.div_ceil(self.recipe.accumulate) * self.recipe.epochs;
        let highest = (0..updates)
            .map(|step| schedule.lr(step))
            .fold(0.0, f64::max);
        Ok(Plan {
            model: self.recipe.model.clone(),
            classes: self.folder.classes.len(),
            init: self.recipe.init.clone(),
            cost,
            baseline: baseline.and_then(|baseline| self.cost(&baseline.config)),
            images: [self.folder.train.len(), self.folder.val.len()],
            steps,
            epochs: [state.epoch, self.recipe.epochs],
            step: state.batch,
            updates,
            lr: [
                schedule.lr(0),
                highest,
                schedule.lr(updates.saturating_sub(1)),
            ],
            memory: cost.map(|cost| self.recipe.memory(&cost)),
            devices: self.recipe.device.resolved()?,
            run: self.run.clone(),
        })
    }

    /// The largest batch, of those not larger than the recipe's, that takes at most `bytes` of memory
    /// by the rule of thumb of [`Plan::memory`]; 0 if not even one image fits. None where the cost of
    /// the network is not known.
    pub fn batch_size_within(&self, bytes: u64) -> Option<usize> {
        let cost = self.cost(&self.recipe.model)?;
        Some(self.recipe.batch_size_within(&cost, bytes))
    }

    /// The cost of a network for an image to train on.
    fn cost(&self, model: &C) -> Option<Cost> {
        let size = [self.recipe.data.train.size; 2];
        model.cost(self.folder.classes.len(), size)
    }

    /// The clock of how long the epoch at hand has waited for images.
    pub fn wait(&self) -> DataWait {
        self.wait.clone()
    }

    /// Trains until the last epoch, an error, or a stop through `interrupter`.
    ///
    /// `renderer` shows the progress, such as [`PlainProgress`](crate::PlainProgress).
    ///
    /// # Errors
    ///
    /// [`TrainError::NotFinite`], [`TrainError::OutOfMemory`], [`TrainError::Io`] where the disk
    /// is full, and [`TrainError::Stopped`] for whatever else stopped it. A stop through
    /// `interrupter` is none: it saves the run as it is.
    pub fn run(
        self,
        renderer: Box<dyn MetricsRenderer>,
        interrupter: Interrupter,
    ) -> Result<Outcome, TrainError> {
        let train = self.train_loader()?;
        let val = self.val_loader()?;
        let skipped = [train.report(), val.report()];
        let outcome = |history: &History, state: &RunState| Outcome {
            run: self.run.clone(),
            epochs: [state.epochs_done(), self.recipe.epochs],
            step: state.batch,
            best: history.best().copied(),
            skipped: skipped.iter().map(SkipReport::count).sum(),
        };
        let state = self.state();
        if state.epochs_done() >= self.recipe.epochs || interrupter.should_stop() {
            return Ok(outcome(&self.history, &state));
        }

        let (loss, top1) = (LossMetric::new(), AccuracyMetric::new());
        // With fewer than five classes, the first five are all of them.
        let top5 = TopKAccuracyMetric::new(self.folder.classes.len().min(5));
        let journal = Journal::new(self.wait());
        let images = self.folder.train.clone();
        let settings = Settings {
            recipe: self.recipe.clone(),
            devices: self.devices.clone(),
            journal: journal.clone(),
            checkpoints: Checkpoints::of(&self.run, self.fingerprint),
            path: Box::new(move |image| images.path(image)),
            metrics: [loss.name(), top1.name(), top5.name()].map(|name| name.to_string()),
        };
        let session = self.session(train.num_batches())?;
        // Burn wants the parts of a run, though the session has its own.
        let learner = Learner::new(
            Trainee {},
            session.optimizer.clone(),
            session.schedule.clone(),
        );
        let steps = StepLoop::new(settings, session);
        let images: Arc<dyn DataLoader<ImageBatch>> = Arc::new(train);
        let images = TrainLoader::new(images, self.recipe.label_smoothing).with_wait(self.wait());
        let mut training =
            SupervisedTraining::new(self.run.root(), Arc::new(images), Arc::new(val))
                .metrics((loss, top1, top5))
                .metric_train_numeric(LearningRateMetric::new())
                .metric_train_numeric(SpeedMetric::images(self.wait()))
                .metric_train_numeric(SpeedMetric::wait(self.wait()))
                .with_metric_logger(journal.clone())
                .with_progress_logger(journal)
                .with_application_logger(None)
                .with_interrupter(interrupter)
                .with_training_strategy(TrainingStrategy::Custom(steps.clone()))
                .renderer(renderer)
                .num_epochs(self.recipe.epochs);
        if state.epochs_done() > 0 {
            training = training.checkpoint(state.epochs_done());
        }
        let result = training.launch(learner);
        // The loop's own error says more than what it made of Burn's.
        let session = steps.outcome()?;
        self.run.check_there()?;
        match result.error {
            Some(error) => Err(TrainError::stopped(error)),
            None => Ok(outcome(&session.history, &session.state)),
        }
    }

    /// Where the run begins.
    fn state(&self) -> RunState {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(RunState::start, |checkpoint| checkpoint.state.clone())
    }

    /// The run as it begins, for epochs of `batches` batches.
    fn session(&self, batches: usize) -> Result<Session<C::Network>, TrainError> {
        let recipe = &self.recipe;
        let classes = self.folder.classes.len();
        let device = self.devices[0].clone().autodiff();
        // Resumed, the weights come from the run; where it started from may be gone.
        let model = match &self.checkpoint {
            Some(_) => random(recipe, classes, &device)?,
            None => first(recipe, classes, &device)?,
        };
        let mut model = session::freeze(model, &recipe.freeze);
        let mut optimizer = session::optimizer(recipe, &model);
        let mut average = recipe.ema.is_some().then(|| model.valid());
        if let Some(checkpoint) = &self.checkpoint {
            model = checkpoint.model(model)?;
            optimizer = checkpoint.optimizer(optimizer)?;
            if let Some(weights) = average {
                average = Some(checkpoint.average(weights)?);
            }
        }
        let state = self.state();
        let rates = recipe.rates(batches);
        Ok(Session {
            schedule: session::schedule(recipe, &model, rates, state.update),
            ema: recipe
                .ema
                .zip(average)
                .map(|(decay, model)| Ema::new(decay, model)),
            history: self.history.clone(),
            not_finite: 0,
            model,
            optimizer,
            state,
        })
    }

    fn train_loader(&self) -> Result<ImageLoader, TrainError> {
        let batch_size = self.recipe.data.batch_size;
        self.loader(
            &self.folder.train,
            Transform::Train(self.recipe.data.train.clone()),
            LoaderConfig {
                shuffle: Some(self.recipe.seed),
                sampling: self.recipe.data.sampling,
                // A short batch would weigh its images more and disturb the batch statistics; but
                // a folder smaller than one batch has no other.
                drop_last: self.folder.train.len() >= batch_size,
                start: self.state().in_data(),
                ..self.recipe.data.loader()
            },
        )
    }

    fn val_loader(&self) -> Result<ImageLoader, TrainError> {
        let transform = Transform::Eval(self.recipe.data.val.clone());
        self.loader(&self.folder.val, transform, self.recipe.data.loader())
    }

    fn loader(
        &self,
        images: &ImageList,
        transform: Transform,
        config: LoaderConfig,
    ) -> Result<ImageLoader, TrainError> {
        let dataset = ImageDataset::new(images.clone(), transform, self.recipe.seed)?
            .with_max_megapixels(self.recipe.data.max_megapixels);
        let normalize = self.recipe.data.normalize.clone();
        Ok(ImageLoader::new(
            dataset,
            normalize,
            config,
            &self.devices[0],
        )?)
    }
}

/// The images and the devices of a recipe.
fn open<C: Classifier>(recipe: &Recipe<C>) -> Result<(ImageFolder, Vec<Device>), TrainError> {
    let folder = recipe.data.open(recipe.seed)?;
    let devices = recipe.device.open()?;
    if !recipe.precision.is_supported(&devices) {
        return Err(TrainError::Precision {
            precision: recipe.precision,
            devices: recipe.device.clone(),
        });
    }
    Ok((folder, devices))
}

/// The recipe as it is saved: without the folder, so that it can be used for another run.
fn saved<C: Classifier>(recipe: &Recipe<C>) -> String {
    let recipe = Recipe {
        output: None,
        ..recipe.clone()
    };
    recipe.to_json()
}

/// The network with its first weights, which follow from the recipe's seed.
fn random<C: Classifier>(
    recipe: &Recipe<C>,
    classes: usize,
    device: &Device,
) -> Result<C::Network, TrainError> {
    device.seed(recipe.seed);
    Ok(weights::number(recipe.model.init(classes, device)?))
}

/// The network with its first weights: those of a checkpoint, if the recipe names one. A new
/// classifier follows from the seed.
fn first<C: Classifier>(
    recipe: &Recipe<C>,
    classes: usize,
    device: &Device,
) -> Result<C::Network, TrainError> {
    let Some(path) = &recipe.init else {
        return random(recipe, classes, device);
    };
    device.seed(recipe.seed);
    let network = recipe.model.init_from(path, classes, device)?;
    Ok(weights::number(network))
}
