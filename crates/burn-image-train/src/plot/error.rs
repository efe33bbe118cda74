use std::{io, path::PathBuf};

use burn_image_folder::shown;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// A file name that says neither SVG nor PNG.
    #[error("`{}` is no picture's name: let it end in .svg or .png", shown(.path))]
    Format {
        /// The path given.
        path: PathBuf,
    },
    /// Feature maps as vectors.
    #[error("`{}` cannot be drawn as SVG: let it end in .png", shown(.path))]
    OnlyPng {
        /// The path given.
        path: PathBuf,
    },
    /// More curves than can be told apart.
    #[error("{runs} runs are too many for one picture: give {max} at most")]
    TooMany {
        /// Runs given.
        runs: usize,
        /// Runs that one picture can show.
        max: usize,
    },
    /// A run without an epoch.
    #[error("the run `{0}` has no epoch to draw: train it for one at least")]
    Empty(String),
    /// The system refused to write.
    #[error("cannot write `{}`: {reason}", shown(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// Plotters could not draw.
    #[error("cannot draw: {0}")]
    Draw(String),
}
