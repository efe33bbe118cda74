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
use burn_octconv::Cost;

use super::{
    DataWait, Devices, EpochRow, History, Recipe, RunDir, TrainError, TrainLoader,
    checkpoint::{Checkpoint, Checkpoints},
    journal::Journal,
    session::{self, Ema, Position, Session, Settings, StepLoop},
    speed::SpeedMetric,
    weights,
};
use crate::model::{OctResNet, OctResNetConfig};
use burn_image_folder::{
    ImageBatch, ImageDataset, ImageFolder, ImageList, ImageLoader, LoaderConfig, SkipReport,
    Transform,
};

/// Where runs go that are given no folder.
const RUNS: &str = "runs";

/// A run that is ready to go: everything it needs has been checked and opened.
#[derive(Debug)]
pub struct Training {
    recipe: Recipe,
    folder: ImageFolder,
    devices: Vec<Device>,
    run: RunDir,
    /// What to go on from, if anything.
    checkpoint: Option<Checkpoint>,
    history: History,
    wait: DataWait,
    /// Open as long as no other process may train in the folder.
    _lock: File,
}

/// What a run is about to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The network.
    pub model: OctResNetConfig,
    /// Where its first weights come from, if they are not random.
    pub init: Option<PathBuf>,
    /// Its cost per image.
    pub cost: Cost,
    /// Cost per image of the same network with α = 0.
    pub vanilla: Cost,
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
    /// Bytes that training takes on the device, as a rule of thumb.
    pub memory: u64,
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

impl Training {
    /// Prepares a new run. `name` is that of the folder where the recipe names none.
    ///
    /// The folder is made last, when nothing else can fail any more.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the recipe, the images, the device or the output folder.
    pub fn start(recipe: Recipe, name: &str) -> Result<Self, TrainError> {
        recipe.validate()?;
        let given = recipe.output.clone().map(RunDir::at);
        if let Some(run) = given.as_ref().filter(|run| run.holds_run()) {
            return Err(TrainError::RunExists {
                path: run.root().to_path_buf(),
            });
        }
        let folder = recipe.data.open(recipe.seed)?;
        let devices = recipe.device.open()?;
        recipe.precision.check(&devices, &recipe.device)?;
        if recipe.init.is_some() {
            first(&recipe, folder.classes.len(), &devices[0])?;
        }
        let run = match given {
            Some(run) => run,
            None => RunDir::numbered(RUNS, name)?,
        };
        run.begin(&saved(&recipe), &folder.classes)?;
        Ok(Self {
            _lock: run.hold()?,
            recipe,
            folder,
            devices,
            run,
            checkpoint: None,
            history: History::default(),
            wait: DataWait::default(),
        })
    }

    /// Prepares to go on with a run, from its newest checkpoint that is whole.
    ///
    /// `recipe` may differ from the run's in how long, where and with how many threads it goes
    /// on; nothing else, or it would be another run.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the recipe, the images, the device or the run's folder.
    pub fn resume(recipe: Recipe, run: RunDir) -> Result<Self, TrainError> {
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
        let folder = recipe.data.open(recipe.seed)?;
        if folder.classes != run.read_classes()? {
            return Err(TrainError::ClassesChanged {
                data: recipe.data.path.clone(),
                path: run.root().to_path_buf(),
            });
        }
        let devices = recipe.device.open()?;
        recipe.precision.check(&devices, &recipe.device)?;
        let lock = run.hold()?;
        let checkpoint = Checkpoints::of(&run).newest()?;
        let done = checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.position.epochs_done());
        let mut history = History::load(run.metrics())?;
        history.truncate(done.unwrap_or(0));
        run.begin(&saved(&recipe), &folder.classes)?;
        Ok(Self {
            recipe,
            folder,
            devices,
            run,
            checkpoint,
            history,
            wait: DataWait::default(),
            _lock: lock,
        })
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
    /// A [`ModelError`](crate::model::ModelError) for an illegal network.
    pub fn plan(&self) -> Result<Plan, TrainError> {
        let model = self.recipe.model.config(self.folder.classes.len());
        let size = [self.recipe.data.train.size; 2];
        let position = self.position();
        let cost = model.cost(size)?;
        let steps = self.train_loader()?.num_batches();
        let schedule = self.recipe.rates(steps);
        let updates = steps.div_ceil(self.recipe.accumulate) * self.recipe.epochs;
        let highest = (0..updates)
            .map(|step| schedule.lr(step))
            .fold(0.0, f64::max);
        Ok(Plan {
            cost,
            updates,
            lr: [
                schedule.lr(0),
                highest,
                schedule.lr(updates.saturating_sub(1)),
            ],
            memory: self.recipe.memory(&cost),
            vanilla: model.vanilla().cost(size)?,
            model,
            init: self.recipe.init.clone(),
            images: [self.folder.train.len(), self.folder.val.len()],
            steps,
            epochs: [position.epoch, self.recipe.epochs],
            step: position.batch,
            devices: self.recipe.device.resolved()?,
            run: self.run.clone(),
        })
    }

    /// The largest batch, of those not larger than the recipe's, that takes at most `bytes` of memory
    /// by the rule of thumb of [`Plan::memory`]; 0 if not even one image fits.
    ///
    /// # Errors
    ///
    /// A [`ModelError`](crate::model::ModelError) for an illegal network.
    pub fn batch_size_within(&self, bytes: u64) -> Result<usize, TrainError> {
        let model = self.recipe.model.config(self.folder.classes.len());
        let cost = model.cost([self.recipe.data.train.size; 2])?;
        Ok(self.recipe.batch_size_within(&cost, bytes))
    }

    /// The clock of how long the epoch at hand has waited for images.
    pub fn wait(&self) -> DataWait {
        self.wait.clone()
    }

    /// Trains until the last epoch, an error, or a stop through `interrupter`.
    ///
    /// `renderer` shows the progress, such as [`PlainProgress`](super::PlainProgress).
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
        let outcome = |history: &History, position: &Position| Outcome {
            run: self.run.clone(),
            epochs: [position.epochs_done(), self.recipe.epochs],
            step: position.batch,
            best: history.best().copied(),
            skipped: skipped.iter().map(SkipReport::count).sum(),
        };
        let position = self.position();
        if position.epochs_done() >= self.recipe.epochs || interrupter.should_stop() {
            return Ok(outcome(&self.history, &position));
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
            checkpoints: Checkpoints::of(&self.run),
            path: Box::new(move |image| images.path(image)),
            metrics: [loss.name(), top1.name(), top5.name()].map(|name| name.to_string()),
        };
        let session = self.session(train.num_batches())?;
        // Burn wants the parts of a run, though the loop has its own.
        let learner = Learner::new(
            session.model.clone(),
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
        if position.epochs_done() > 0 {
            training = training.checkpoint(position.epochs_done());
        }
        let result = training.launch(learner);
        // The loop's own error says more than what it made of Burn's.
        let session = steps.outcome()?;
        match result.error {
            Some(error) => Err(TrainError::stopped(error)),
            None => Ok(outcome(&session.history, &session.position)),
        }
    }

    /// Where the run begins.
    fn position(&self) -> Position {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(Position::start, |checkpoint| checkpoint.position.clone())
    }

    /// The run as it begins, for epochs of `batches` batches.
    fn session(&self, batches: usize) -> Result<Session, TrainError> {
        let recipe = &self.recipe;
        let classes = self.folder.classes.len();
        let device = self.devices[0].clone().autodiff();
        // Resumed, the weights come from the run; where it started from may be gone.
        let model = match &self.checkpoint {
            Some(_) => init(recipe, classes, &device)?,
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
        let position = self.position();
        let schedule = recipe.rates(batches);
        Ok(Session {
            schedule: session::schedule(recipe, &model, schedule, position.update),
            ema: recipe
                .ema
                .zip(average)
                .map(|(decay, model)| Ema::new(decay, model)),
            history: self.history.clone(),
            not_finite: 0,
            model,
            optimizer,
            position,
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
                start: self.position().in_data(),
                ..self.recipe.loader()
            },
        )
    }

    fn val_loader(&self) -> Result<ImageLoader, TrainError> {
        let transform = Transform::Eval(self.recipe.data.val.clone());
        self.loader(&self.folder.val, transform, self.recipe.loader())
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

/// The recipe as it is saved: without the folder, so that it can be used for another run.
fn saved(recipe: &Recipe) -> String {
    let recipe = Recipe {
        output: None,
        ..recipe.clone()
    };
    recipe.to_json()
}

/// The network with its first weights, which follow from the recipe's seed.
fn init(recipe: &Recipe, classes: usize, device: &Device) -> Result<OctResNet, TrainError> {
    device.seed(recipe.seed);
    Ok(weights::number(recipe.model.config(classes).init(device)?))
}

/// The network with its first weights: those of a checkpoint, if the recipe names one. A new
/// classifier follows from the seed.
fn first(recipe: &Recipe, classes: usize, device: &Device) -> Result<OctResNet, TrainError> {
    let Some(path) = &recipe.init else {
        return init(recipe, classes, device);
    };
    device.seed(recipe.seed);
    let config = recipe.model.config(classes);
    let model = crate::weights::Checkpoint::open(path)?.load_as(&config, device)?;
    Ok(weights::number(model))
}
