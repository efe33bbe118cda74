//! Images beside each other.

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

/// Images of the same size beside each other, each with a line above and one below it.
#[derive(Debug, Clone)]
pub struct ImagesPicture<'a> {
    parts: Vec<(&'a RgbImage, String, String)>,
}

impl<'a> ImagesPicture<'a> {
    /// Images of the same size with what to write above and below them.
    pub fn new(parts: Vec<(&'a RgbImage, String, String)>) -> Self {
        Self { parts }
    }

    /// Height and width of an image in units.
    fn tile(&self) -> [u32; 2] {
        let Some((image, ..)) = self.parts.first() else {
            return [TILE; 2];
        };
        let factor = TILE.div_ceil(image.height().min(image.width())).max(1);
        [image.height(), image.width()].map(|length| length * factor)
    }
}

impl Picture for ImagesPicture<'_> {
    fn size(&self) -> [u32; 2] {
        let [height, width] = self.tile();
        let images = self.parts.len() as u32;
        [MARGIN + images * (width + MARGIN), HEAD + height + FOOT]
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
