//! Feature maps of one layer, those of lower resolutions as much smaller.

use image::{RgbImage, imageops};
use plotters::{
    element::BitMapElement,
    prelude::*,
    style::{
        colors::colormaps::{ColorMap, ViridisRGB},
        text_anchor::HPos,
    },
};

use super::canvas::{Canvas, Drawn, INK, Picture, SOFT};

const MARGIN: u32 = 16;
const GAP: u32 = 6;
const HEAD: u32 = 62;
/// Maps of a group that are drawn, and their columns: there may be thousands of channels.
const MOST: usize = 24;
const COLUMNS: usize = 6;
/// Least height and width of a map at full resolution in units.
const TILE: u32 = 84;

/// Feature maps: `[channels, height, width]` and as many values.
pub type Maps = ([usize; 3], Vec<f32>);

/// Maps of one resolution.
#[derive(Debug, Clone, Copy)]
pub struct MapGroup<'a> {
    /// What they are called.
    pub name: &'a str,
    /// The maps.
    pub maps: &'a Maps,
    /// How often their resolution is half of the full one.
    pub octave: u32,
}

/// The maps that one layer gives for one image, one group beside the other.
#[derive(Debug, Clone)]
pub struct MapsPicture<'a> {
    layer: &'a str,
    groups: Vec<MapGroup<'a>>,
    /// Height and width of a full-resolution map in units.
    tile: [u32; 2],
}

impl<'a> MapsPicture<'a> {
    /// A picture of the first maps of each group of the layer called `layer`.
    pub fn new(layer: &'a str, groups: Vec<MapGroup<'a>>) -> Self {
        let full = groups.first().map_or([1, 1], |group| {
            let ([_, height, width], _) = group.maps;
            [height << group.octave, width << group.octave]
        });
        // Whole, even factors, so that pixels of all groups stay square and comparable.
        let factor = TILE
            .div_ceil(full[0].min(full[1]) as u32)
            .next_multiple_of(2);
        Self {
            layer,
            groups,
            tile: full.map(|length| length as u32 * factor),
        }
    }

    fn groups(&self) -> impl Iterator<Item = (&'a str, &'a Maps, [u32; 2])> {
        let tile = self.tile;
        let groups = self.groups.iter();
        groups.map(move |group| {
            (
                group.name,
                group.maps,
                tile.map(|side| side >> group.octave),
            )
        })
    }
}

/// Columns and rows for `channels` maps.
fn grid(channels: usize) -> [u32; 2] {
    let shown = channels.min(MOST);
    [shown.min(COLUMNS), shown.div_ceil(COLUMNS)].map(|count| count as u32)
}

impl Picture for MapsPicture<'_> {
    fn size(&self) -> [u32; 2] {
        let (mut width, mut height) = (MARGIN, 0);
        for (_, ([channels, ..], _), [tall, wide]) in self.groups() {
            let [columns, rows] = grid(*channels);
            // A group's heading may be wider than its maps.
            width += (columns * (wide + GAP)).max(210) + MARGIN;
            height = height.max(rows * (tall + GAP));
        }
        [width.max(480), HEAD + height + MARGIN]
    }

    fn is_raster(&self) -> bool {
        true
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let title = format!(
            "{}: dark is low, yellow is high, each map scaled by itself",
            self.layer
        );
        canvas.text(&title, 16, &INK, [MARGIN, 18], HPos::Left)?;
        let mut left = MARGIN;
        for (group, (shape @ [channels, height, width], values), size) in self.groups() {
            let [columns, _] = grid(*channels);
            let shown = match *channels > MOST {
                true => format!("{MOST} of {channels}"),
                false => channels.to_string(),
            };
            let text = format!("{group}: {shown} maps of {height}×{width}");
            canvas.text(&text, 14, &SOFT, [left, 44], HPos::Left)?;
            let maps = values.chunks_exact(shape[1] * shape[2]);
            for (index, map) in maps.take(MOST).enumerate() {
                let (column, row) = (index as u32 % columns, index as u32 / columns);
                let corner = [
                    left + column * (size[1] + GAP),
                    HEAD + row * (size[0] + GAP),
                ];
                let image = coloured(map, [*height, *width]);
                blit(canvas, corner, size, &image)?;
            }
            left += (columns * (size[1] + GAP)).max(210) + MARGIN;
        }
        Ok(())
    }
}

/// Draws pixels as rectangles of `[height, width]` units in all, the corner at `[x, y]`.
pub(super) fn blit<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    [x, y]: [u32; 2],
    [height, width]: [u32; 2],
    image: &RgbImage,
) -> Drawn<DB> {
    let [width, height] = [width, height].map(|length| canvas.px(length) as u32);
    let scaled = imageops::resize(image, width, height, imageops::FilterType::Nearest);
    let corner = (canvas.px(x), canvas.px(y));
    let element = BitMapElement::with_owned_buffer(corner, (width, height), scaled.into_raw());
    match element {
        Some(element) => canvas.area.draw(&element),
        None => Ok(()),
    }
}

/// Viridis from the 1st to the 99th percentile.
fn coloured(map: &[f32], [height, width]: [usize; 2]) -> RgbImage {
    let mut sorted: Vec<_> = map
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f32| sorted.get(((sorted.len() as f32 - 1.0) * share).round() as usize);
    let (low, high) = match (at(0.01), at(0.99)) {
        (Some(low), Some(high)) if high > low => (*low, *high),
        // A map of one value is all dark.
        (Some(low), _) => (*low, *low + 1.0),
        _ => (0.0, 1.0),
    };
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let value = map[y as usize * width + x as usize];
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        let share = if share.is_finite() { share } else { 0.0 };
        let RGBColor(r, g, b) = ViridisRGB.get_color(share);
        image::Rgb([r, g, b])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_scaled_by_themselves_and_whatever_they_hold() {
        let ends = |map: &[f32]| {
            let image = coloured(map, [1, map.len()]);
            [
                image.get_pixel(0, 0).0,
                image.get_pixel(map.len() as u32 - 1, 0).0,
            ]
        };
        let [dark, bright] = ends(&[-3.0, 0.0, 5.0]);
        assert_eq!(ends(&[0.0, 1e-3, 2e-3]), [dark, bright]);
        assert_eq!(ends(&[7.0, 7.0]), [dark, dark]);
        assert_eq!(ends(&[f32::NAN, 1.0]), [dark, dark]);
    }
}
