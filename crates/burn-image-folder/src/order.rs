use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{ImageList, Purpose, random_stream};

/// How often an image comes in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Once.
    #[default]
    Uniform,
    /// So often that every class comes equally often: images of small classes several times, each
    /// time augmented anew, and of large classes another part in each epoch. An epoch is as long
    /// as without.
    Balanced,
}

/// An image at its place in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    /// Its place in the list.
    pub image: u32,
    /// How often the epoch has picked it before.
    pub repeat: u32,
}

/// The order of an epoch.
pub(super) fn order(images: &ImageList, sampling: Sampling, seed: u64, epoch: u64) -> Vec<Pick> {
    let mut rng = random_stream(seed, Purpose::Shuffle, epoch, 0);
    let picks = |images: std::ops::Range<usize>, repeat| {
        images.map(move |image| Pick {
            image: image as u32,
            repeat,
        })
    };
    let mut order: Vec<_> = match sampling {
        Sampling::Uniform => picks(0..images.len(), 0).collect(),
        Sampling::Balanced => {
            let mut start = 0;
            let ranges = images.class_counts().into_iter().map(|count| {
                start += count;
                start - count..start
            });
            let mut classes: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
            // What does not divide goes to other classes in each epoch.
            classes.shuffle(&mut rng);
            let [share, rest] = [images.len() / classes.len(), images.len() % classes.len()];
            let mut order = Vec::with_capacity(images.len());
            for (number, class) in classes.into_iter().enumerate() {
                let end = order.len() + share + usize::from(number < rest);
                for repeat in 0.. {
                    let mut round: Vec<_> = picks(class.clone(), repeat).collect();
                    round.shuffle(&mut rng);
                    round.truncate(end - order.len());
                    order.extend(round);
                    if order.len() == end {
                        break;
                    }
                }
            }
            order
        }
    };
    order.shuffle(&mut rng);
    order
}
