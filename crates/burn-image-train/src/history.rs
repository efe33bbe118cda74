use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{error::TrainError, files};

/// What came out of one epoch: a row of `metrics.csv`. Accuracies are shares, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss on the training images as augmented, label smoothing included.
    pub train_loss: f64,
    /// Share of training images whose class came first.
    pub train_top1: f64,
    /// Share of training images whose class was among the first five.
    pub train_top5: f64,
    /// Mean loss on the validation images.
    pub val_loss: f64,
    /// Share of validation images whose class came first.
    pub val_top1: f64,
    /// Share of validation images whose class was among the first five.
    pub val_top5: f64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Duration of the epoch, validation included.
    pub seconds: f64,
    /// Training images per second, validation not included.
    pub images_per_second: f64,
    /// Share of the training time spent waiting for images, if it was measured.
    #[serde(default)]
    pub data_wait: Option<f64>,
}

impl EpochRow {
    /// Whether these weights are to be preferred over those of `other`.
    fn beats(&self, other: &Self) -> bool {
        self.val_top1 > other.val_top1
            || (self.val_top1 == other.val_top1 && self.val_loss < other.val_loss)
    }
}

/// The epochs of a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    rows: Vec<EpochRow>,
}

impl History {
    /// Reads `metrics.csv`; a file that does not exist is an empty history.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] and [`TrainError::Damaged`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let text = match files::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(TrainError::io("read", path)(error)),
        };
        let rows = csv::Reader::from_reader(&*text).into_deserialize();
        match rows.collect() {
            Ok(rows) => Ok(Self { rows }),
            Err(error) => Err(TrainError::damaged(path, error)),
        }
    }

    /// Writes `metrics.csv`, and the same as JSON lines beside it, each whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut lines = Vec::new();
        for row in &self.rows {
            writer.serialize(row)?;
            serde_json::to_writer(&mut lines, row)?;
            lines.push(b'\n');
        }
        let text = writer.into_inner().map_err(|error| error.into_error())?;
        files::write(path, &text)?;
        files::write(&path.with_extension("jsonl"), &lines)
    }

    /// Forgets what comes after `epoch`.
    pub(crate) fn truncate(&mut self, epoch: usize) {
        self.rows.retain(|row| row.epoch <= epoch);
    }

    /// Adds an epoch, which replaces it and all later ones.
    pub(crate) fn push(&mut self, row: EpochRow) {
        self.truncate(row.epoch - 1);
        self.rows.push(row);
    }

    /// The epochs, ascending.
    pub fn rows(&self) -> &[EpochRow] {
        &self.rows
    }

    /// The epoch with the highest validation top-1, of equals that with the lowest loss.
    pub fn best(&self) -> Option<&EpochRow> {
        let better = |best, row| match best {
            Some(best) if !EpochRow::beats(row, best) => Some(best),
            _ => Some(row),
        };
        self.rows.iter().fold(None, better)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn row(epoch: usize, val_top1: f64, val_loss: f64) -> EpochRow {
        EpochRow {
            epoch,
            train_loss: 1.0,
            train_top1: 0.5,
            train_top5: 1.0,
            val_loss,
            val_top1,
            val_top5: 1.0,
            lr: 0.1,
            seconds: 2.0,
            images_per_second: 10.0,
            data_wait: Some(0.25),
        }
    }

    #[test]
    fn the_best_epoch_has_the_best_top1_then_the_lowest_loss_then_came_first() {
        let mut history = History::default();
        assert_eq!(history.best(), None);
        let cases = [
            (0.5, 1.0, 1),
            (0.4, 0.5, 1),
            (0.5, 0.9, 3),
            (0.5, 0.9, 3),
            (0.6, 2.0, 5),
        ];
        for (index, (top1, loss, best)) in cases.into_iter().enumerate() {
            history.push(row(index + 1, top1, loss));
            assert_eq!(history.best().unwrap().epoch, best);
        }
    }

    #[test]
    fn a_repeated_epoch_replaces_what_followed_and_files_hold_every_digit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut history = History::load(&path).unwrap();
        for epoch in [1, 2, 3, 2] {
            history.push(row(epoch, 0.1 + 0.2, 1.0 / 3.0));
        }
        history.save(&path).unwrap();
        assert_eq!(History::load(&path).unwrap(), history);
        assert_eq!(history.rows().len(), 2);
        let lines = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let lines = lines.lines().map(serde_json::from_str::<EpochRow>);
        assert_eq!(
            lines.collect::<Result<Vec<_>, _>>().unwrap(),
            history.rows()
        );
        fs::write(&path, "epoch,loss\n1,x\n").unwrap();
        assert!(History::load(&path).is_err());
    }

    #[test]
    fn a_history_from_before_the_data_wait_was_measured_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let text = "epoch,train_loss,train_top1,train_top5,val_loss,val_top1,val_top5,lr,seconds,images_per_second\n\
                    1,2.5,0.1,0.4,2.4,0.2,0.5,0.01,12.5,80.0\n";
        fs::write(&path, text).unwrap();
        let history = History::load(&path).unwrap();
        assert_eq!(history.rows()[0].val_top1, 0.2);
        assert_eq!(history.rows()[0].data_wait, None);
    }
}
