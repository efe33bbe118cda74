use std::sync::Arc;

use burn::{
    data::dataloader::DataLoader,
    module::Module,
    train::{
        Interrupter, Learner, SupervisedTraining, TrainingStrategy,
        metric::{AccuracyMetric, LearningRateMetric, LossMetric, Metric, TopKAccuracyMetric},
        renderer::MetricsRenderer,
    },
};
use burn_image_folder::{ImageBatch, SkipReport};

use super::{
    Training,
    first::{first, random},
};
#[cfg(feature = "tensorboard")]
use crate::tensorboard::TensorBoard;
use crate::{
    batch::{TrainLoader, Trainee},
    checkpoint::Checkpoints,
    classifier::Classifier,
    error::TrainError,
    history::{EpochRow, History},
    journal::Journal,
    listener::Listener,
    run_dir::RunDir,
    session::{self, Ema, RunState, Session, Settings, StepLoop},
    speed::SpeedMetric,
};

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
            Trainee::on(&self.devices[0]),
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

    /// Who is told what happens.
    fn listener(&self) -> Result<Option<Box<dyn Listener>>, TrainError> {
        #[cfg(feature = "tensorboard")]
        if self.tensorboard {
            let (state, images) = (self.state(), &self.folder.val);
            let board = TensorBoard::open(
                &self.run,
                &state,
                &self.recipe,
                images,
                &self.folder.classes,
            );
            let folder = self.run.tensorboard();
            let board = board.map_err(TrainError::io("write", folder))?;
            return Ok(Some(Box::new(board)));
        }
        Ok(None)
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
            listener: self.listener()?,
            model,
            optimizer,
            state,
        })
    }
}
