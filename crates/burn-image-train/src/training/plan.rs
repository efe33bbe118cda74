use std::path::PathBuf;

use super::Training;
use crate::{
    classifier::{Classifier, Cost},
    device::Devices,
    error::TrainError,
    run_dir::RunDir,
};

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

impl<C: Classifier> Training<C> {
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
}
