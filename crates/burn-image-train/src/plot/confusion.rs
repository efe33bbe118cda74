//! Which classes are taken for which.

use plotters::{
    prelude::*,
    style::{
        FontTransform,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::canvas::{Canvas, Drawn, INK, Picture, SOFT, shortened};
use crate::confusion::Confusion;

const MARGIN: u32 = 16;
const TEXT: u32 = 14;
/// Above this many classes their names have no room.
const MOST_NAMED: usize = 60;
/// Above this many classes, counts have no room in the cells.
const MOST_COUNTED: usize = 24;
/// Height of title and axis name above the names.
const HEAD: u32 = 54;
/// Width of the colour scale with its numbers.
const SCALE: u32 = 84;

/// A confusion matrix: a row for each class, with the shares of its images by predicted class.
#[derive(Debug, Clone)]
pub struct ConfusionPicture<'a> {
    classes: &'a [String],
    confusion: &'a Confusion,
}

impl<'a> ConfusionPicture<'a> {
    /// A picture of `confusion` between `classes`.
    ///
    /// # Panics
    ///
    /// If there are more or fewer names than classes counted.
    pub fn new(classes: &'a [String], confusion: &'a Confusion) -> Self {
        assert_eq!(classes.len(), confusion.classes());
        Self { classes, confusion }
    }

    fn is_named(&self) -> bool {
        self.classes.len() <= MOST_NAMED
    }

    fn cell(&self) -> u32 {
        match self.classes.len() {
            0..=12 => 44,
            13..=MOST_COUNTED => 34,
            25..=MOST_NAMED => 16,
            many => (900 / many as u32).max(1),
        }
    }

    fn names(&self) -> Vec<String> {
        let names = self.classes.iter();
        names.map(|name| shortened(name, 22)).collect()
    }

    /// Room for the names beside and above the matrix. Eight units a character are enough for all
    /// but a row of capitals, which only comes closer to the edge.
    fn label(&self) -> u32 {
        if !self.is_named() {
            return 12;
        }
        let longest = self.names().iter().map(|name| name.chars().count()).max();
        8 * longest.unwrap_or(0) as u32 + 12
    }

    fn side(&self) -> u32 {
        self.cell() * self.classes.len() as u32
    }

    /// Where the matrix begins.
    fn origin(&self) -> [u32; 2] {
        [MARGIN + 20 + self.label(), HEAD + self.label()]
    }

    fn labels<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let ([left, top], cell) = (self.origin(), self.cell());
        let middle = left + self.side() / 2;
        let title = "Confusion matrix, in % of each class's images";
        canvas.text(title, 16, &INK, [MARGIN, 16], HPos::Left)?;
        canvas.text("predicted class", TEXT, &SOFT, [middle, 40], HPos::Center)?;
        let upwards = |text: &str, [x, y]: [u32; 2], align, colour: &RGBColor| {
            let style = TextStyle::from(canvas.font(TEXT).transform(FontTransform::Rotate270))
                .color(colour)
                .pos(Pos::new(align, VPos::Center));
            (canvas.area).draw_text(text, &style, (canvas.px(x), canvas.px(y)))
        };
        let at = [MARGIN + 4, top + self.side() / 2];
        upwards("true class", at, HPos::Center, &SOFT)?;
        if !self.is_named() {
            return Ok(());
        }
        for (index, name) in self.names().iter().enumerate() {
            let centre = cell * index as u32 + cell / 2;
            canvas.text(name, TEXT, &INK, [left - 8, top + centre], HPos::Right)?;
            upwards(name, [left + centre, top - 8], HPos::Left, &INK)?;
        }
        Ok(())
    }

    fn cells<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let ([left, top], cell) = (self.origin(), self.cell());
        let classes = self.classes.len();
        // Lines between cells would be all there is to see of small ones.
        let gap = u32::from(cell >= 16);
        for truth in 0..classes {
            for predicted in 0..classes {
                let share = self.confusion.share(truth, predicted).unwrap_or(0.0);
                let [x, y] = [predicted, truth].map(|index| index as u32 * cell);
                let from = (canvas.px(left + x), canvas.px(top + y));
                let to = [x + left, y + top].map(|start| canvas.px(start + cell - gap));
                let colour = shade(share);
                (canvas.area).draw(&Rectangle::new([from, (to[0], to[1])], colour.filled()))?;
                if classes <= MOST_COUNTED && self.confusion.count(truth, predicted) > 0 {
                    let ink = if share > 0.5 { &WHITE } else { &INK };
                    let text = format!("{:.0}", 100.0 * share);
                    let centre = [left + x + cell / 2, top + y + cell / 2];
                    canvas.text(&text, TEXT, ink, centre, HPos::Center)?;
                }
            }
        }
        let corners = [[left, top], [left + self.side(), top + self.side()]];
        let corners = corners.map(|[x, y]| (canvas.px(x), canvas.px(y)));
        (canvas.area).draw(&Rectangle::new(
            corners,
            SOFT.stroke_width(canvas.thickness(1.0)),
        ))
    }

    fn scale<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let [left, top] = self.origin();
        let (x, height) = (left + self.side() + 20, self.side().min(260));
        for step in 0..height {
            let share = 1.0 - f64::from(step) / f64::from(height);
            let corners = [[x, top + step], [x + 14, top + step + 1]];
            let corners = corners.map(|[x, y]| (canvas.px(x), canvas.px(y)));
            (canvas.area).draw(&Rectangle::new(corners, shade(share).filled()))?;
        }
        for percent in [0, 50, 100] {
            let y = top + height * (100 - percent) / 100;
            let text = format!("{percent} %");
            canvas.text(&text, TEXT, &INK, [x + 20, y], HPos::Left)?;
        }
        Ok(())
    }
}

impl Picture for ConfusionPicture<'_> {
    fn size(&self) -> [u32; 2] {
        let [left, top] = self.origin();
        let width = left + self.side() + SCALE + MARGIN;
        // The title needs some room even for two classes.
        [width.max(400), top + self.side().max(60) + MARGIN]
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        self.cells(canvas)?;
        self.labels(canvas)?;
        self.scale(canvas)
    }
}

/// From white to dark blue, with the most change where shares are small: a few mistakes should be
/// seen.
fn shade(share: f64) -> RGBColor {
    const STOPS: [(f64, [f64; 3]); 4] = [
        (0.0, [247.0, 250.0, 253.0]),
        (0.1, [198.0, 219.0, 239.0]),
        (0.5, [66.0, 146.0, 198.0]),
        (1.0, [8.0, 48.0, 107.0]),
    ];
    let above = STOPS.iter().position(|(stop, _)| *stop >= share);
    let (from, to) = match above {
        None => return shade(1.0),
        Some(0) => (STOPS[0], STOPS[0]),
        Some(index) => (STOPS[index - 1], STOPS[index]),
    };
    let part = (share - from.0) / (to.0 - from.0).max(1e-9);
    let mix = |channel: usize| (from.1[channel] + part * (to.1[channel] - from.1[channel])) as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_darken_with_the_share() {
        let light = |share: f64| {
            let RGBColor(r, g, b) = shade(share);
            u32::from(r) + u32::from(g) + u32::from(b)
        };
        for step in 0..50 {
            let share = f64::from(step) / 50.0;
            assert!(light(share) > light(share + 0.02), "{share}");
        }
        assert_eq!(shade(1.5), shade(1.0));
    }
}
