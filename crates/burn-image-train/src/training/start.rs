use std::{fs::File, path::Path};

use burn::tensor::Device;
use burn_image_folder::{
    ImageDataset, ImageFolder, ImageList, ImageLoader, LoaderConfig, Transform,
};

use super::first::first;
use crate::{
    checkpoint::{Checkpoint, Checkpoints},
    classifier::Classifier,
    error::TrainError,
    fingerprint::Fingerprint,
    history::History,
    recipe::Recipe,
    run_dir::RunDir,
    session::RunState,
    wait::DataWait,
};

/// Where runs go that are given no folder.
const RUNS: &str = "runs";

/// A run that is ready to go: everything it needs has been checked and opened.
#[derive(Debug)]
pub struct Training<C: Classifier> {
    pub(super) recipe: Recipe<C>,
    pub(super) folder: ImageFolder,
    pub(super) devices: Vec<Device>,
    pub(super) run: RunDir,
    /// What to go on from, if anything.
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) history: History,
    pub(super) wait: DataWait,
    pub(super) fingerprint: Fingerprint,
    /// Whether there are logs for TensorBoard.
    #[cfg(feature = "tensorboard")]
    pub(super) tensorboard: bool,
    /// Open as long as no other process may train in the folder.
    _lock: File,
}

impl<C: Classifier> Training<C> {
    /// Prepares a new run. `name` is that of the folder where the recipe names none.
    ///
    /// The folder is made last, when nothing else can fail any more.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the recipe, the images, the device or the output folder.
    pub fn start(recipe: Recipe<C>, name: &str) -> Result<Self, TrainError> {
        recipe.validate()?;
        let given = recipe.output.clone().map(RunDir::at);
        given.as_ref().map_or(Ok(()), RunDir::check_free)?;
        let (folder, devices) = open(&recipe)?;
        if recipe.init.is_some() {
            first(&recipe, folder.classes.len(), &devices[0])?;
        }
        let run = match given {
            Some(run) => run,
            None => RunDir::numbered(RUNS, name)?,
        };
        let lock = run.hold()?;
        // Another process may have held it since it was looked at.
        run.check_free()?;
        run.begin(&saved(&recipe), &folder.classes)?;
        Ok(Self {
            fingerprint: Fingerprint::of(&folder, &recipe.data.path),
            recipe,
            folder,
            devices,
            run,
            checkpoint: None,
            history: History::default(),
            wait: DataWait::default(),
            #[cfg(feature = "tensorboard")]
            tensorboard: false,
            _lock: lock,
        })
    }

    /// The same run, with logs for TensorBoard in the folder `tensorboard` of the run's.
    ///
    /// A run that was started so is resumed so.
    #[cfg(feature = "tensorboard")]
    pub fn with_tensorboard(self) -> Self {
        Self {
            tensorboard: true,
            ..self
        }
    }

    /// Prepares to go on with a run, from its newest checkpoint that is whole.
    ///
    /// `recipe` may differ from the run's in how long, where and with how many threads it goes
    /// on; nothing else, or it would be another run. The images must be those it was trained on.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the recipe, the images, the device or the run's folder;
    /// [`TrainError::DataChanged`] for other images than before.
    pub fn resume(recipe: Recipe<C>, run: RunDir) -> Result<Self, TrainError> {
        let (training, changed) = Self::reopen(recipe, run)?;
        match changed {
            Some(changed) => Err(TrainError::DataChanged {
                data: training.recipe.data.path.clone(),
                path: training.run.root().to_path_buf(),
                changed,
            }),
            None => training.begin_again(),
        }
    }

    /// As [`resume`](Self::resume), also with other images of the same classes. What has changed is
    /// logged.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume), but for the images.
    pub fn resume_with_changed_data(recipe: Recipe<C>, run: RunDir) -> Result<Self, TrainError> {
        let (training, changed) = Self::reopen(recipe, run)?;
        if let Some(changed) = changed {
            log::warn!("going on with other images: {changed}");
        }
        training.begin_again()
    }

    /// The run as it was left, and how its images have changed since.
    fn reopen(recipe: Recipe<C>, run: RunDir) -> Result<(Self, Option<String>), TrainError> {
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
        let (folder, devices) = open(&recipe)?;
        if folder.classes != run.read_classes()? {
            return Err(TrainError::ClassesChanged {
                data: recipe.data.path.clone(),
                path: run.root().to_path_buf(),
            });
        }
        let lock = run.hold()?;
        let fingerprint = Fingerprint::of(&folder, &recipe.data.path);
        let checkpoint = Checkpoints::of(&run, fingerprint).newest()?;
        let changed = checkpoint.as_ref().and_then(|checkpoint| {
            let before = checkpoint.images.as_ref()?;
            before.difference(&fingerprint)
        });
        let done = checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.state.epochs_done());
        let mut history = History::load(run.metrics())?;
        history.truncate(done.unwrap_or(0));
        let training = Self {
            #[cfg(feature = "tensorboard")]
            tensorboard: run.tensorboard().is_dir(),
            recipe,
            folder,
            devices,
            run,
            checkpoint,
            history,
            wait: DataWait::default(),
            fingerprint,
            _lock: lock,
        };
        Ok((training, changed))
    }

    /// Writes down the recipe with which the run goes on.
    fn begin_again(self) -> Result<Self, TrainError> {
        self.run.begin(&saved(&self.recipe), &self.folder.classes)?;
        Ok(self)
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

    /// The clock of how long the epoch at hand has waited for images.
    pub fn wait(&self) -> DataWait {
        self.wait.clone()
    }

    /// Where the run begins.
    pub(super) fn state(&self) -> RunState {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(RunState::start, |checkpoint| checkpoint.state.clone())
    }

    pub(super) fn train_loader(&self) -> Result<ImageLoader, TrainError> {
        let batch_size = self.recipe.data.batch_size;
        self.loader(
            &self.folder.train,
            Transform::Train(self.recipe.data.train.clone()),
            LoaderConfig {
                shuffle: Some(self.recipe.seed),
                sampling: self.recipe.data.sampling,
                // A short batch would weigh its images more and disturb the batch statistics; but
                // a folder smaller than one batch has no other.
                drop_last: self.folder.train.len() >= batch_size,
                start: self.state().in_data(),
                ..self.recipe.data.loader()
            },
        )
    }

    pub(super) fn val_loader(&self) -> Result<ImageLoader, TrainError> {
        let transform = Transform::Eval(self.recipe.data.val.clone());
        self.loader(&self.folder.val, transform, self.recipe.data.loader())
    }

    fn loader(
        &self,
        images: &ImageList,
        transform: Transform,
        config: LoaderConfig,
    ) -> Result<ImageLoader, TrainError> {
        let dataset = ImageDataset::new(images.clone(), transform, self.recipe.seed)?
            .with_max_megapixels(self.recipe.data.max_megapixels);
        let normalize = self.recipe.data.normalize.clone();
        Ok(ImageLoader::new(
            dataset,
            normalize,
            config,
            &self.devices[0],
        )?)
    }
}

/// The images and the devices of a recipe.
fn open<C: Classifier>(recipe: &Recipe<C>) -> Result<(ImageFolder, Vec<Device>), TrainError> {
    let folder = recipe.data.open(recipe.seed)?;
    let devices = recipe.device.open()?;
    if !recipe.precision.is_supported(&devices) {
        return Err(TrainError::Precision {
            precision: recipe.precision,
            devices: recipe.device.clone(),
        });
    }
    Ok((folder, devices))
}

/// The recipe as it is saved: without the folder, so that it can be used for another run.
fn saved<C: Classifier>(recipe: &Recipe<C>) -> String {
    let recipe = Recipe {
        output: None,
        ..recipe.clone()
    };
    recipe.to_json()
}
