use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use burn::{module::Module, store::ModuleRecord, tensor::Device};

use super::{Recipe, RunDir, TrainError, device::panic_message, error::first_line};
use crate::model::OctResNet;

/// A network with the weights of a run, and what is needed to show it images as in training.
#[derive(Debug)]
pub struct TrainedModel {
    /// The network.
    pub model: OctResNet,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// The recipe it was trained with.
    pub recipe: Recipe,
    /// The file the weights came from.
    pub weights: PathBuf,
    pub(super) device: Device,
}

impl TrainedModel {
    /// Loads a run's network onto a device.
    ///
    /// `path` is the run's folder, for its best weights or else its last, or a weights file in
    /// it or in one of its checkpoints.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoModel`] if there is no run, [`TrainError::Weights`] if the weights are
    /// damaged or of another network.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, TrainError> {
        let (run, weights) = find(path.as_ref())?;
        let recipe = Recipe::load(run.config())?;
        let classes = run.read_classes()?;
        let model = recipe.model.config(classes.len()).init(device)?;
        Ok(Self {
            model: load_weights(model, &weights)?,
            classes,
            recipe,
            weights,
            device: device.clone(),
        })
    }
}

/// The run that `path` belongs to, and the weights it stands for.
fn find(path: &Path) -> Result<(RunDir, PathBuf), TrainError> {
    let no_model = |message: &str| TrainError::NoModel {
        path: path.to_path_buf(),
        message: message.into(),
    };
    if !path.exists() {
        return Err(no_model(
            "it does not exist; give the output folder of a run",
        ));
    }
    if path.is_dir() {
        let run = RunDir::at(path);
        if !run.config().is_file() || !run.classes().is_file() {
            return Err(no_model(
                "it has no config.json and classes.json; give the output folder of a run",
            ));
        }
        let weights = [run.best(), run.last()]
            .into_iter()
            .find(|file| file.is_file());
        let weights = weights.ok_or_else(|| {
            no_model("it has neither best.bpk nor last.bpk; train at least one epoch")
        })?;
        return Ok((run, weights));
    }
    // `parent()` of a bare file name is empty, which stands for the current folder.
    let beside = path.parent().unwrap_or(Path::new(""));
    let runs = ["", "..", "../.."].map(|up| RunDir::at(beside.join(up)));
    let run = (runs.into_iter())
        .find(|run| run.config().is_file() && run.classes().is_file())
        .ok_or_else(|| {
            no_model("there is no config.json and classes.json beside it; give a file in the output folder of a run")
        })?;
    Ok((run, path.to_path_buf()))
}

/// Loads weights into a network, from a file that may be anything.
pub(super) fn load_weights(model: OctResNet, path: &Path) -> Result<OctResNet, TrainError> {
    let error = |message: String| TrainError::Weights {
        path: path.to_path_buf(),
        message,
    };
    // Tensors are read from the file as they are needed, and a failure there is a panic.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let record = ModuleRecord::load(path).map_err(|error| {
            format!(
                "it is damaged or no burnpack file ({})",
                first_line(&error.to_string())
            )
        })?;
        model.try_load_record(record).map_err(|error| {
            format!(
                "they are of another network ({})",
                first_line(&error.to_string())
            )
        })
    }));
    match loaded {
        Ok(loaded) => loaded.map_err(error),
        Err(panic) => Err(error(format!(
            "it is damaged ({})",
            first_line(panic_message(&*panic))
        ))),
    }
}
