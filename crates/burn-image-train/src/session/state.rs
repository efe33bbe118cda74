use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::loss_scale::LossScale;
use crate::exact::Exact;

/// The state of a run beside its weights: how far it has come, and the sums of the epoch at hand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Updates of the weights so far.
    pub(crate) update: usize,
    /// The epoch at hand, from 1.
    pub(crate) epoch: usize,
    /// Batches of this epoch that were trained on.
    pub(crate) batch: usize,
    /// Images of this epoch, in its order, that come before the next batch, readable or not.
    pub(crate) image: usize,
    /// Whether this epoch's training is done, and only its validation is not.
    pub(crate) trained: bool,
    /// What the loss is multiplied by where gradients are 16-bit floats.
    #[serde(default)]
    pub(crate) scale: LossScale,
    /// What the epoch's row is made of.
    pub(crate) sums: Sums,
}

impl RunState {
    /// Before the first step.
    pub(crate) fn start() -> Self {
        Self {
            epoch: 1,
            ..Self::default()
        }
    }

    /// At the start of the next epoch.
    pub(crate) fn next_epoch(&self) -> Self {
        Self {
            update: self.update,
            epoch: self.epoch + 1,
            scale: self.scale.clone(),
            ..Self::default()
        }
    }

    /// Where the next batch of training images starts.
    pub(crate) fn in_data(&self) -> burn_image_folder::Position {
        match self.trained {
            true => burn_image_folder::Position::start_of(self.epoch as u64 + 1),
            false => burn_image_folder::Position {
                epoch: self.epoch as u64,
                image: self.image,
            },
        }
    }

    /// Checks that a run can have come so far: what is counted on from here must not overflow.
    ///
    /// # Errors
    ///
    /// The name of a number, the number, and what it can be.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.epoch == 0 {
            return Err("`epoch` is 0: the first is 1".into());
        }
        let counts = [
            ("update", self.update),
            ("epoch", self.epoch),
            ("batch", self.batch),
            ("image", self.image),
            ("scale.batches", self.scale.batches()),
            ("sums.images", self.sums.images),
        ];
        let metrics = self.sums.metrics.values();
        let metrics = metrics.map(|&(_, images)| ("sums.metrics", images));
        let is_small = |count| u32::try_from(count).is_ok();
        match counts
            .into_iter()
            .chain(metrics)
            .find(|&(_, count)| !is_small(count))
        {
            Some((name, count)) => Err(format!("`{name}` is {count}: at most {}", u32::MAX)),
            None => Ok(()),
        }
    }

    /// Whole epochs.
    pub(crate) fn epochs_done(&self) -> usize {
        self.epoch - 1
    }
}

/// Sums over the training images of an epoch so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// Of each metric by name: the sum and the number of images.
    pub(crate) metrics: BTreeMap<String, (Exact, usize)>,
    /// Learning rate of the last update.
    pub(crate) lr: Exact,
    /// Images trained on.
    pub(crate) images: usize,
    /// Seconds since the start of the epoch, of all parts of a resumed one.
    pub(crate) seconds: Exact,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_no_run_comes_to_is_named() {
        assert_eq!(RunState::start().check(), Ok(()));
        let mut state = RunState::default();
        assert_eq!(state.check().unwrap_err(), "`epoch` is 0: the first is 1");
        state.epoch = usize::MAX;
        let error = state.check().unwrap_err();
        assert_eq!(error, "`epoch` is 18446744073709551615: at most 4294967295");
        state = RunState::start();
        let sum = (Exact(1.0), usize::MAX);
        state.sums.metrics.insert("Loss".into(), sum);
        assert!(state.check().unwrap_err().starts_with("`sums.metrics` is "));
    }

    #[test]
    fn a_run_stopped_in_its_validation_goes_on_with_the_next_epochs_images() {
        let mut state = RunState {
            epoch: 3,
            image: 40,
            ..RunState::start()
        };
        assert_eq!((state.in_data().epoch, state.in_data().image), (3, 40));
        state.trained = true;
        assert_eq!((state.in_data().epoch, state.in_data().image), (4, 0));
    }
}
