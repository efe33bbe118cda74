//! An affine map of every channel, a sum and an activation: a batch norm that
//! could not be folded into a convolution, in inference, or the gates of a
//! squeeze-and-excitation, and what follows it.

use crate::BLOCK;
use crate::buffer::Buffer;
use crate::conv::Activation;
use crate::isa::{Isa, per_isa};
use crate::layout::Rows;
use crate::map::{BlockedMap, Planes};
use crate::parallel;
use crate::pool::average_rows;

/// Scale and shift of every channel, padded with zeros to whole blocks.
#[derive(Clone)]
pub struct AffineWeights {
    scale: Buffer,
    shift: Buffer,
    channels: usize,
    /// Images that have scales of their own; one for all if they share them.
    images: usize,
}

impl AffineWeights {
    /// Packs `scale` and `shift`, one element per channel each.
    ///
    /// # Panics
    ///
    /// If their lengths differ.
    pub fn new(scale: &[f32], shift: &[f32]) -> Self {
        assert_eq!(scale.len(), shift.len(), "elements of scale and shift");
        Self {
            scale: padded(scale, scale.len()),
            shift: padded(shift, shift.len()),
            channels: scale.len(),
            images: 1,
        }
    }

    /// Packs a scale for every channel of every image, `[images, channels]`, and no shift.
    ///
    /// # Panics
    ///
    /// If the images do not have equally many.
    pub fn of_images(scale: &[f32], images: usize) -> Self {
        let channels = scale.len() / images.max(1);
        assert_eq!(scale.len(), images * channels, "scales of {images} images");
        Self {
            scale: padded(scale, channels),
            shift: Buffer::zeros(channels.next_multiple_of(BLOCK)),
            channels,
            images,
        }
    }
}

/// Rows of `channels` values, each padded with zeros to whole blocks.
fn padded(values: &[f32], channels: usize) -> Buffer {
    let row = channels.next_multiple_of(BLOCK);
    let rows = values.len() / channels.max(1);
    let mut padded = Buffer::zeros(rows * row);
    for (i, values) in values.chunks_exact(channels.max(1)).enumerate() {
        padded.as_mut_slice()[i * row..][..channels].copy_from_slice(values);
    }
    padded
}

per_isa! {
    fn affine_row(from: &[f32], to: &mut [f32], scale: &[f32; BLOCK], shift: &[f32; BLOCK], bounds: [f32; 2]) {
        for (x, y) in from.chunks_exact(BLOCK).zip(to.chunks_exact_mut(BLOCK)) {
            for l in 0..BLOCK {
                y[l] = clamp(x[l] * scale[l] + shift[l], bounds);
            }
        }
    }
}

per_isa! {
    fn affine_sum_row(rows: [&[f32]; 2], to: &mut [f32], scale: &[f32; BLOCK], shift: &[f32; BLOCK], bounds: [f32; 2]) {
        let [from, residual] = rows.map(|row| row.chunks_exact(BLOCK));
        for ((x, r), y) in from.zip(residual).zip(to.chunks_exact_mut(BLOCK)) {
            for l in 0..BLOCK {
                y[l] = clamp(x[l] * scale[l] + shift[l] + r[l], bounds);
            }
        }
    }
}

/// By comparisons that keep a NaN.
#[inline(always)]
fn clamp(v: f32, [low, high]: [f32; 2]) -> f32 {
    let v = if v < low { low } else { v };
    if v > high { high } else { v }
}

/// `output = activation(scale · input + shift + residual)`, and its 2×2
/// averages.
pub struct Affine<'a> {
    /// Scale and shift.
    pub weights: &'a AffineWeights,
    /// What is scaled.
    pub input: &'a BlockedMap,
    /// Added, of the same shape.
    pub residual: Option<&'a BlockedMap>,
    /// Applied last.
    pub activation: Activation,
    /// The result, or more: its channels may be some of those of this map.
    pub output: &'a mut BlockedMap,
    /// 2×2 averages of the result.
    pub pooled: Option<&'a mut BlockedMap>,
    /// Where the result begins in both, in blocks of channels.
    pub first_block: usize,
}

impl Affine<'_> {
    /// Computes the map, plane by plane, and averages each while it is in the cache.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn run(self, isa: Isa) {
        let (weights, input) = (self.weights, self.input);
        let dims @ [n, c, h, w] = input.dims();
        assert_eq!(c, weights.channels, "channels of an affine map");
        assert!([1, n].contains(&weights.images), "images of an affine map");
        let total = self.output.dims()[1];
        let last = self.first_block.saturating_mul(BLOCK).saturating_add(c);
        assert!(last <= total, "channels up to {last} of {total}");
        assert_eq!(self.output.dims(), [n, total, h, w], "shape of the output");
        let from = input.planes();
        let residual = self.residual.map(|map| {
            assert_eq!(map.dims(), dims, "shape of the residual");
            map.planes()
        });
        let to = self.output.planes_mut();
        let pooled = self.pooled.map(|map| {
            let half = [n, total, h.div_ceil(2), w.div_ceil(2)];
            assert_eq!(map.dims(), half, "shape of the pooled map");
            map.planes_mut()
        });
        let first = self.first_block;
        let (blocks, bounds) = (input.blocks(), self.activation.bounds());
        parallel::for_each(n * blocks, |job| {
            let (i, b) = (job / blocks, job % blocks);
            let lanes = |values: &Buffer, row: usize| -> [f32; BLOCK] {
                std::array::from_fn(|l| values.as_slice()[(row * blocks + b) * BLOCK + l])
            };
            let row = if weights.images == 1 { 0 } else { i };
            let (scale, shift) = (lanes(&weights.scale, row), lanes(&weights.shift, 0));
            // SAFETY: plane `b` of image `i` of what is read, and that of the
            // result in what is written, whose shapes were checked; nobody
            // else writes those that are written.
            unsafe {
                let read = |map: &Planes<*const f32>, y: usize| {
                    std::slice::from_raw_parts(map.plane(i, b).add(y * map.row), w * BLOCK)
                };
                let written = to.plane(i, first + b);
                for y in 0..h {
                    let x = read(&from, y);
                    let row = std::slice::from_raw_parts_mut(written.add(y * to.row), w * BLOCK);
                    match &residual {
                        Some(map) => {
                            let rows = [x, read(map, y)];
                            affine_sum_row(isa, rows, row, &scale, &shift, bounds);
                        }
                        None => affine_row(isa, x, row, &scale, &shift, bounds),
                    }
                }
                if let Some(map) = pooled {
                    let from = Rows {
                        at: written.cast_const(),
                        row: to.row,
                    };
                    let to = Rows {
                        at: map.plane(i, first + b),
                        row: map.row,
                    };
                    average_rows(isa, from, [h, w], to, false);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_nchw, pool::average_pool2, testing::Rng, to_nchw};

    #[test]
    fn every_pixel_is_scaled_shifted_summed_and_bounded_and_the_average_is_that_of_the_result() {
        let mut rng = Rng::new(5);
        for dims in [[1, 1, 1, 1], [2, 35, 5, 4], [1, 16, 3, 9]] {
            let [n, c, h, w] = dims;
            let (x, scale, shift) = (rng.vec(n * c * h * w), rng.vec(c), rng.vec(c));
            let r = rng.vec(x.len());
            let weights = AffineWeights::new(&scale, &shift);
            for isa in Isa::available() {
                for (activation, pad, sum) in [
                    (Activation::Identity, 0, true),
                    (Activation::Relu, 1, false),
                    (Activation::Relu6, 1, true),
                ] {
                    let mut from = BlockedMap::zeros(dims, 2);
                    from_nchw(isa, &x, &mut from);
                    let mut residual = BlockedMap::zeros(dims, 1);
                    from_nchw(isa, &r, &mut residual);
                    let mut to = BlockedMap::zeros(dims, pad);
                    let half = [n, c, h.div_ceil(2), w.div_ceil(2)];
                    let mut pooled = BlockedMap::zeros(half, 1);
                    let map = Affine {
                        weights: &weights,
                        input: &from,
                        residual: sum.then_some(&residual),
                        activation,
                        output: &mut to,
                        pooled: Some(&mut pooled),
                        first_block: 0,
                    };
                    map.run(isa);

                    let mut y = vec![0.0; x.len()];
                    to_nchw(isa, &to, &mut y);
                    for (i, (&x, y)) in x.iter().zip(y).enumerate() {
                        let channel = i / (h * w) % c;
                        let residual = if sum { r[i] } else { 0.0 };
                        let exact = x * scale[channel] + shift[channel] + residual;
                        let [low, high] = activation.bounds();
                        let expected = exact.clamp(low, high);
                        assert!((y - expected).abs() < 1e-6, "{isa:?} {dims:?} at {i}");
                    }
                    let mut expected = BlockedMap::zeros(half, 1);
                    average_pool2(isa, &to, &mut expected);
                    assert_eq!(pooled.as_slice(), expected.as_slice());
                }
            }
        }
    }

    #[test]
    fn maps_are_put_side_by_side_and_images_have_scales_of_their_own() {
        let mut rng = Rng::new(6);
        let (n, h, w) = (2, 3, 5);
        let channels = [16, 32, 5];
        for isa in Isa::available() {
            let mut to = BlockedMap::zeros([n, 53, h, w], 1);
            let mut pooled = BlockedMap::zeros([n, 53, 2, 3], 0);
            let mut expected = vec![0.0; n * 53 * h * w];
            let mut first = 0;
            for c in channels {
                let (x, scale) = (rng.vec(n * c * h * w), rng.vec(n * c));
                let mut from = BlockedMap::zeros([n, c, h, w], 0);
                from_nchw(isa, &x, &mut from);
                let map = Affine {
                    weights: &AffineWeights::of_images(&scale, n),
                    input: &from,
                    residual: None,
                    activation: Activation::Identity,
                    output: &mut to,
                    pooled: Some(&mut pooled),
                    first_block: first / BLOCK,
                };
                map.run(isa);
                for (i, x) in x.iter().enumerate() {
                    let (image, channel) = (i / (c * h * w), i / (h * w) % c);
                    let at = (image * 53 + first + channel) * h * w + i % (h * w);
                    expected[at] = x * scale[image * c + channel];
                }
                first += c;
            }
            let mut y = vec![0.0; expected.len()];
            to_nchw(isa, &to, &mut y);
            assert_eq!(y, expected);
            let mut averages = BlockedMap::zeros(pooled.dims(), 0);
            average_pool2(isa, &to, &mut averages);
            assert_eq!(pooled.as_slice(), averages.as_slice());
        }
    }

    #[test]
    #[should_panic(expected = "channels up to 48 of 40")]
    fn a_result_must_fit() {
        let from = BlockedMap::zeros([1, 32, 2, 2], 0);
        let mut to = BlockedMap::zeros([1, 40, 2, 2], 0);
        let map = Affine {
            weights: &AffineWeights::new(&[1.0; 32], &[0.0; 32]),
            input: &from,
            residual: None,
            activation: Activation::Identity,
            output: &mut to,
            pooled: None,
            first_block: 1,
        };
        map.run(Isa::best());
    }
}
