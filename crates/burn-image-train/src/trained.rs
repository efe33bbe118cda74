use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::{
    classifier::Classifier,
    error::TrainError,
    recipe::Recipe,
    run_dir::RunDir,
    weights::{check_finite, load_weights},
};

/// A network with the weights of a run, and what is needed to show it images as in training.
#[derive(Debug)]
pub struct TrainedModel<C: Classifier> {
    /// The network.
    pub model: C::Network,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// The recipe it was trained with.
    pub recipe: Recipe<C>,
    /// The file the weights came from.
    pub weights: PathBuf,
    /// Where it is.
    pub device: Device,
    /// Whether its weights and what it gives for an image may be NaN or infinite.
    pub allow_nan: bool,
}

impl<C: Classifier> TrainedModel<C> {
    /// Loads a run's network onto a device.
    ///
    /// `path` is the run's folder, for its best weights or else its last, or a weights file in
    /// it or in one of its checkpoints.
    ///
    /// # Errors
    ///
    /// [`TrainError::NoModel`] if there is no run, [`TrainError::Weights`] if the weights are
    /// damaged or of another network, [`TrainError::FileNotFinite`] if some are NaN or infinite.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, TrainError> {
        Self::load_with(path, false, device)
    }

    /// As [`load`](Self::load), also with weights that are not finite, or give no numbers, if `allow_nan`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_with(
        path: impl AsRef<Path>,
        allow_nan: bool,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let (run, weights) = find(path.as_ref())?;
        let recipe = Recipe::<C>::load(run.config())?;
        let classes = run.read_classes()?;
        let model = recipe.model.init(classes.len(), device)?;
        let model = load_weights(model, &weights)?;
        if !allow_nan {
            check_finite(&model, &weights)?;
        }
        Ok(Self {
            model,
            classes,
            recipe,
            weights,
            device: device.clone(),
            allow_nan,
        })
    }

    /// Refuses what is not finite of what the network gives.
    pub(crate) fn check(&self, numbers: &[f32]) -> Result<(), TrainError> {
        match self.allow_nan || numbers.iter().all(|number| number.is_finite()) {
            true => Ok(()),
            false => Err(TrainError::OutputNotFinite {
                path: self.weights.clone(),
            }),
        }
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
