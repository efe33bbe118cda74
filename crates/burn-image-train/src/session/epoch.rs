use burn::{
    data::dataloader::Progress,
    module::Module,
    optim::GradientsParams,
    train::{EventProcessorTraining, LearnerEvent, TrainLoader, TrainingItem, ValidLoader},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{half::all_finite, mix::mix, strategy::Run};
use crate::{
    batch::{Classified, TrainBatch, Trainee},
    classifier::Classifier,
    error::TrainError,
    precision::Precision,
    recipe::OnNan,
    tensors::host,
};
use burn_image_folder::ImageBatch;

impl<C: Classifier> Run<'_, C> {
    /// Trains on what is left of the epoch at hand.
    pub(super) fn train_epoch(&mut self, loader: &TrainLoader<Trainee>) -> Result<(), TrainError> {
        let epoch = self.session.state.epoch;
        self.tell(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: loader.num_items(),
        });
        let mut batches = loader.iter();
        let mut in_update = 0;
        let skipped_before = self.session.not_finite;
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(|error| TrainError::stopped(&error))?;
            if in_update == 0 {
                self.rate = self.session.schedule.step();
            }
            self.step(batch, batches.progress())?;
            in_update += 1;
            if in_update == self.settings.recipe.accumulate {
                in_update = 0;
                self.update()?;
                self.settings.checkpoints.check_there()?;
                if self.interrupter.should_stop() {
                    return self.error();
                }
                let every = self.settings.recipe.checkpoint_every;
                if every.is_some_and(|every| self.session.state.update.is_multiple_of(every)) {
                    self.save()?;
                }
            }
        }
        if in_update > 0 {
            self.update()?;
        }
        // An epoch without a good batch would make a run that does nothing look like one that does.
        if let Some(fault) = self.last_fault.take()
            && self.session.not_finite - skipped_before == self.session.state.batch
        {
            return Err(fault);
        }
        self.session.state.trained = true;
        self.tell(LearnerEvent::EndSplit(epoch));
        Ok(())
    }

    fn tell(&mut self, event: LearnerEvent<Classified>) {
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    /// Takes in the gradients of one batch.
    fn step(&mut self, batch: TrainBatch, progress: Progress) -> Result<(), TrainError> {
        let recipe = &self.settings.recipe;
        let state = &self.session.state;
        let number = ((state.epoch as u64) << 32) + state.batch as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(recipe.seed);
        rng.set_stream(number);
        // For what the device draws, such as dropout.
        self.settings.devices[0].seed(rng.next_u64());
        let mut batch = TrainBatch {
            dropout: recipe.dropout,
            ..mix(recipe, batch, &mut rng)
        };
        let scaled = recipe.precision == Precision::F16;
        if scaled {
            batch.loss_scale = state.scale.factor();
        }
        let (indexes, next) = (batch.indexes.clone(), batch.next.image);
        // Also the statistics of the norms, which the step changes as it goes.
        let before = (recipe.on_nan == OnNan::Skip)
            .then(|| (self.session.model.valid(), self.team.snapshot()));
        let (gradients, item) =
            self.team
                .step(&self.session.model, recipe.precision, batch, &mut rng)?;
        let losses = host(item.loss.clone().without_autodiff())?;
        self.session.state.batch += 1;
        self.session.state.image = next;
        if let Some(&loss) = losses.iter().find(|loss| !loss.is_finite()) {
            let fault = self.not_finite(loss, &indexes);
            let Some((model, others)) = before else {
                return Err(fault);
            };
            log::warn!("leaving out a batch: {fault}");
            self.session.not_finite += 1;
            self.session.model = model.train();
            self.team.restore(others);
            self.last_fault = Some(fault);
            return Ok(());
        }
        drop(before);
        if scaled && !self.check_scale(&gradients)? {
            return Ok(());
        }
        self.gradients.add(&self.session.model, gradients);
        self.losses.extend(losses);
        let iteration = Some(self.session.state.batch);
        let rate = Some(self.rate.clone());
        self.tell(LearnerEvent::ProcessedItem(TrainingItem::new(
            item, progress, iteration, rate,
        )));
        Ok(())
    }

    /// Whether a batch's gradients were in the range of the scaled loss; else the next batch's loss
    /// is scaled less.
    fn check_scale(&mut self, gradients: &[GradientsParams]) -> Result<bool, TrainError> {
        let state = &mut self.session.state;
        if all_finite(&self.session.model, gradients)? {
            state.scale.went_well();
            return Ok(true);
        }
        if !state.scale.overflowed() {
            return Err(TrainError::GradientsNotFinite {
                epoch: state.epoch,
                batch: state.batch,
            });
        }
        let (factor, batch) = (state.scale.factor(), state.batch);
        log::debug!("batch {batch} is left out: from here on the loss is scaled by {factor}");
        Ok(false)
    }

    /// Changes the weights by the gradients so far.
    fn update(&mut self) -> Result<(), TrainError> {
        let session = &mut self.session;
        let clip_norm = self.settings.recipe.clip_norm;
        session.state.update += 1;
        let losses = std::mem::take(&mut self.losses);
        let gradients = (self.gradients).take(&session.model, &self.team, clip_norm)?;
        let mut gradients = gradients.into_iter().flatten();
        let Some(own) = gradients.next() else {
            return Ok(());
        };
        let model = session.model.clone();
        let model = session.optimizer.step(self.rate.clone(), model, own);
        session.model = self.team.follow(model, &self.rate, gradients);
        if let Some(ema) = &mut session.ema {
            ema.update(&session.model.valid(), session.state.update);
        }
        if let Some(listener) = &mut session.listener {
            listener.update(session.state.update, &losses, self.rate.base());
        }
        Ok(())
    }

    /// Validates the averaged weights if there are any, or else the weights.
    pub(super) fn validate(&mut self, loader: &ValidLoader<Trainee>) -> Result<(), TrainError> {
        let epoch = self.session.state.epoch;
        let model = match &self.session.ema {
            Some(ema) => ema.model().clone(),
            None => self.session.model.valid(),
        };
        let result = self.processor.process_valid(LearnerEvent::StartSplit {
            epoch_number: epoch,
            total_items: loader.num_items(),
        });
        self.interrupter.fail_on_error(result);
        let mut batches = loader.iter();
        let mut iteration = 0;
        while let Some(batch) = batches.next() {
            let batch: ImageBatch = batch.map_err(|error| TrainError::stopped(&error))?;
            let item = Classified::new(C::logits(&model, batch.images), batch.targets);
            if let Some(listener) = &mut self.session.listener {
                let targets = item.targets.clone().try_into_vec_as::<i64>();
                let targets = targets.map_err(TrainError::stopped)?;
                listener.validated(&batch.indexes, &targets, &host(item.logits.clone())?);
            }
            iteration += 1;
            let item = TrainingItem::new(item, batches.progress(), Some(iteration), None);
            let result = self
                .processor
                .process_valid(LearnerEvent::ProcessedItem(item));
            self.interrupter.fail_on_error(result);
            if self.interrupter.should_stop() {
                // The epoch is validated again when the run goes on.
                return Ok(());
            }
        }
        let result = self.processor.process_valid(LearnerEvent::EndSplit(epoch));
        self.interrupter.fail_on_error(result);
        self.tell(LearnerEvent::EndEpoch(epoch));
        Ok(())
    }

    fn not_finite(&self, loss: f32, indexes: &[usize]) -> TrainError {
        let state = &self.session.state;
        TrainError::NotFinite {
            loss,
            epoch: state.epoch,
            batch: state.batch,
            files: (indexes.iter().map(|&index| (self.settings.path)(index))).collect(),
        }
    }
}
