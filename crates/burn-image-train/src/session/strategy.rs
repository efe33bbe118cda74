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

use super::{contain::contain, ema::Ema, gradients::Gradients, state::RunState, team::Team};
use crate::{
    batch::Trainee,
    checkpoint::{Checkpoints, Parts},
    classifier::Classifier,
    error::TrainError,
    history::History,
    journal::Journal,
    listener::Listener,
    recipe::Recipe,
    tensors::host,
};

type Processor = SupervisedTrainingEventProcessor<Trainee>;

/// What stays the same during a run.
pub(crate) struct Settings<C> {
    pub(crate) recipe: Recipe<C>,
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
pub(crate) struct Session<M> {
    pub(crate) model: M,
    pub(crate) optimizer: ModuleOptimizer,
    pub(crate) schedule: ModuleLrScheduler,
    pub(crate) ema: Option<Ema<M>>,
    pub(crate) state: RunState,
    pub(crate) history: History,
    /// Batches that were left out since their loss was no number.
    pub(crate) not_finite: usize,
    /// Who is told what happens, if anybody is.
    pub(crate) listener: Option<Box<dyn Listener>>,
}

/// The training loop, as Burn takes it.
pub(crate) struct StepLoop<C: Classifier> {
    settings: Settings<C>,
    /// Taken while the loop runs, and put back with what came out.
    session: Mutex<Option<Session<C::Network>>>,
    fault: Mutex<Option<TrainError>>,
}

impl<C: Classifier> StepLoop<C> {
    pub(crate) fn new(settings: Settings<C>, session: Session<C::Network>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            session: Mutex::new(Some(session)),
            fault: Mutex::new(None),
        })
    }

    /// How far the run has come, or what stopped it.
    pub(crate) fn outcome(&self) -> Result<Session<C::Network>, TrainError> {
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

impl<C: Classifier> SupervisedLearningStrategy<Trainee> for StepLoop<C> {
    fn fit(
        &self,
        components: TrainingComponents<Trainee>,
        learner: Learner<Trainee>,
        train: TrainLoader<Trainee>,
        valid: ValidLoader<Trainee>,
        _starting_epoch: usize,
    ) -> (Trainee, Processor) {
        let session = self
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(session) = session else {
            return (learner.model(), components.event_processor);
        };
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
            losses: Vec::new(),
            last_fault: None,
        };
        let batch_size = self.settings.recipe.data.batch_size;
        let epochs = components.num_epochs;
        if let Err(fault) = contain(batch_size, || run.epochs(&train, &valid, epochs)) {
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            run.interrupter.stop(Some("a fault"));
        }
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.session);
        (learner.model(), run.processor)
    }
}

/// A run under way.
pub(super) struct Run<'a, C: Classifier> {
    pub(super) settings: &'a Settings<C>,
    pub(super) session: Session<C::Network>,
    pub(super) processor: Processor,
    store: Arc<EventStoreClient>,
    pub(super) interrupter: Interrupter,
    pub(super) team: Team<C>,
    pub(super) gradients: Gradients<C>,
    pub(super) rate: ModuleLearningRate,
    /// Of the images since the last update.
    pub(super) losses: Vec<f32>,
    /// Of the last batch that was left out.
    pub(super) last_fault: Option<TrainError>,
}

impl<C: Classifier> Run<'_, C> {
    /// Trains until the last epoch, or until the interrupter says stop; then saves.
    fn epochs(
        &mut self,
        train: &TrainLoader<Trainee>,
        valid: &ValidLoader<Trainee>,
        epochs: usize,
    ) -> Result<(), TrainError> {
        self.settings.journal.restore(&self.session.state);
        while self.session.state.epoch <= epochs {
            if !self.session.state.trained {
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
        let epoch = self.session.state.epoch;
        self.store
            .find_metric("", epoch, Aggregate::Mean, &Split::Train);
        self.error()
    }

    /// Saves the run as it is, to go on from here.
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        self.settle()?;
        self.session.state.sums = self.settings.journal.sums();
        let session = &mut self.session;
        if !is_finite(&session.model)? {
            // The checkpoints that there are, are better than this one.
            return Err(TrainError::WeightsNotFinite {
                epoch: session.state.epoch,
                batch: session.state.batch,
            });
        }
        if let Some(listener) = &mut session.listener {
            listener.saving();
        }
        self.settings.checkpoints.save(
            &session.state,
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
        let epoch = session.state.epoch;
        let row = self.settings.journal.row(epoch, names);
        session.history.push(row);
        if let Some(listener) = &mut session.listener {
            listener.epoch(&row, session.state.update);
        }
        let best = session.history.best().map(|row| row.epoch) == Some(epoch);
        let weights = match &session.ema {
            Some(ema) => ema.model().clone(),
            None => session.model.valid(),
        };
        self.settings
            .checkpoints
            .end_epoch(&session.history, &weights, best)?;
        session.state = session.state.next_epoch();
        self.settings.journal.restore(&session.state);
        self.save()
    }
}

/// Whether all weights are numbers.
fn is_finite(model: &impl Module) -> Result<bool, TrainError> {
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
