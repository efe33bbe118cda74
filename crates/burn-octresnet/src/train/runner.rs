use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use burn::{
    data::dataloader::DataLoader,
    lr_scheduler::LrSchedulerRecord,
    optim::OptimizerRecord,
    tensor::Device,
    train::{
        Interrupter, Learner, SupervisedTraining, TrainingError,
        checkpoint::FileCheckpointer,
        metric::{AccuracyMetric, LearningRateMetric, LossMetric, Metric, TopKAccuracyMetric},
        renderer::MetricsRenderer,
    },
};
use burn_octconv::Cost;

use super::{
    DeviceName, EpochRow, History, Recipe, RunDir, TrainError, TrainLoader,
    checkpoint::{EveryEpoch, WeightsCheckpointer, lock},
    error::first_line,
    journal::Journal,
};
use crate::{
    data::{
        ImageBatch, ImageDataset, ImageFolder, ImageList, ImageLoader, LoaderConfig, SkipReport,
        Transform,
    },
    model::{OctResNet, OctResNetConfig},
};

/// Where runs go that are given no folder.
const RUNS: &str = "runs";

/// A run that is ready to go: everything it needs has been checked and opened.
#[derive(Debug)]
pub struct Training {
    recipe: Recipe,
    folder: ImageFolder,
    device: Device,
    run: RunDir,
    /// The epoch to go on from, if any.
    checkpoint: Option<usize>,
    history: History,
}

/// What a run is about to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The network.
    pub model: OctResNetConfig,
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
    /// The device.
    pub device: DeviceName,
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
        let device = recipe.device.open()?;
        let run = match given {
            Some(run) => run,
            None => RunDir::numbered(RUNS, name)?,
        };
        run.begin(&saved(&recipe), &folder.classes)?;
        Ok(Self {
            recipe,
            folder,
            device,
            run,
            checkpoint: None,
            history: History::default(),
        })
    }

    /// Prepares to go on with a run, from its last whole epoch.
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
        let device = recipe.device.open()?;
        let checkpoint = newest_checkpoint(&run, &recipe, folder.classes.len(), &device)?;
        let mut history = History::load(run.metrics())?;
        history.truncate(checkpoint.unwrap_or(0));
        run.begin(&saved(&recipe), &folder.classes)?;
        Ok(Self {
            recipe,
            folder,
            device,
            run,
            checkpoint,
            history,
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
        Ok(Plan {
            cost: model.cost(size)?,
            vanilla: model.vanilla().cost(size)?,
            model,
            images: [self.folder.train.len(), self.folder.val.len()],
            steps: self.train_loader()?.num_batches(),
            epochs: [self.checkpoint.unwrap_or(0) + 1, self.recipe.epochs],
            device: self.recipe.device.resolved()?,
            run: self.run.clone(),
        })
    }

    /// Trains until the last epoch, an error, or a stop through `interrupter`.
    ///
    /// `renderer` shows the progress, such as [`PlainProgress`](super::PlainProgress).
    ///
    /// # Errors
    ///
    /// [`TrainError::Stopped`] with what stopped it. A stop through `interrupter` is none.
    ///
    /// # Panics
    ///
    /// Burn panics if the device fails in the middle of a computation.
    pub fn run(
        self,
        renderer: Box<dyn MetricsRenderer>,
        interrupter: Interrupter,
    ) -> Result<Outcome, TrainError> {
        let train = self.train_loader()?;
        let val = self.val_loader()?;
        let skipped = [train.report(), val.report()];
        let history = Arc::new(Mutex::new(self.history.clone()));
        let outcome = |history: &History| Outcome {
            run: self.run.clone(),
            epochs: [
                history.rows().last().map_or(0, |row| row.epoch),
                self.recipe.epochs,
            ],
            best: history.best().copied(),
            skipped: skipped.iter().map(SkipReport::count).sum(),
        };
        if self.checkpoint.unwrap_or(0) >= self.recipe.epochs || interrupter.should_stop() {
            return Ok(outcome(&self.history));
        }

        let classes = self.folder.classes.len();
        let (loss, top1) = (LossMetric::new(), AccuracyMetric::new());
        // With fewer than five classes, the first five are all of them.
        let top5 = TopKAccuracyMetric::new(classes.min(5));
        let journal = Journal::default();
        let strategy = EveryEpoch {
            run: self.run.clone(),
            journal: journal.clone(),
            history: history.clone(),
            interrupter: interrupter.clone(),
            metrics: [loss.name(), top1.name(), top5.name()].map(|name| name.to_string()),
            saved: self.run.checkpoint_epochs().into_iter().collect(),
        };
        let weights = WeightsCheckpointer {
            run: self.run.clone(),
            history: history.clone(),
        };
        let checkpoints = self.run.checkpoints();
        let schedule = self.recipe.schedule.over(
            self.recipe.optimizer.lr(),
            train.num_batches(),
            self.recipe.epochs,
        );
        let images: Arc<dyn DataLoader<ImageBatch>> = Arc::new(train);
        let images = TrainLoader::new(images, self.recipe.label_smoothing);
        let mut training =
            SupervisedTraining::new(self.run.root(), Arc::new(images), Arc::new(val))
                .metrics((loss, top1, top5))
                .metric_train_numeric(LearningRateMetric::new())
                .with_metric_logger(journal.clone())
                .with_progress_logger(journal)
                .with_checkpointing_strategy(strategy)
                .with_custom_checkpointers(
                    weights,
                    FileCheckpointer::new(&checkpoints, "optim"),
                    FileCheckpointer::new(&checkpoints, "scheduler"),
                )
                .with_application_logger(None)
                .with_interrupter(interrupter)
                .renderer(renderer)
                .num_epochs(self.recipe.epochs);
        if let Some(epoch) = self.checkpoint {
            training = training.checkpoint(epoch);
        }
        let model = init(&self.recipe, classes, &self.device.clone().autodiff())?;
        let learner = Learner::new(model, self.recipe.optimizer.init(), schedule);
        let result = training.launch(learner);
        match result.error {
            Some(error) => Err(TrainError::Stopped(explain(&error))),
            None => Ok(outcome(&lock(&history))),
        }
    }

    fn train_loader(&self) -> Result<ImageLoader, TrainError> {
        let batch_size = self.recipe.data.batch_size;
        self.loader(
            &self.folder.train,
            Transform::Train(self.recipe.data.train.clone()),
            LoaderConfig {
                shuffle: Some(self.recipe.seed),
                // A short batch would weigh its images more and disturb the batch statistics; but
                // a folder smaller than one batch has no other.
                drop_last: self.folder.train.len() >= batch_size,
                start_epoch: self.checkpoint.unwrap_or(0) as u64 + 1,
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
        let dataset = ImageDataset::new(images.clone(), transform, self.recipe.seed)?;
        let normalize = self.recipe.data.normalize.clone();
        Ok(ImageLoader::new(dataset, normalize, config, &self.device)?)
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
    Ok(recipe.model.config(classes).init(device)?)
}

/// The newest epoch whose checkpoint can be loaded; damaged ones are logged.
fn newest_checkpoint(
    run: &RunDir,
    recipe: &Recipe,
    classes: usize,
    device: &Device,
) -> Result<Option<usize>, TrainError> {
    let mut failure = None;
    for epoch in run.checkpoint_epochs().into_iter().rev() {
        match try_checkpoint(run.checkpoint(epoch), recipe, classes, device) {
            Ok(()) => return Ok(Some(epoch)),
            Err(error) => {
                log::warn!("leaving out the checkpoint of epoch {epoch}: {error}");
                failure = failure.or(Some(error));
            }
        }
    }
    failure.map_or(Ok(None), Err)
}

fn try_checkpoint(
    [weights, optimizer, scheduler]: [PathBuf; 3],
    recipe: &Recipe,
    classes: usize,
    device: &Device,
) -> Result<(), TrainError> {
    let model = init(recipe, classes, device)?;
    super::trained::load_weights(model, &weights)?;
    let check = |path: PathBuf, loaded: Result<(), burn::store::RecordError>| {
        loaded.map_err(|error| TrainError::Weights {
            path,
            message: first_line(&error.to_string()),
        })
    };
    let loaded = OptimizerRecord::load(&optimizer).map(drop);
    check(optimizer, loaded)?;
    let loaded = LrSchedulerRecord::load(&scheduler).map(drop);
    check(scheduler, loaded)
}

/// The cause of a stop, without the names of the layers it passed through.
fn explain(error: &TrainingError) -> String {
    match error {
        TrainingError::Dataset(error) => first_line(&error.to_string()),
        error => first_line(&error.to_string()),
    }
}
