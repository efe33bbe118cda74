//! Channel-blocked feature maps.

use crate::BLOCK;
use crate::buffer::{Buffer, floats};

/// A feature map laid out as `[n][⌈c/16⌉][h + 2·pad][w + 2·pad][16]`.
///
/// Sixteen channels of one pixel lie side by side, so a pixel is one vector
/// (or a few), and neighbouring pixels follow each other: a convolution is a
/// broadcast and a few multiply–adds per pixel and input channel, and needs no
/// shuffles. The border and the channels past `c` always hold zeros: kernels
/// write neither, and that is what lets a "same" convolution run without
/// branches at the edges.
#[derive(Clone, Default)]
pub struct BlockedMap {
    data: Buffer,
    dims: [usize; 4],
    pad: usize,
}

impl BlockedMap {
    /// A map of zeros of shape `[n, c, h, w]` with a border of `pad` pixels.
    ///
    /// # Panics
    ///
    /// If memory cannot hold such a map.
    pub fn zeros(dims: [usize; 4], pad: usize) -> Self {
        let mut map = Self::default();
        map.reset(dims, pad);
        map.data.as_mut_slice().fill(0.0);
        map
    }

    /// Gives the map another shape, reusing its memory. The border is zero
    /// afterwards, the pixels are unspecified and must be written: every
    /// writer in this crate writes all of them, padding channels included.
    ///
    /// # Panics
    ///
    /// If memory cannot hold such a map.
    pub fn reset(&mut self, dims: [usize; 4], pad: usize) {
        if self.dims == dims && self.pad == pad {
            return;
        }
        let [n, c, h, w] = dims;
        // Everything that is computed from a map's shape later on fits.
        let side = |length: usize| length.saturating_add(pad.saturating_mul(2));
        let channels = c.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        let size = floats("a map", &[n, channels.max(BLOCK), side(h), side(w)]);
        self.dims = dims;
        self.pad = pad;
        self.data.resize(if c == 0 { 0 } else { size });
        if pad > 0 {
            self.clear_border();
        }
    }

    fn clear_border(&mut self) {
        let [_, _, h, _] = self.dims;
        let (pad, row, plane) = (self.pad, self.row_stride(), self.block_stride());
        if plane == 0 {
            return;
        }
        for plane in self.data.as_mut_slice().chunks_exact_mut(plane) {
            plane[..pad * row].fill(0.0);
            plane[(pad + h) * row..].fill(0.0);
            for line in plane[pad * row..(pad + h) * row].chunks_exact_mut(row) {
                line[..pad * BLOCK].fill(0.0);
                line[row - pad * BLOCK..].fill(0.0);
            }
        }
    }

    /// `[n, c, h, w]`.
    pub fn dims(&self) -> [usize; 4] {
        self.dims
    }

    /// Width of the zero border.
    pub fn pad(&self) -> usize {
        self.pad
    }

    /// Number of channel blocks, `⌈c/16⌉`.
    pub fn blocks(&self) -> usize {
        self.dims[1].div_ceil(BLOCK)
    }

    /// Floats from one row to the next.
    pub(crate) fn row_stride(&self) -> usize {
        (self.dims[3] + 2 * self.pad) * BLOCK
    }

    /// Floats from one channel block to the next.
    pub(crate) fn block_stride(&self) -> usize {
        (self.dims[2] + 2 * self.pad) * self.row_stride()
    }

    /// Floats from one image to the next.
    pub(crate) fn image_stride(&self) -> usize {
        self.blocks() * self.block_stride()
    }

    /// Offset of pixel (0, 0) of block 0 of image 0.
    pub(crate) fn origin(&self) -> usize {
        self.pad * (self.row_stride() + BLOCK)
    }

    /// Pointer to pixel (0, 0) of block 0 of image 0.
    pub(crate) fn origin_ptr(&self) -> *const f32 {
        self.data.as_ptr().wrapping_add(self.origin())
    }

    /// Pointer to pixel (0, 0) of block 0 of image 0.
    pub(crate) fn origin_mut_ptr(&mut self) -> *mut f32 {
        let origin = self.origin();
        self.data.as_mut_ptr().wrapping_add(origin)
    }

    /// The whole memory, border included.
    pub fn as_slice(&self) -> &[f32] {
        self.data.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn maps_that_memory_cannot_hold_are_refused() {
        for (dims, pad) in [
            ([1 << 60, 16, 1, 1], 0),
            ([1, usize::MAX, 1, 1], 0),
            ([0, 16, 1 << 32, 1 << 32], 0),
            ([1, 1, 1, 1], usize::MAX / 2),
        ] {
            let made = std::panic::catch_unwind(|| BlockedMap::zeros(dims, pad));
            assert!(made.is_err(), "{dims:?} with a border of {pad}");
        }
        assert_eq!(BlockedMap::zeros([2, 0, 3, 4], 1).as_slice(), []);
    }

    #[test]
    fn reset_clears_the_border_of_reused_memory() {
        let mut map = BlockedMap::zeros([2, 20, 9, 8], 1);
        Rng::new(1).fill(map.data.as_mut_slice());
        map.reset([1, 17, 5, 3], 2);
        let (row, plane) = (map.row_stride(), map.block_stride());
        for (i, &v) in map.as_slice().iter().enumerate() {
            let (y, x) = (i % plane / row, i % row / BLOCK);
            if !(2..7).contains(&y) || !(2..5).contains(&x) {
                assert_eq!(v, 0.0, "at row {y}, column {x}");
            }
        }
    }
}
