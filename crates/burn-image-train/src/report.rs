//! What came out of a run, as a page to read: `report.md` in its folder.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    classifier::{Baseline, Classifier, Cost},
    error::TrainError,
    evaluate::Evaluation,
    history::{EpochRow, History},
    plot::{ConfusionPicture, Curve, CurvesPicture, PlotError, Save},
    run_dir::RunDir,
    text::{percent, short_count, thousands},
    trained::TrainedModel,
};
use burn::tensor::Device;
use burn_image_folder::shown;

/// Classes in the report's table; all are in `report/classes.csv`.
const MOST_CLASSES: usize = 60;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The run cannot be loaded or measured.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// A picture cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// A run and how well its best weights do on the images it was validated on.
#[derive(Debug)]
pub struct Report<C: Classifier> {
    run: RunDir,
    model: TrainedModel<C>,
    history: History,
    evaluation: Evaluation,
}

impl<C: Classifier> Report<C> {
    /// Measures a run: shows its best weights the validation images.
    ///
    /// `data` is a folder of images to use instead of the run's. `progress` is told the number of
    /// images so far and in all.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] if the run, its weights or the images cannot be read, and
    /// [`PlotError::Empty`] if it has no epoch yet.
    pub fn measure(
        run: RunDir,
        data: Option<&Path>,
        device: &Device,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, ReportError> {
        let history = History::load(run.metrics())?;
        if history.rows().is_empty() {
            return Err(PlotError::Empty(name(&run)).into());
        }
        let model = TrainedModel::load(run.root(), device)?;
        let images = match data {
            Some(folder) => model.images_in(folder)?,
            None => model.validation_images()?,
        };
        Ok(Self {
            evaluation: model.evaluate(images, progress)?,
            run,
            model,
            history,
        })
    }

    /// Writes `report.md` into the run's folder, and pictures and the table of classes into its
    /// folder `report`. Returns the path of `report.md`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] and [`PlotError`].
    pub fn write(&self) -> Result<PathBuf, ReportError> {
        let folder = self.run.root().join("report");
        // Not its parents: without them the run's folder is gone.
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(TrainError::io("make the folder", &folder))?;
        }
        let curves = CurvesPicture::new(vec![Curve {
            name: name(&self.run),
            history: self.history.clone(),
        }])?;
        let confusion = ConfusionPicture::new(&self.model.classes, &self.evaluation.confusion);
        for ending in ["svg", "png"] {
            curves.save(folder.join("curves").with_extension(ending))?;
        }
        confusion.save(folder.join("confusion.png"))?;
        let classes = folder.join("classes.csv");
        fs::write(&classes, self.class_rows()).map_err(TrainError::io("write", &classes))?;
        let page = self.run.root().join("report.md");
        fs::write(&page, self.markdown()).map_err(TrainError::io("write", &page))?;
        Ok(page)
    }

    fn markdown(&self) -> String {
        let curves =
            "## Curves\n\n![Loss, accuracy and learning rate over the epochs](report/curves.svg)";
        let parts = [
            Some(self.summary()),
            self.cost(),
            Some(curves.into()),
            Some(self.classes()),
            Some(epochs(self.history.rows())),
            Some(format!("## Recipe\n\n```json\n{}\n```", self.recipe())),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        parts.join("\n\n") + "\n"
    }

    fn recipe(&self) -> String {
        self.model.recipe.to_json().trim_end().to_string()
    }

    fn summary(&self) -> String {
        let recipe = &self.model.recipe;
        let rows = self.history.rows();
        let done = rows.last().map_or(0, |row| row.epoch);
        let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
        let mut text = format!(
            "# {}\n\n{}, {} classes; {done} of {} epochs in {}, seed {}.\n\n",
            escaped(&name(&self.run)),
            recipe.model.describe(),
            self.model.classes.len(),
            recipe.epochs,
            duration(seconds),
            recipe.seed,
        );
        if !recipe.about.is_empty() {
            text += &format!("> {}\n\n", recipe.about.replace('\n', " "));
        }
        text += "| | epoch | validation top-1 | top-5 | loss |\n|---|---|---|---|---|\n";
        for (what, row) in [("best", self.history.best()), ("last", rows.last())] {
            let Some(row) = row else { continue };
            let (top1, top5) = (percent(row.val_top1), percent(row.val_top5));
            let _ = writeln!(
                text,
                "| {what} | {} | {top1} | {top5} | {:.4} |",
                row.epoch, row.val_loss
            );
        }
        text.trim_end().into()
    }

    /// What the network costs, if that is known, beside its baseline, if it has one.
    fn cost(&self) -> Option<String> {
        let size = self.model.recipe.data.val.size;
        let (model, classes) = (&self.model.recipe.model, self.model.classes.len());
        let cost = model.cost(classes, [size; 2])?;
        let baseline = model.baseline().and_then(
            |Baseline {
                 config,
                 name,
                 about,
             }| { Some((config.cost(classes, [size; 2])?, name, about)) },
        );
        let (beside, header) = match &baseline {
            Some((_, name, about)) => (
                format!(", beside {about}"),
                format!("| | this network | {name} | ratio |\n|---|---|---|---|\n"),
            ),
            None => (String::new(), "| | this network |\n|---|---|\n".into()),
        };
        let mut text =
            format!("## Cost\n\nFor one image of {size}×{size} pixels{beside}.\n\n{header}");
        /// A name, the number, and how to write it.
        type Part = (&'static str, fn(&Cost) -> u64, fn(u64) -> String);
        let parts: [Part; 3] = [
            ("parameters", |cost| cost.params, thousands),
            ("multiply–adds", |cost| cost.macs, short_count),
            (
                "activations kept in training",
                |cost| cost.activations,
                short_count,
            ),
        ];
        for (what, part, written) in parts {
            let own = part(&cost);
            text += &format!("| {what} | {} |", written(own));
            if let Some((baseline, ..)) = &baseline {
                let other = part(baseline);
                let ratio = percent(own as f64 / other as f64);
                text += &format!(" {} | {ratio} |", written(other));
            }
            text.push('\n');
        }
        Some(text.trim_end().into())
    }

    fn classes(&self) -> String {
        let Evaluation {
            images,
            skipped,
            top1,
            top5,
            ..
        } = self.evaluation;
        let mut text = format!(
            "## Classes\n\nThe best weights on {images} validation images: top-1 {}, top-5 {}.",
            percent(top1),
            percent(top5)
        );
        if skipped > 0 {
            text += &format!(" {skipped} more could not be read.");
        }
        let mut order: Vec<_> = (0..self.model.classes.len()).collect();
        if order.len() > MOST_CLASSES {
            let share = |class: &usize| self.evaluation.per_class[*class].top1.unwrap_or(2.0);
            order.sort_by(|a, b| share(a).total_cmp(&share(b)));
            order.truncate(MOST_CLASSES);
            text += &format!(
                " These are the {MOST_CLASSES} least recognised of {} classes; [classes.csv](report/classes.csv) has all.",
                self.model.classes.len()
            );
        }
        text += "\n\n| class | images | top-1 | most often taken for |\n|---|---|---|---|\n";
        for class in order {
            let result = &self.evaluation.per_class[class];
            let top1 = result.top1.map_or("–".into(), percent);
            let worst = self.evaluation.confusion.worst(class);
            let worst = worst.map_or(String::new(), |(other, count)| {
                format!("{} ({count})", escaped(&self.model.classes[other]))
            });
            let (class, images) = (escaped(&result.class), result.images);
            let _ = writeln!(text, "| {class} | {images} | {top1} | {worst} |");
        }
        text + "\n![Confusion matrix](report/confusion.png)"
    }

    /// The table of all classes as CSV.
    fn class_rows(&self) -> Vec<u8> {
        let mut rows = csv::Writer::from_writer(Vec::new());
        let header = ["class", "images", "top1", "most_often_taken_for", "times"];
        // Writing into memory does not fail.
        let _ = rows.write_record(header);
        for (class, result) in self.evaluation.per_class.iter().enumerate() {
            let worst = self.evaluation.confusion.worst(class);
            let _ = rows.write_record([
                result.class.clone(),
                result.images.to_string(),
                result.top1.map_or(String::new(), |top1| top1.to_string()),
                worst.map_or(String::new(), |(other, _)| {
                    self.model.classes[other].clone()
                }),
                worst.map_or(String::new(), |(_, count)| count.to_string()),
            ]);
        }
        rows.into_inner().unwrap_or_default()
    }
}

fn epochs(rows: &[EpochRow]) -> String {
    let mut text = String::from(
        "## Epochs\n\n\
         | epoch | train loss | train top-1 | val loss | val top-1 | val top-5 | learning rate | seconds | images/s | data wait |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {:.4} | {} | {:.4} | {} | {} | {:.3e} | {:.1} | {:.0} | {} |",
            row.epoch,
            row.train_loss,
            percent(row.train_top1),
            row.val_loss,
            percent(row.val_top1),
            percent(row.val_top5),
            row.lr,
            row.seconds,
            row.images_per_second,
            row.data_wait.map_or("–".into(), percent),
        );
    }
    text.trim_end().into()
}

/// The name of the run's folder.
fn name(run: &RunDir) -> String {
    let root = run.root().canonicalize();
    let root = root.as_deref().unwrap_or(run.root());
    root.file_name()
        .unwrap_or(root.as_os_str())
        .to_string_lossy()
        .into()
}

/// Text that Markdown takes for nothing but text, also in a table.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\`*_[]<>|#".contains(c);
    let escape = |c: char| special(c).then_some('\\').into_iter().chain([c]);
    shown(text.as_ref()).chars().flat_map(escape).collect()
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_cannot_break_a_table() {
        assert_eq!(escaped("a|b_c"), r"a\|b\_c");
        assert_eq!(escaped("Käfer 7"), "Käfer 7");
        assert_eq!(escaped("a\nb"), r"a\\nb");
    }
}
