//! An affine map of every channel followed by an activation: a batch norm that
//! could not be folded into a convolution, in inference.

use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::conv::Activation;
use crate::isa::{Isa, per_isa};
use crate::layout::Rows;
use crate::map::BlockedMap;
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
        let [low, high] = bounds;
        for (x, y) in from.chunks_exact(BLOCK).zip(to.chunks_exact_mut(BLOCK)) {
            for l in 0..BLOCK {
                let v = x[l] * scale[l] + shift[l];
                // Comparisons that keep a NaN.
                let v = if v < low { low } else { v };
                y[l] = if v > high { high } else { v };
            }
        }
    }
}

/// `to = activation(scale · from + shift)`, and its 2×2 averages into
/// `pooled`, plane by plane while it is in the cache.
///
/// # Panics
///
/// If the shapes differ.
pub fn affine(
    isa: Isa,
    weights: &AffineWeights,
    activation: Activation,
    from: &BlockedMap,
    to: &mut BlockedMap,
    pooled: Option<&mut BlockedMap>,
) {
    let [n, c, h, w] = from.dims();
    assert_eq!(c, weights.channels, "channels of an affine map");
    assert_eq!(to.dims(), from.dims(), "shape of the output");
    let blocks = from.blocks();
    let (image, block, row) = (to.image_stride(), to.block_stride(), to.row_stride());
    let target = Shared(to.origin_mut_ptr());
    let source = Shared(from.origin_ptr());
    let pooled = pooled.map(|map| {
        let half = [n, c, h.div_ceil(2), w.div_ceil(2)];
        assert_eq!(map.dims(), half, "shape of the pooled map");
        let strides = [map.image_stride(), map.block_stride(), map.row_stride()];
        (Shared(map.origin_mut_ptr()), strides)
    });
    parallel::for_each(n * blocks, |job| {
        let (i, b) = (job / blocks, job % blocks);
        let lanes = |values: &Buffer| -> [f32; BLOCK] {
            std::array::from_fn(|l| values.as_slice()[b * BLOCK + l])
        };
        let (scale, shift) = (lanes(&weights.scale), lanes(&weights.shift));
        let at = i * from.image_stride() + b * from.block_stride();
        // SAFETY: plane `b` of image `i` of both maps, and of the pooled one,
        // whose shapes were checked; nobody else writes it.
        unsafe {
            let f = source.get().add(at);
            let t = target.get().add(i * image + b * block);
            for y in 0..h {
                let from = std::slice::from_raw_parts(f.add(y * from.row_stride()), w * BLOCK);
                let to = std::slice::from_raw_parts_mut(t.add(y * row), w * BLOCK);
                affine_row(isa, from, to, &scale, &shift, activation.bounds());
            }
            if let Some((origin, [image, block, pooled_row])) = pooled {
                let at = origin.get().add(i * image + b * block);
                let to = Rows {
                    at,
                    row: pooled_row,
                };
                let from = Rows {
                    at: t.cast_const(),
                    row,
                };
                average_rows(isa, from, [h, w], to, false);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_nchw, pool::average_pool2, testing::Rng, to_nchw};

    #[test]
    fn every_pixel_is_scaled_shifted_and_bounded_and_the_average_is_that_of_the_result() {
        let mut rng = Rng::new(5);
        for dims in [[1, 1, 1, 1], [2, 35, 5, 4], [1, 16, 3, 9]] {
            let [n, c, h, w] = dims;
            let (x, scale, shift) = (rng.vec(n * c * h * w), rng.vec(c), rng.vec(c));
            let weights = AffineWeights::new(&scale, &shift);
            for isa in Isa::available() {
                for (activation, pad) in [(Activation::Identity, 0), (Activation::Relu, 1)] {
                    let mut from = BlockedMap::zeros(dims, 2);
                    from_nchw(isa, &x, &mut from);
                    let mut to = BlockedMap::zeros(dims, pad);
                    let half = [n, c, h.div_ceil(2), w.div_ceil(2)];
                    let mut pooled = BlockedMap::zeros(half, 1);
                    affine(isa, &weights, activation, &from, &mut to, Some(&mut pooled));

                    let mut y = vec![0.0; x.len()];
                    to_nchw(isa, &to, &mut y);
                    for (i, (&x, y)) in x.iter().zip(y).enumerate() {
                        let channel = i / (h * w) % c;
                        let exact = x * scale[channel] + shift[channel];
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
