//! What of an image the two frequencies hold.

use image::RgbImage;
use plotters::{prelude::*, style::text_anchor::HPos};

use super::{
    canvas::{Canvas, Drawn, INK, Picture, SOFT},
    maps::blit,
};

const MARGIN: u32 = 16;
const HEAD: u32 = 46;
const FOOT: u32 = 30;
/// Least height and width of an image in units.
const TILE: u32 = 224;

/// An image beside its low- and its high-frequency part, as figure 1 of the paper (Chen et al.,
/// "Drop an Octave", <https://arxiv.org/abs/1904.05049>).
#[derive(Debug, Clone)]
pub struct FrequenciesPicture<'a> {
    /// Images of the same size with what stands above and below them.
    parts: [(&'a RgbImage, String, String); 3],
}

impl<'a> FrequenciesPicture<'a> {
    /// Images of the same size with what to write above and below them.
    pub fn new(parts: [(&'a RgbImage, String, String); 3]) -> Self {
        Self { parts }
    }

    /// Height and width of an image in units.
    fn tile(&self) -> [u32; 2] {
        let (image, ..) = &self.parts[0];
        let factor = TILE.div_ceil(image.height().min(image.width())).max(1);
        [image.height(), image.width()].map(|length| length * factor)
    }
}

impl Picture for FrequenciesPicture<'_> {
    fn size(&self) -> [u32; 2] {
        let [height, width] = self.tile();
        [MARGIN + 3 * (width + MARGIN), HEAD + height + FOOT]
    }

    fn is_raster(&self) -> bool {
        true
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let tile @ [height, width] = self.tile();
        let mut left = MARGIN;
        for (image, above, below) in &self.parts {
            canvas.text(above, 16, &INK, [left, 24], HPos::Left)?;
            blit(canvas, [left, HEAD], tile, image)?;
            let foot = HEAD + height + FOOT / 2;
            canvas.text(below, 14, &SOFT, [left, foot], HPos::Left)?;
            left += width + MARGIN;
        }
        Ok(())
    }
}
