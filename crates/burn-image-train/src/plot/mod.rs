//! Pictures of runs, as SVG and PNG: learning curves, confusion matrices, feature maps, sheets
//! of images.
//!
//! Drawn by [plotters](https://docs.rs/plotters) with DejaVu Sans, which comes with this crate, so
//! that the machine needs no fonts. Colours are those of Okabe and Ito
//! (<https://jfly.uni-koeln.de/color/>) and single-hue or viridis scales, which colour-blind readers
//! can tell apart.

mod canvas;
mod confusion;
mod curves;
mod error;
mod images;
mod maps;
mod sheet;

pub use confusion::ConfusionPicture;
pub use curves::{Curve, CurvesPicture};
pub use error::PlotError;
pub use images::ImagesPicture;
pub use maps::{MapGroup, Maps, MapsPicture};
pub use sheet::{SheetPicture, Tile};

pub(crate) use canvas::Picture;
#[cfg(feature = "tensorboard")]
pub(crate) use canvas::png;

use std::path::Path;

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

impl<P: Picture> Save for P {
    fn save(&self, path: impl AsRef<Path>) -> Result<(), PlotError> {
        canvas::save(self, path.as_ref())
    }
}
