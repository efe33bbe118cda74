//! Pictures of runs, as SVG and PNG: learning curves, confusion matrices, feature maps.
//!
//! Drawn by [plotters](https://docs.rs/plotters) with DejaVu Sans, which comes with this crate, so
//! that the machine needs no fonts. Colours are those of Okabe and Ito
//! (<https://jfly.uni-koeln.de/color/>) and single-hue or viridis scales, which colour-blind readers
//! can tell apart.

mod canvas;
mod confusion;
mod curves;
mod images;
mod maps;

pub use confusion::ConfusionPicture;
pub use curves::{Curve, CurvesPicture};
pub use images::ImagesPicture;
pub use maps::{MapGroup, Maps, MapsPicture};

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// A file name that says neither SVG nor PNG.
    #[error("`{}` is no picture's name: let it end in .svg or .png", .path.display())]
    Format {
        /// The path given.
        path: PathBuf,
    },
    /// Feature maps as vectors.
    #[error("`{}` cannot be drawn as SVG: let it end in .png", .path.display())]
    OnlyPng {
        /// The path given.
        path: PathBuf,
    },
    /// More curves than can be told apart.
    #[error("{0} runs are too many for one picture: give {max} at most", max = curves::MOST)]
    TooMany(usize),
    /// A run without an epoch.
    #[error("the run `{0}` has no epoch to draw: train it for one at least")]
    Empty(String),
    /// The system refused to write.
    #[error("cannot write `{}`: {reason}", .path.display())]
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

/// Something that can be saved as a picture.
pub trait Save {
    /// Writes the picture, in the format that the name's ending says.
    ///
    /// # Errors
    ///
    /// [`PlotError::Format`] for another ending than `.svg` or `.png`, [`PlotError::Io`] where the
    /// file cannot be written.
    fn save(&self, path: impl AsRef<Path>) -> Result<(), PlotError>;
}

impl<P: canvas::Picture> Save for P {
    fn save(&self, path: impl AsRef<Path>) -> Result<(), PlotError> {
        canvas::save(self, path.as_ref())
    }
}
