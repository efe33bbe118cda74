//! Loss, accuracy and learning rate over the epochs of one or several runs.

use std::ops::Range;

use plotters::{
    prelude::*,
    style::{ShapeStyle, text_anchor::HPos},
};

use super::{
    PlotError,
    canvas::{COLOURS, Canvas, Drawn, GRID, INK, Picture, SOFT, shortened},
};
use crate::history::{EpochRow, History};

/// How many runs can be told apart: each colour without and with marks.
const MOST: usize = 2 * COLOURS.len();

const WIDTH: u32 = 820;
const PANEL: u32 = 240;
const LINE: u32 = 22;
const MARGIN: u32 = 14;
/// Where the panels' axes begin, for the tick labels beside them.
const LABELS: u32 = 58;

/// The epochs of one run, and its name in the legend.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Name of the run.
    pub name: String,
    /// Its epochs.
    pub history: History,
}

/// Loss, top-1 accuracy and learning rate of runs over their epochs.
#[derive(Debug, Clone)]
pub struct CurvesPicture {
    runs: Vec<Curve>,
}

impl CurvesPicture {
    /// A picture of one run or of several to compare.
    ///
    /// # Errors
    ///
    /// [`PlotError::Empty`] for a run without an epoch, [`PlotError::TooMany`] for more runs than
    /// can be told apart.
    pub fn new(runs: Vec<Curve>) -> Result<Self, PlotError> {
        if runs.len() > MOST {
            return Err(PlotError::TooMany {
                runs: runs.len(),
                max: MOST,
            });
        }
        match runs.iter().find(|run| run.history.rows().is_empty()) {
            Some(run) => Err(PlotError::Empty(run.name.clone())),
            None => Ok(Self { runs }),
        }
    }

    fn legend_height(&self) -> u32 {
        MARGIN + LINE * (self.runs.len() as u32 + 1)
    }

    /// The first and the last epoch of any run.
    fn epochs(&self) -> Range<i32> {
        let rows = self.runs.iter().flat_map(|run| run.history.rows());
        let epochs = rows.map(|row| row.epoch as i32);
        let (first, last) = epochs.fold((i32::MAX, i32::MIN), |(first, last), epoch| {
            (first.min(epoch), last.max(epoch))
        });
        match first < last {
            true => first..last,
            // One epoch is a point in the middle.
            false => first - 1..last + 1,
        }
    }

    fn legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let mut middle = MARGIN + LINE / 2;
        for (index, run) in self.runs.iter().enumerate() {
            let colour = colour(index);
            let line = [(MARGIN, middle), (MARGIN + 28, middle)];
            let line = line.map(|(x, y)| (canvas.px(x), canvas.px(y)));
            (canvas.area).draw(&PathElement::new(line, stroke(canvas, &colour, 3.0)))?;
            if is_marked(index) {
                let mark = Circle::new(
                    (canvas.px(MARGIN + 14), canvas.px(middle)),
                    canvas.thickness(4.0),
                    colour.filled(),
                );
                canvas.area.draw(&mark)?;
            }
            let mut text = shortened(&run.name, 60);
            if let Some(best) = run.history.best().filter(|best| best.val_top1.is_finite()) {
                text += &format!(
                    "   best {:.1} % in epoch {}",
                    100.0 * best.val_top1,
                    best.epoch
                );
            }
            canvas.text(&text, 16, &INK, [MARGIN + 38, middle], HPos::Left)?;
            middle += LINE;
        }
        let text = "solid: validation    dashed: training, as augmented    ring: best epoch";
        canvas.text(text, 14, &SOFT, [MARGIN, middle], HPos::Left)
    }
}

impl Picture for CurvesPicture {
    fn size(&self) -> [u32; 2] {
        [
            WIDTH,
            self.legend_height() + PANEL * PANELS.len() as u32 + LINE + MARGIN,
        ]
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        self.legend(canvas)?;
        let mut top = self.legend_height();
        for panel in &PANELS {
            panel.draw(self, &canvas.part([0, top], [WIDTH, PANEL]))?;
            top += PANEL;
        }
        let middle = (LABELS + WIDTH) / 2;
        canvas.text("epoch", 16, &INK, [middle, top + LINE / 2], HPos::Center)
    }
}

/// One of the charts below each other.
struct Panel {
    title: &'static str,
    /// Values of training and of validation, or of both.
    values: fn(&EpochRow) -> [Option<f64>; 2],
    /// Whether the axis begins at zero.
    from_zero: bool,
    /// The highest value that makes sense.
    most: f64,
    /// Whether the best epoch is ringed.
    ring: bool,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "Loss (cross entropy per image)",
        values: |row| [Some(row.train_loss), Some(row.val_loss)],
        from_zero: false,
        most: f64::INFINITY,
        ring: false,
    },
    Panel {
        title: "Top-1 accuracy (%)",
        values: |row| [row.train_top1, row.val_top1].map(|share| Some(100.0 * share)),
        from_zero: false,
        most: 100.0,
        ring: true,
    },
    Panel {
        title: "Learning rate (last step of the epoch)",
        values: |row| [None, Some(row.lr)],
        from_zero: true,
        most: f64::INFINITY,
        ring: false,
    },
];

impl Panel {
    /// The values of the axis, somewhat beyond those of the curves.
    fn range(&self, runs: &[Curve]) -> Range<f64> {
        let rows = runs.iter().flat_map(|run| run.history.rows());
        let values = rows.flat_map(|row| (self.values)(row)).flatten();
        let values = values.filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return 0.0..1.0;
        }
        let low = if self.from_zero { 0.0 } else { low };
        let room = match high - low {
            0.0 => high.abs().max(1e-6) * 0.1,
            difference => difference * 0.06,
        };
        let bottom = if self.from_zero {
            0.0
        } else {
            (low - room).max(0.0)
        };
        bottom..(high + room).min(self.most)
    }

    fn draw<DB: DrawingBackend>(&self, picture: &CurvesPicture, canvas: &Canvas<DB>) -> Drawn<DB> {
        canvas.text(self.title, 16, &INK, [MARGIN, 14], HPos::Left)?;
        let range = self.range(&picture.runs);
        let digits = digits(range.end - range.start);
        let mut chart = ChartBuilder::on(&canvas.area)
            .margin_top(canvas.px(30))
            .margin_right(canvas.px(MARGIN + 8))
            .set_label_area_size(LabelAreaPosition::Left, canvas.px(LABELS))
            .set_label_area_size(LabelAreaPosition::Bottom, canvas.px(26))
            .build_cartesian_2d(picture.epochs(), range)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(stroke(canvas, &GRID, 1.0))
            .axis_style(stroke(canvas, &SOFT, 1.0))
            .label_style(canvas.font(14).color(&INK))
            .set_all_tick_mark_size(canvas.px(4))
            .x_labels(12)
            .y_labels(6)
            .y_label_formatter(&|value| tick(*value, digits))
            .draw()?;
        for (index, run) in picture.runs.iter().enumerate() {
            let colour = colour(index);
            for (which, dashed) in [(0, true), (1, false)] {
                let points: Vec<_> = (run.history.rows().iter())
                    .filter_map(|row| Some((row.epoch as i32, (self.values)(row)[which]?)))
                    .filter(|(_, value)| value.is_finite())
                    .collect();
                if dashed {
                    let style = stroke(canvas, &colour, 1.4);
                    let [dash, gap] = [5, 4].map(|length| canvas.px(length));
                    chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?;
                    continue;
                }
                let marks = points.len() == 1 || is_marked(index);
                let style = stroke(canvas, &colour, 2.4);
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
                if marks {
                    let mark = |point| Circle::new(point, canvas.thickness(3.4), colour.filled());
                    chart.draw_series(points.into_iter().map(mark))?;
                }
            }
            let best = run.history.best().filter(|_| self.ring);
            if let Some(best) = best.filter(|best| best.val_top1.is_finite()) {
                let point = (best.epoch as i32, 100.0 * best.val_top1);
                let ring = Circle::new(point, canvas.thickness(6.0), stroke(canvas, &INK, 1.6));
                chart.draw_series([ring])?;
            }
        }
        Ok(())
    }
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// Whether a run has marks on its lines: its colour is taken already.
fn is_marked(index: usize) -> bool {
    index >= COLOURS.len()
}

fn stroke<DB: DrawingBackend>(canvas: &Canvas<DB>, colour: &RGBColor, width: f64) -> ShapeStyle {
    colour.stroke_width(canvas.thickness(width))
}

/// Digits behind the point that tell the ticks of an axis of this length apart.
fn digits(length: f64) -> usize {
    (1.0 - length.log10()).ceil().clamp(0.0, 12.0) as usize
}

fn tick(value: f64, digits: usize) -> String {
    match digits {
        0..5 => format!("{value:.digits$}"),
        _ if value == 0.0 => "0".into(),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_that_tell_them_apart() {
        assert_eq!(tick(0.3, digits(1.2)), "0.3");
        assert_eq!(tick(60.0, digits(80.0)), "60");
        assert_eq!(tick(0.015, digits(0.02)), "0.015");
        assert_eq!(tick(2e-6, digits(5e-6)), "2.0e-6");
        assert_eq!(tick(0.0, digits(5e-6)), "0");
    }
}
