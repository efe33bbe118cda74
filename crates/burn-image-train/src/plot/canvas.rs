//! What pictures are drawn on: vectors or pixels, with the same code.

use std::{error::Error, fs, io::Cursor, path::Path, sync::OnceLock};

use image::{ImageFormat, RgbImage, imageops};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::PlotError;

/// Pixels of a PNG per unit, so that it is sharp on today's screens.
const PNG_SCALE: u32 = 2;
/// How many times finer a PNG is drawn than saved: plotters does not smooth wide lines, and puts
/// letters on whole pixels.
const OVERSAMPLING: u32 = 2;

const FAMILY: &str = "sans-serif";

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(38, 38, 38);
/// Secondary text.
pub(super) const SOFT: RGBColor = RGBColor(95, 95, 95);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(224, 224, 224);

/// Okabe and Ito's colours that are legible as lines on white.
pub(super) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// The result of drawing on a backend.
pub type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// What can be drawn on any backend. Lengths are in units: CSS pixels.
pub trait Picture {
    /// Width and height in units.
    fn size(&self) -> [u32; 2];

    /// Whether it is made of pixels, which an SVG could hold only as rectangles.
    fn is_raster(&self) -> bool {
        false
    }

    /// Draws it.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB>;
}

/// A white rectangle to draw on, and how many of the backend's pixels a unit has.
pub struct Canvas<DB: DrawingBackend> {
    pub(super) area: DrawingArea<DB, Shift>,
    unit: u32,
}

impl<DB: DrawingBackend> Canvas<DB> {
    fn new(backend: DB, unit: u32) -> Result<Self, DrawingAreaErrorKind<DB::ErrorType>> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        Ok(Self { area, unit })
    }

    /// The rectangle at `[left, top]` of `[width, height]` units.
    pub(super) fn part(&self, [left, top]: [u32; 2], [width, height]: [u32; 2]) -> Self {
        let from = (self.px(left), self.px(top));
        let size = (self.px(width), self.px(height));
        Self {
            area: self.area.clone().shrink(from, size),
            unit: self.unit,
        }
    }

    /// A length in the backend's pixels.
    pub(super) fn px(&self, units: u32) -> i32 {
        (units * self.unit) as i32
    }

    /// A fraction of a unit in the backend's pixels, at least one.
    pub(super) fn thickness(&self, units: f64) -> u32 {
        ((units * f64::from(self.unit)).round() as u32).max(1)
    }

    /// A font of `size` units.
    pub(super) fn font(&self, size: u32) -> FontDesc<'static> {
        (FAMILY, self.px(size)).into_font()
    }

    /// Writes `text` with its middle at `[x, y]` units, starting, centred or ending there.
    pub(super) fn text(
        &self,
        text: &str,
        size: u32,
        colour: &RGBColor,
        [x, y]: [u32; 2],
        align: HPos,
    ) -> Drawn<DB> {
        let style = TextStyle::from(self.font(size))
            .color(colour)
            .pos(Pos::new(align, VPos::Center));
        self.area.draw_text(text, &style, (self.px(x), self.px(y)))
    }
}

/// A text of at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.into(),
    }
}

/// Makes plotters know the font that this crate brings.
fn register() -> Result<(), PlotError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let font = include_bytes!("../../assets/DejaVuSans.ttf");
    match DONE.get_or_init(|| register_font(FAMILY, FontStyle::Normal, font).is_ok()) {
        true => Ok(()),
        false => Err(PlotError::Draw("the font is damaged".into())),
    }
}

pub(super) fn save(picture: &impl Picture, path: &Path) -> Result<(), PlotError> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let content = match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("svg") if picture.is_raster() => {
            return Err(PlotError::OnlyPng { path: path.into() });
        }
        Some("svg") => svg(picture)?.into_bytes(),
        Some("png") => png(picture, PNG_SCALE)?,
        _ => return Err(PlotError::Format { path: path.into() }),
    };
    fs::write(path, content).map_err(|reason| PlotError::Io {
        path: path.into(),
        reason,
    })
}

fn svg(picture: &impl Picture) -> Result<String, PlotError> {
    register()?;
    let [width, height] = picture.size();
    let mut text = String::new();
    {
        let backend = SVGBackend::with_string(&mut text, (width, height));
        let canvas = Canvas::new(backend, 1).map_err(failed)?;
        picture.draw(&canvas).map_err(failed)?;
        canvas.area.present().map_err(failed)?;
    }
    Ok(text)
}

/// A picture as a PNG file with so many pixels a unit.
pub(crate) fn png(picture: &impl Picture, scale: u32) -> Result<Vec<u8>, PlotError> {
    register()?;
    let unit = scale * OVERSAMPLING;
    let [width, height] = picture.size().map(|length| length * unit);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        let canvas = Canvas::new(backend, unit).map_err(failed)?;
        picture.draw(&canvas).map_err(failed)?;
        canvas.area.present().map_err(failed)?;
    }
    let fine = RgbImage::from_raw(width, height, pixels);
    let fine = fine.ok_or_else(|| PlotError::Draw("the picture is too large".into()))?;
    let image = imageops::thumbnail(&fine, width / OVERSAMPLING, height / OVERSAMPLING);
    let mut content = Cursor::new(Vec::new());
    (image.write_to(&mut content, ImageFormat::Png)).map_err(failed)?;
    Ok(content.into_inner())
}

fn failed(error: impl Error) -> PlotError {
    PlotError::Draw(error.to_string())
}
