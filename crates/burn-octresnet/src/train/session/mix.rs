//! Mixup and CutMix.

use burn::tensor::{Int, Tensor};
use rand::{Rng, RngExt, seq::SliceRandom};
use rand_distr::{Beta, Distribution};

use crate::train::{Recipe, TrainBatch};

/// The second labels of a batch whose images are each made of two.
#[derive(Debug, Clone)]
pub struct Mixed {
    /// Class of the second image, `[batch]`.
    pub targets: Tensor<1, Int>,
    /// Share of the first image, 0 to 1; that of the second is the rest.
    pub share: f64,
}

/// Mixes each image with another of its batch, as the recipe says: blended with Mixup (Zhang et
/// al., <https://arxiv.org/abs/1710.09412>) or with a part of it put in its place with CutMix (Yun
/// et al., <https://arxiv.org/abs/1905.04899>). Of both, each batch gets one by the toss of a coin.
pub(super) fn mix(recipe: &Recipe, batch: TrainBatch, rng: &mut impl Rng) -> TrainBatch {
    let cut = match (recipe.mixup > 0.0, recipe.cutmix > 0.0) {
        (false, false) => return batch,
        (true, true) => rng.random::<f64>() < 0.5,
        (_, cutmix) => cutmix,
    };
    let alpha = if cut { recipe.cutmix } else { recipe.mixup };
    // Validation allows nothing that the distribution does not.
    let Ok(beta) = Beta::new(alpha, alpha) else {
        return batch;
    };
    let share = beta.sample(rng);
    let [count, channels, height, width] = batch.images.dims();
    let mut order: Vec<_> = (0..count as i32).collect();
    order.shuffle(rng);
    let order = Tensor::<1, Int>::from_data(order.as_slice(), &batch.images.device());
    let others = batch.images.clone().select(0, order.clone());
    let targets = batch.targets.clone().select(0, order);
    let (images, share) = if cut {
        let [rows, columns] = [height, width].map(|side| cut_out(side, share, rng));
        let taken = rows.len() * columns.len();
        if taken == 0 {
            return batch;
        }
        let area = [0..count, 0..channels, rows, columns];
        let patch = others.slice(area.clone());
        let share = 1.0 - taken as f64 / (height * width) as f64;
        (batch.images.slice_assign(area, patch), share)
    } else {
        (batch.images * share + others * (1.0 - share), share)
    };
    TrainBatch {
        images,
        mixed: Some(Mixed { targets, share }),
        ..batch
    }
}

/// One side of the box that CutMix takes, around a random middle and cut off at the edges.
fn cut_out(side: usize, share: f64, rng: &mut impl Rng) -> std::ops::Range<usize> {
    let half = side as f64 * (1.0 - share).sqrt() / 2.0;
    let middle = rng.random_range(0.0..side as f64);
    let start = (middle - half).round().max(0.0) as usize;
    let end = ((middle + half).round() as usize).min(side);
    start.min(end)..end
}
