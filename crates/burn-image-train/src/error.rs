use std::{
    error::Error,
    path::{Path, PathBuf},
};

use crate::{
    device::{DeviceError, Devices},
    precision::Precision,
    text::{first_line, printable},
};
use burn_image_folder::{DataError, shown};

/// An error of a network's own, whose message is one line.
pub type NetworkError = Box<dyn Error + Send + Sync>;

/// What can go wrong around training and using a network. Each message is one line and says what
/// to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Something about the images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Something about the network, or the checkpoint that it starts from.
    #[error(transparent)]
    Model(#[from] NetworkError),
    /// Something about the device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The folder of images is not where the recipe says.
    #[error("the image folder `{}` does not exist{}: give your own with --data", shown(.path), seen_from(.path))]
    NoData {
        /// The path in the recipe.
        path: PathBuf,
    },
    /// A recipe that cannot be read.
    #[error("recipe `{}`: {message}", shown(.path))]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        message: String,
    },
    /// A setting out of its range.
    #[error("`{field}` is {value}: it must be {expected}")]
    Setting {
        /// Name of the setting, from the top of the recipe.
        field: String,
        /// The value given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The system refused something.
    #[error("cannot {action} `{}`: {reason}", shown(.path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's reason. Part of the message already, hence no `source`.
        reason: std::io::Error,
    },
    /// A new run into the folder of an old one.
    #[error(
        "`{}` holds a run already: continue it with --resume, or choose another folder with --output",
        shown(.path)
    )]
    RunExists {
        /// The output folder.
        path: PathBuf,
    },
    /// Another process trains in the same folder.
    #[error(
        "another process is training in `{}`: wait for it or stop it, or choose another folder with --output",
        shown(.path)
    )]
    Locked {
        /// The run's folder.
        path: PathBuf,
    },
    /// Nothing to resume.
    #[error("`{}` holds no run to resume: start one without --resume", shown(.path))]
    NoRun {
        /// The folder given, or where runs are kept.
        path: PathBuf,
    },
    /// A resumed run would not be the same run.
    #[error(
        "`{field}` is {given}, but the run in `{}` has {saved}: leave it as it was, or start a new run without --resume",
        shown(.path)
    )]
    Changed {
        /// Name of the setting, from the top of the recipe.
        field: String,
        /// The value asked for.
        given: String,
        /// The value of the run.
        saved: String,
        /// The run's folder.
        path: PathBuf,
    },
    /// The images of a resumed run have other classes.
    #[error(
        "the images in `{}` have other classes than the run in `{}`: give the images it was trained on with --data",
        shown(.data),
        shown(.path)
    )]
    ClassesChanged {
        /// The folder of images.
        data: PathBuf,
        /// The run's folder.
        path: PathBuf,
    },
    /// The images of a resumed run are not those it was trained on.
    #[error(
        "the images in `{}` are not those of the run in `{}`: {changed}; give those with --data, or go on with these by --allow-changed-data",
        shown(.data),
        shown(.path)
    )]
    DataChanged {
        /// The folder of images.
        data: PathBuf,
        /// The run's folder.
        path: PathBuf,
        /// What is different.
        changed: String,
    },
    /// The folder of a run was removed while it was trained.
    #[error("the run's folder `{}` is gone, or its config.json or classes.json: removed or renamed while training", shown(.path))]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// Weights that do not fit, or no weights at all.
    #[error("cannot load the weights `{}`: {message}", shown(.path))]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// A file with weights that are NaN or infinite.
    #[error(
        "the weights `{}` are NaN or infinite: {}; --allow-nan uses them as they are",
        shown(.path),
        counts(.tensors)
    )]
    FileNotFinite {
        /// The file.
        path: PathBuf,
        /// The parameters, and how many of their values are not finite.
        tensors: Vec<(String, usize)>,
    },
    /// A network that gives no numbers.
    #[error(
        "the network of `{}` gives NaN or infinity for images: its weights are damaged or too large; --allow-nan goes on",
        shown(.path)
    )]
    OutputNotFinite {
        /// The file of its weights.
        path: PathBuf,
    },
    /// Not a trained model.
    #[error("`{}` is no trained model: {message}", shown(.path))]
    NoModel {
        /// The path given.
        path: PathBuf,
        /// What is missing.
        message: String,
    },
    /// A file of a run that cannot be understood.
    #[error("`{}` is damaged: {message}", shown(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A loss that is NaN or infinite.
    #[error(
        "the loss is {loss} in epoch {epoch}, batch {batch}{}: lower the learning rate, or clip the gradients with `clip_norm`; --resume goes on from the last checkpoint",
        of_files(.files)
    )]
    NotFinite {
        /// The loss.
        loss: f32,
        /// The epoch, from 1.
        epoch: usize,
        /// The batch of the epoch, from 1.
        batch: usize,
        /// The images of the batch.
        files: Vec<PathBuf>,
    },
    /// Weights that are not finite.
    #[error(
        "the weights are no longer finite in epoch {epoch}, batch {batch}: lower the learning rate, or clip the gradients with `clip_norm`; --resume goes on from the last checkpoint"
    )]
    WeightsNotFinite {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch of the epoch, from 1.
        batch: usize,
    },
    /// Gradients that are not finite, though the loss is and is not scaled up.
    #[error(
        "the gradients are beyond 16-bit floats in epoch {epoch}, batch {batch}: set `precision` to bf16 or f32, or lower the learning rate; --resume goes on from the last checkpoint"
    )]
    GradientsNotFinite {
        /// The epoch, from 1.
        epoch: usize,
        /// The batch of the epoch, from 1.
        batch: usize,
    },
    /// A device that does not compute in the precision asked for.
    #[error("`precision` is {precision}, in which {devices} cannot compute: use f32")]
    Precision {
        /// The precision of the recipe.
        precision: Precision,
        /// The devices.
        devices: Devices,
    },
    /// The device has too little memory.
    #[error(
        "the device is out of memory with batches of {batch_size} images: try --batch-size {smaller} ({reason})"
    )]
    OutOfMemory {
        /// Images per batch.
        batch_size: usize,
        /// Half of it.
        smaller: usize,
        /// The backend's words.
        reason: String,
    },
    /// The training loop stopped on an error.
    #[error("training stopped: {0}")]
    Stopped(String),
}

impl TrainError {
    /// What stopped the training loop, in one line.
    pub(crate) fn stopped(error: impl std::fmt::Display) -> Self {
        Self::Stopped(first_line(&error.to_string()))
    }

    /// Makes a function that turns the system's errors about `path` into this type.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |reason| Self::Io {
            action,
            path,
            reason,
        }
    }

    /// What is wrong with a file whose content may be a part of the message.
    pub(crate) fn damaged(path: impl AsRef<Path>, message: impl std::fmt::Display) -> Self {
        Self::Damaged {
            path: path.as_ref().to_path_buf(),
            message: printable(&message.to_string()),
        }
    }

    /// An error about `field` unless it is `good`.
    pub(crate) fn check(
        good: bool,
        field: &str,
        value: impl ToString,
        expected: &'static str,
    ) -> Result<(), Self> {
        if good {
            return Ok(());
        }
        Err(Self::Setting {
            field: field.to_string(),
            value: value.to_string(),
            expected,
        })
    }

    /// Puts the section's name before the field's in an error about a setting.
    pub(crate) fn in_section(section: &str, error: DataError) -> Self {
        match error {
            DataError::Setting {
                field,
                value,
                expected,
            } => Self::Setting {
                field: format!("{section}.{field}"),
                value,
                expected,
            },
            error => error.into(),
        }
    }
}

/// The files of a batch, as a part of a message.
fn of_files(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|file| shown(file)).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" of the images {}", names.join(", ")),
    }
}

/// Where a relative path was looked for.
fn seen_from(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(here) if path.is_relative() => format!(" (seen from `{}`)", shown(&here)),
        _ => String::new(),
    }
}

/// The first of the parameters with their counts.
fn counts(tensors: &[(String, usize)]) -> String {
    const MOST: usize = 5;
    let first = tensors.iter().take(MOST);
    let first: Vec<_> = first
        .map(|(name, count)| format!("{count} in {name}"))
        .collect();
    match tensors.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
