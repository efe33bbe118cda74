//! An affine map of every channel, a sum and an activation: a batch norm that
//! could not be folded into a convolution, in inference, and what follows it.

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
}

impl AffineWeights {
    /// Packs `scale` and `shift`, one element per channel each.
    ///
    /// # Panics
    ///
    /// If their lengths differ.
    pub fn new(scale: &[f32], shift: &[f32]) -> Self {
        assert_eq!(scale.len(), shift.len(), "elements of scale and shift");
        let pad = |values: &[f32]| {
            let mut padded = Buffer::zeros(values.len().next_multiple_of(BLOCK));
            padded.as_mut_slice()[..values.len()].copy_from_slice(values);
            padded
        };
        Self {
            scale: pad(scale),
            shift: pad(shift),
            channels: scale.len(),
        }
    }
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
    /// The result.
    pub output: &'a mut BlockedMap,
    /// 2×2 averages of the result.
    pub pooled: Option<&'a mut BlockedMap>,
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
        assert_eq!(self.output.dims(), dims, "shape of the output");
        let from = input.planes();
        let residual = self.residual.map(|map| {
            assert_eq!(map.dims(), dims, "shape of the residual");
            map.planes()
        });
        let to = self.output.planes_mut();
        let pooled = self.pooled.map(|map| {
            let half = [n, c, h.div_ceil(2), w.div_ceil(2)];
            assert_eq!(map.dims(), half, "shape of the pooled map");
            map.planes_mut()
        });
        let (blocks, bounds) = (input.blocks(), self.activation.bounds());
        parallel::for_each(n * blocks, |job| {
            let (i, b) = (job / blocks, job % blocks);
            let lanes = |values: &Buffer| -> [f32; BLOCK] {
                std::array::from_fn(|l| values.as_slice()[b * BLOCK + l])
            };
            let (scale, shift) = (lanes(&weights.scale), lanes(&weights.shift));
            // SAFETY: plane `b` of image `i` of all maps, whose shapes were
            // checked; nobody else writes those that are written.
            unsafe {
                let read = |map: &Planes<*const f32>, y: usize| {
                    std::slice::from_raw_parts(map.plane(i, b).add(y * map.row), w * BLOCK)
                };
                let written = to.plane(i, b);
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
                        at: map.plane(i, b),
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
}
