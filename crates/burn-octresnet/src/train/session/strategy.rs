use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use burn::{
    lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler},
    module::{Module, ModuleVisitor, Param},
    optim::ModuleOptimizer,
    tensor::{Device, Tensor},
    train::{
        Interrupter, Learner, SupervisedLearningStrategy, SupervisedTrainingEventProcessor,
        TrainLoader, TrainingComponents, ValidLoader,
        metric::store::{Aggregate, EventStoreClient, Split},
    },
};

use super::{Ema, Position, contain::contain, gradients::Gradients, team::Team};
use crate::{
    model::OctResNet,
    train::{
        History, Recipe, TrainError,
        checkpoint::{Checkpoints, Parts},
        evaluate::host,
        journal::Journal,
    },
};

type Processor = SupervisedTrainingEventProcessor<OctResNet>;

/// What stays the same during a run.
pub(crate) struct Settings {
    pub(crate) recipe: Recipe,
    /// The first keeps the run, and validates.
    pub(crate) devices: Vec<Device>,
    pub(crate) journal: Journal,
    pub(crate) checkpoints: Checkpoints,
    /// The file of an image, by its place in the list of images.
    pub(crate) path: Box<dyn Fn(usize) -> PathBuf + Send + Sync>,
    /// Names of loss, top-1 and top-5.
    pub(crate) metrics: [String; 3],
}

/// What a run changes as it goes.
pub(crate) struct Session {
    pub(crate) model: OctResNet,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) schedule: ModuleLrScheduler,
    pub(crate) ema: Option<Ema>,
    pub(crate) position: Position,
    pub(crate) history: History,
    /// Batches that were left out since their loss was no number.
    pub(crate) not_finite: usize,
}

/// The training loop, as Burn takes it.
pub(crate) struct StepLoop {
    settings: Settings,
    /// Taken while the loop runs, and put back with what came out.
    session: Mutex<Option<Session>>,
    fault: Mutex<Option<TrainError>>,
}

impl StepLoop {
    pub(crate) fn new(settings: Settings, session: Session) -> Arc<Self> {
        Arc::new(Self {
            settings,
            session: Mutex::new(Some(session)),
            fault: Mutex::new(None),
        })
    }

    /// How far the run has come, or what stopped it.
    pub(crate) fn outcome(&self) -> Result<Session, TrainError> {
        let take = |fault: &Mutex<Option<TrainError>>| {
            fault.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        if let Some(fault) = take(&self.fault) {
            return Err(fault);
        }
        let session = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        session.ok_or_else(|| TrainError::Stopped("the training loop did not run".into()))
    }
}

impl SupervisedLearningStrategy<OctResNet> for StepLoop {
    fn fit(
        &self,
        components: TrainingComponents<OctResNet>,
        learner: Learner<OctResNet>,
        train: TrainLoader<OctResNet>,
        valid: ValidLoader<OctResNet>,
        _starting_epoch: usize,
    ) -> (OctResNet, Processor) {
        let session = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(session) = session else {
            return (learner.model(), components.event_processor);
        };
        // What the learner holds is the same network once more.
        drop(learner);
        let devices = self.settings.devices.iter().cloned();
        let devices: Vec<_> = devices.map(Device::autodiff).collect();
        let train = train.to_device(&devices[0]);
        let strategy = self.settings.recipe.strategy;
        let team = Team::new(strategy, &devices[1..], &session.model, &session.optimizer);
        let mut run = Run {
            settings: &self.settings,
            session,
            processor: components.event_processor,
            store: components.event_store,
            interrupter: components.interrupter,
            gradients: Gradients::new(team.size()),
            team,
            rate: ModuleLearningRate::from(0.0),
            last_fault: None,
        };
        let batch_size = self.settings.recipe.data.batch_size;
        let epochs = components.num_epochs;
        if let Err(fault) = contain(batch_size, || run.epochs(&train, &valid, epochs)) {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            run.interrupter.stop(Some("a fault"));
        }
        let model = run.session.model.clone();
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.session);
        (model, run.processor)
    }
}

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) settings: &'a Settings,
    pub(super) session: Session,
    pub(super) processor: Processor,
    store: Arc<EventStoreClient>,
    pub(super) interrupter: Interrupter,
    pub(super) team: Team,
    pub(super) gradients: Gradients,
    pub(super) rate: ModuleLearningRate,
    /// Of the last batch that was left out.
    pub(super) last_fault: Option<TrainError>,
}

impl Run<'_> {
    /// Trains until the last epoch, or until the interrupter says stop; then saves.
    fn epochs(
        &mut self,
        train: &TrainLoader<OctResNet>,
        valid: &ValidLoader<OctResNet>,
        epochs: usize,
    ) -> Result<(), TrainError> {
        self.settings.journal.restore(&self.session.position);
        while self.session.position.epoch <= epochs {
            if !self.session.position.trained {
                self.train_epoch(train)?;
            }
            if !self.interrupter.should_stop() {
                self.validate(valid)?;
            }
            self.error()?;
            if self.interrupter.should_stop() {
                return self.save();
            }
            self.end_epoch()?;
        }
        Ok(())
    }

    /// What Burn's part of the loop failed with, if it did.
    pub(super) fn error(&self) -> Result<(), TrainError> {
        match self.interrupter.error() {
            Some(error) => Err(TrainError::stopped(&*error)),
            None => Ok(()),
        }
    }

    /// Waits until the metrics know all that happened.
    fn settle(&mut self) -> Result<(), TrainError> {
        use burn::train::EventProcessorTraining;

        self.interrupter.fail_on_error(self.processor.flush());
        // The store lives in another thread. Its answer comes after all it was told before.
        let epoch = self.session.position.epoch;
        self.store
            .find_metric("", epoch, Aggregate::Mean, &Split::Train);
        self.error()
    }

    /// Saves the run as it is, to go on from here.
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        self.settle()?;
        self.session.position.sums = self.settings.journal.sums();
        let session = &self.session;
        if !is_finite(&session.model)? {
            // The checkpoints that there are, are better than this one.
            return Err(TrainError::WeightsNotFinite {
                epoch: session.position.epoch,
                batch: session.position.batch,
            });
        }
        self.settings.checkpoints.save(
            &session.position,
            Parts {
                // This also brings the norms' statistics up to date.
                model: session.model.valid(),
                optimizer: &session.optimizer,
                average: session.ema.as_ref().map(Ema::model),
            },
        )
    }

    /// Writes down what came out of an epoch, and the weights if they are the best.
    fn end_epoch(&mut self) -> Result<(), TrainError> {
        self.settle()?;
        let session = &mut self.session;
        let names = self.settings.metrics.each_ref().map(String::as_str);
        let epoch = session.position.epoch;
        session
            .history
            .push(self.settings.journal.row(epoch, names));
        let best = session.history.best().map(|row| row.epoch) == Some(epoch);
        let weights = match &session.ema {
            Some(ema) => ema.model().clone(),
            None => session.model.valid(),
        };
        self.settings
            .checkpoints
            .end_epoch(&session.history, weights, best)?;
        session.position = session.position.next_epoch();
        self.settings.journal.restore(&session.position);
        self.save()
    }
}

/// Whether all weights are numbers.
fn is_finite(model: &OctResNet) -> Result<bool, TrainError> {
    struct Sums(Vec<Tensor<1>>);

    impl ModuleVisitor for Sums {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // Times zero, so that no sum of numbers is too large.
            self.0.push((param.val().without_autodiff() * 0.0).sum());
        }
    }

    let mut sums = Sums(Vec::new());
    model.visit(&mut sums);
    Ok(host(Tensor::cat(sums.0, 0))?
        .iter()
        .all(|sum| sum.is_finite()))
}
