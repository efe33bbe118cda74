//! Logs for [TensorBoard](https://www.tensorflow.org/tensorboard), as a run goes.
//!
//! Two of its "runs", `train` and `val`, so that it draws both curves of a name into one diagram:
//!
//! | | at each step of the optimizer | at each epoch's end |
//! |---|---|---|
//! | `train` | `batch_loss`, `learning_rate` | `loss`, `top1`, `top5`, `images_per_second`, `data_wait` |
//! | `val` | | `loss`, `top1`, `top5`; at ten epochs the images `confusion` and `predictions` |
//!
//! The messages are encoded by `prost` and the records written here: the crates for such files have had
//! no release for years, and bring old versions of half a dozen others.

mod event;
mod file;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io};

use burn_image_folder::ImageList;
use image::RgbImage;

use crate::{
    classifier::Classifier,
    confusion::Confusion,
    evaluate::first,
    history::EpochRow,
    listener::Listener,
    plot::{ConfusionPicture, Picture, PlotError, SheetPicture, Tile, png},
    recipe::Recipe,
    run_dir::RunDir,
    session::RunState,
};
use event::{Event, Value};
use file::EventFile;

/// Validation images that are shown.
const SAMPLES: usize = 21;
/// Epochs with images: TensorBoard shows no more of a name.
const MOST_IMAGES: usize = 10;
/// By which a resumed run knows the epochs that it has.
const EPOCH: &str = "epoch";

/// What a run writes for TensorBoard.
pub(crate) struct TensorBoard {
    /// None after something could not be written.
    files: Option<[EventFile; 2]>,
    epochs: usize,
    classes: Vec<String>,
    confusion: Confusion,
    /// Some of the validation images, by their place in their list.
    samples: BTreeMap<usize, Sample>,
}

struct Sample {
    image: RgbImage,
    /// True class.
    class: usize,
    /// The class found, and its probability.
    found: Option<(usize, f64)>,
}

impl TensorBoard {
    /// Begins the logs of a run, or goes on with them after `state`: what they have of later steps is
    /// forgotten.
    pub(crate) fn open<C: Classifier>(
        run: &RunDir,
        state: &RunState,
        recipe: &Recipe<C>,
        images: &ImageList,
        classes: &[String],
    ) -> io::Result<Self> {
        let keep = |event: &Event| {
            let epoch = event.number(EPOCH).unwrap_or(0.0);
            event.step <= state.update as i64 && epoch <= state.epochs_done() as f32
        };
        let open = |part: &str| EventFile::open(&run.tensorboard().join(part), keep);
        Ok(Self {
            files: Some([open("train")?, open("val")?]),
            epochs: recipe.epochs,
            classes: classes.to_vec(),
            confusion: Confusion::new(classes.len()),
            samples: samples(recipe, images),
        })
    }

    /// Writes to both files. A log that cannot be written is no reason to stop a run, which says so where
    /// it is the disk.
    fn write(&mut self, write: impl FnOnce(&mut [EventFile; 2]) -> io::Result<()>) {
        if let Some(files) = &mut self.files
            && let Err(error) = write(files)
        {
            log::warn!("the logs for TensorBoard end here: {error}");
            self.files = None;
        }
    }

    /// The confusion matrix and the samples.
    fn pictures(&self) -> Result<Vec<Value>, PlotError> {
        let confusion = ConfusionPicture::new(&self.classes, &self.confusion);
        let tiles = self.samples.values().filter_map(|sample| {
            let (class, probability) = sample.found?;
            let is = format!("is {}", self.classes[sample.class]);
            let tile = Tile::new(sample.image.clone(), &self.classes[class], probability, &is);
            Some(tile.with_wrong(class != sample.class))
        });
        let title = "Some of the validation images, as the network finds them";
        let sheet = SheetPicture::new(title.into(), tiles.collect(), Vec::new());
        Ok(vec![
            Value::image("confusion", confusion.size(), png(&confusion, 1)?),
            Value::image("predictions", sheet.size(), png(&sheet, 1)?),
        ])
    }
}

impl Listener for TensorBoard {
    fn update(&mut self, number: usize, losses: &[f32], rate: f64) {
        let loss = losses.iter().copied().map(f64::from).sum::<f64>() / losses.len() as f64;
        self.write(|[train, _]| {
            train.add(
                number,
                vec![
                    Value::number("batch_loss", loss),
                    Value::number("learning_rate", rate),
                ],
            )
        });
    }

    fn validated(&mut self, images: &[usize], targets: &[i64], logits: &[f32]) {
        let rows = logits.chunks(self.classes.len());
        for ((image, &target), row) in images.iter().zip(targets).zip(rows) {
            let class = first(row, target as usize);
            self.confusion.add(target as usize, class);
            if let Some(sample) = self.samples.get_mut(image) {
                sample.found = Some((class, probability(row, class)));
            }
        }
    }

    fn epoch(&mut self, row: &EpochRow, update: usize) {
        let every = self.epochs.div_ceil(MOST_IMAGES);
        let mut images = Vec::new();
        if row.epoch.is_multiple_of(every) || row.epoch == self.epochs {
            match self.pictures() {
                Ok(values) => images = values,
                Err(error) => log::warn!("no images for TensorBoard: {error}"),
            }
        }
        self.confusion = Confusion::new(self.classes.len());
        let numbers = |values: &[(&str, f64)]| -> Vec<Value> {
            let values = values.iter();
            values
                .map(|(tag, value)| Value::number(tag, *value))
                .collect()
        };
        let epoch = row.epoch as f64;
        let train = numbers(&[
            (EPOCH, epoch),
            ("loss", row.train_loss),
            ("top1", row.train_top1),
            ("top5", row.train_top5),
            ("images_per_second", row.images_per_second),
            ("data_wait", row.data_wait.unwrap_or(f64::NAN)),
        ]);
        let mut val = numbers(&[
            (EPOCH, epoch),
            ("loss", row.val_loss),
            ("top1", row.val_top1),
            ("top5", row.val_top5),
        ]);
        val.extend(images);
        self.write(|files| {
            files[0].add(update, train)?;
            files[1].add(update, val)
        });
    }

    fn saving(&mut self) {
        self.write(|files| files.iter().try_for_each(EventFile::sync));
    }
}

/// Validation images, as the network gets them. One that cannot be read is left out here as it is there.
fn samples<C: Classifier>(recipe: &Recipe<C>, images: &ImageList) -> BTreeMap<usize, Sample> {
    let data = &recipe.data;
    let load = |place: usize| {
        let planes = data
            .val
            .load(images.path(place), data.max_megapixels)
            .ok()?;
        let sample = Sample {
            image: picture(&planes, data.val.size),
            class: images.class(place),
            found: None,
        };
        Some((place, sample))
    };
    let places = SheetPicture::places(images.len(), SAMPLES);
    places.filter_map(load).collect()
}

/// A picture of a plane of red, one of green and one of blue.
fn picture(planes: &[u8], size: usize) -> RgbImage {
    let side = size as u32;
    RgbImage::from_fn(side, side, |x, y| {
        let place = y as usize * size + x as usize;
        image::Rgb([0, 1, 2].map(|plane| planes[plane * size * size + place]))
    })
}

/// Softmax of one of the logits.
fn probability(logits: &[f32], class: usize) -> f64 {
    let beside = |logit: &f32| f64::from(logit - logits[class]).exp();
    1.0 / logits.iter().map(beside).sum::<f64>()
}
