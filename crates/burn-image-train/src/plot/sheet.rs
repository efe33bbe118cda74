//! Many pictures on one sheet, each with what was made of it.

use image::{RgbImage, imageops};
use plotters::{prelude::*, style::text_anchor::HPos};

use super::{
    canvas::{COLOURS, Canvas, Drawn, INK, Picture, SOFT, shortened},
    maps::blit,
};
use crate::text::percent;

const MARGIN: u32 = 16;
const GAP: u32 = 12;
/// Height and width of the place of a picture in units.
const TILE: u32 = 128;
/// Height of a line of text.
const LINE: u32 = 18;
/// A tile's lines below its picture.
const LINES: u32 = 3;
const HEAD: u32 = 46;
const COLUMNS: usize = 7;
/// Characters that have room below a tile, and on a line of the whole sheet.
const ROOM: [usize; 2] = [18, 120];
/// Lines at the foot of a sheet.
const MOST_NOTES: usize = 12;

/// A picture on a sheet.
#[derive(Debug, Clone)]
pub struct Tile {
    image: RgbImage,
    class: String,
    probability: f64,
    note: String,
    wrong: bool,
}

impl Tile {
    /// A picture that was found to be of `class` with this probability, with a third line below it.
    pub fn new(image: RgbImage, class: &str, probability: f64, note: &str) -> Self {
        let [height, width] = fitted([image.height(), image.width()], 2 * TILE);
        // The sheet has two pixels a unit: more would only take memory.
        let image = match width < image.width() {
            true => imageops::thumbnail(&image, width, height),
            false => image,
        };
        Self {
            image,
            class: class.into(),
            probability,
            note: note.into(),
            wrong: false,
        }
    }

    /// The same, shown as wrong if it is.
    pub fn with_wrong(self, wrong: bool) -> Self {
        Self { wrong, ..self }
    }
}

/// Pictures in rows, each with the class that a network finds in it and how probable that is.
#[derive(Debug, Clone)]
pub struct SheetPicture {
    title: String,
    tiles: Vec<Tile>,
    notes: Vec<String>,
}

impl SheetPicture {
    /// As many pictures as a sheet has room for.
    pub const MOST: usize = COLUMNS * 12;

    /// A sheet of pictures, with a title above and a line for each of `notes` below them. Of more than a
    /// dozen notes the last are counted.
    ///
    /// # Panics
    ///
    /// If there are more than [`MOST`](Self::MOST) pictures.
    pub fn new(title: String, tiles: Vec<Tile>, mut notes: Vec<String>) -> Self {
        assert!(tiles.len() <= Self::MOST, "{} pictures", tiles.len());
        if notes.len() > MOST_NOTES {
            let more = notes.len() - (MOST_NOTES - 1);
            notes.truncate(MOST_NOTES - 1);
            notes.push(format!("… and {more} more"));
        }
        Self {
            title,
            tiles,
            notes,
        }
    }

    /// Places of `MOST` or fewer pictures that stand for `count`, evenly apart.
    pub fn places(count: usize, most: usize) -> impl Iterator<Item = usize> {
        let shown = count.min(most);
        (0..shown).map(move |place| place * count / shown)
    }

    /// Where the tiles end.
    fn foot(&self) -> u32 {
        let rows = self.tiles.len().div_ceil(COLUMNS) as u32;
        HEAD + rows * (TILE + LINES * LINE + GAP)
    }
}

/// `[height, width]` in a square of `side`, if it is larger.
fn fitted([height, width]: [u32; 2], side: u32) -> [u32; 2] {
    let longest = height.max(width).max(1);
    match longest > side {
        true => [height, width].map(|length| (length * side / longest).max(1)),
        false => [height, width],
    }
}

/// `[height, width]` in units that fills the place of a picture.
fn filling([height, width]: [u32; 2]) -> [u32; 2] {
    let longest = height.max(width).max(1);
    [height, width].map(|length| (length * TILE / longest).max(1))
}

impl Picture for SheetPicture {
    fn size(&self) -> [u32; 2] {
        let notes = match self.notes.len() as u32 {
            0 => 0,
            lines => lines * LINE + MARGIN,
        };
        let width = 2 * MARGIN + COLUMNS as u32 * (TILE + GAP) - GAP;
        [width, self.foot() + notes]
    }

    fn is_raster(&self) -> bool {
        true
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let [room, wide] = ROOM;
        let title = shortened(&self.title, wide);
        canvas.text(&title, 16, &INK, [MARGIN, 24], HPos::Left)?;
        for (index, tile) in self.tiles.iter().enumerate() {
            let [column, row] = [index % COLUMNS, index / COLUMNS].map(|place| place as u32);
            let left = MARGIN + column * (TILE + GAP);
            let top = HEAD + row * (TILE + LINES * LINE + GAP);
            let size = filling([tile.image.height(), tile.image.width()]);
            let [down, right] = size.map(|length| (TILE - length) / 2);
            blit(canvas, [left + right, top + down], size, &tile.image)?;
            let ink = if tile.wrong { &COLOURS[1] } else { &INK };
            let probability = percent(tile.probability);
            let lines = [
                (tile.class.as_str(), 14, ink),
                (probability.as_str(), 14, ink),
                (tile.note.as_str(), 11, &SOFT),
            ];
            for (number, (text, size, colour)) in lines.into_iter().enumerate() {
                let y = top + TILE + number as u32 * LINE + LINE / 2 + 2;
                canvas.text(&shortened(text, room), size, colour, [left, y], HPos::Left)?;
            }
        }
        for (number, note) in self.notes.iter().enumerate() {
            let y = self.foot() + number as u32 * LINE + LINE / 2;
            let note = shortened(note, wide);
            canvas.text(&note, 13, &SOFT, [MARGIN, y], HPos::Left)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_for_all_of_a_list_evenly() {
        let places = |count| SheetPicture::places(count, 4).collect::<Vec<_>>();
        assert!(places(0).is_empty());
        assert_eq!(places(3), [0, 1, 2]);
        assert_eq!(places(4), [0, 1, 2, 3]);
        assert_eq!(places(10), [0, 2, 5, 7]);
    }

    #[test]
    fn a_picture_keeps_its_shape_and_fills_its_place() {
        assert_eq!(fitted([3000, 6000], 256), [128, 256]);
        assert_eq!(fitted([60, 40], 256), [60, 40]);
        assert_eq!(filling([32, 64]), [TILE / 2, TILE]);
        // A line of pixels still is one.
        assert_eq!(fitted([1, 100_000], 256), [1, 256]);
        assert_eq!(filling([1, 1000]), [1, TILE]);
    }

    #[test]
    fn notes_do_not_grow_without_end() {
        let notes = (0..1000).map(|number| number.to_string()).collect();
        let sheet = SheetPicture::new(String::new(), Vec::new(), notes);
        assert_eq!(sheet.notes.len(), MOST_NOTES);
        assert_eq!(sheet.notes.last().unwrap(), "… and 989 more");
    }
}
