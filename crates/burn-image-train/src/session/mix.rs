//! Mixup and CutMix.

use burn::tensor::{Int, Tensor};
use rand::{Rng, RngExt, seq::SliceRandom};
use rand_distr::{Beta, Distribution};

use crate::{
    batch::{Mixed, TrainBatch},
    classifier::Classifier,
    recipe::Recipe,
};

/// Mixes each image with another of its batch, as the recipe says: blended with Mixup (Zhang et
/// al., <https://arxiv.org/abs/1710.09412>) or with a part of it put in its place with CutMix (Yun
/// et al., <https://arxiv.org/abs/1905.04899>). Of both, each batch gets one by the toss of a coin.
pub(super) fn mix<C: Classifier>(
    recipe: &Recipe<C>,
    batch: TrainBatch,
    rng: &mut impl Rng,
) -> TrainBatch {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestConfig;
    use burn::tensor::{Device, TensorData, Tolerance};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    type Recipe = super::Recipe<TestConfig>;

    /// Image `i` has the value `i` everywhere and class `i`.
    fn batch(count: usize, side: usize) -> TrainBatch {
        let device = Device::flex();
        let pixels = (0..count).flat_map(|image| vec![image as f32; 3 * side * side]);
        let pixels = TensorData::new(pixels.collect::<Vec<_>>(), [count, 3, side, side]);
        let classes: Vec<_> = (0..count as i32).collect();
        TrainBatch {
            images: Tensor::from_data(pixels, &device),
            targets: Tensor::from_data(classes.as_slice(), &device),
            mixed: None,
            label_smoothing: 0.0,
            dropout: 0.0,
            loss_scale: 1.0,
            indexes: Vec::new(),
            next: burn_image_folder::Position::start_of(1),
            share: 1.0,
        }
    }

    /// What the labels say an image's mean is.
    fn expected(batch: &TrainBatch) -> Vec<f64> {
        let mixed = batch.mixed.as_ref().unwrap();
        let classes =
            |targets: &Tensor<1, Int>| targets.clone().into_data().try_to_vec::<i32>().unwrap();
        (classes(&batch.targets)
            .into_iter()
            .zip(classes(&mixed.targets)))
        .map(|(one, other)| f64::from(one) * mixed.share + f64::from(other) * (1.0 - mixed.share))
        .collect()
    }

    fn means(batch: &TrainBatch) -> Vec<f64> {
        let [count, ..] = batch.images.dims();
        let means = batch.images.clone().reshape([count as i32, -1]).mean_dim(1);
        means.into_data().iter::<f64>().collect()
    }

    #[test]
    fn labels_are_mixed_as_the_pixels_are() {
        for (mixup, cutmix) in [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)] {
            let recipe = Recipe {
                mixup,
                cutmix,
                ..Default::default()
            };
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut shares = Vec::new();
            for _ in 0..40 {
                let batch = mix(&recipe, batch(5, 16), &mut rng);
                // A box without a pixel leaves everything as it was.
                let Some(mixed) = &batch.mixed else { continue };
                shares.push(mixed.share);
                for (got, expected) in means(&batch).into_iter().zip(expected(&batch)) {
                    assert!((got - expected).abs() < 1e-4, "{got} {expected}");
                }
            }
            assert!(shares.len() > 20 && shares.iter().all(|s| (0.0..=1.0).contains(s)));
            assert!(shares.iter().any(|s| *s < 0.5) && shares.iter().any(|s| *s > 0.5));
        }
    }

    #[test]
    fn cutmix_takes_whole_pixels_of_one_box() {
        let recipe = Recipe {
            cutmix: 1.0,
            ..Default::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let batch = mix(&recipe, batch(4, 8), &mut rng);
        let values = batch.images.into_data().try_to_vec::<f32>().unwrap();
        assert!(values.iter().all(|value| value.fract() == 0.0));
    }

    #[test]
    fn shares_have_the_mean_of_their_distribution() {
        let recipe = Recipe {
            mixup: 0.2,
            ..Default::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let shares: Vec<_> = (0..2000)
            .map(|_| mix(&recipe, batch(2, 1), &mut rng).mixed.unwrap().share)
            .collect();
        let mean = shares.iter().sum::<f64>() / 2000.0;
        let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 2000.0;
        // Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)); five standard errors.
        assert!(
            (mean - 0.5).abs() < 5.0 * (0.25f64 / 1.4 / 2000.0).sqrt(),
            "{mean}"
        );
        assert!((variance - 0.25 / 1.4).abs() < 0.015, "{variance}");
    }

    #[test]
    fn without_either_a_batch_stays_as_it_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let same = mix(&Recipe::default(), batch(3, 2), &mut rng);
        assert!(same.mixed.is_none());
        let tolerance = Tolerance::<f32>::absolute(0.0);
        let expected = batch(3, 2).images.into_data();
        same.images
            .into_data()
            .assert_approx_eq(&expected, tolerance);
    }
}
