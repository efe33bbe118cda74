//! Channel-blocked feature maps.

use crate::BLOCK;
use crate::buffer::{Buffer, Shared, floats};
use crate::parallel;

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
        let size = Self::floats(dims, pad);
        self.dims = dims;
        self.pad = pad;
        self.data.resize(size);
        if pad > 0 {
            self.clear_border();
        }
    }

    /// The floats of a map of shape `[n, c, h, w]` with a border of `pad` pixels.
    ///
    /// # Panics
    ///
    /// If memory cannot hold such a map.
    pub fn floats(dims: [usize; 4], pad: usize) -> usize {
        let [n, c, h, w] = dims;
        // Everything that is computed from a map's shape later on fits.
        let side = |length: usize| length.saturating_add(pad.saturating_mul(2));
        let channels = c.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        let size = floats("a map", &[n, channels.max(BLOCK), side(h), side(w)]);
        if c == 0 { 0 } else { size }
    }

    /// The floats that it can hold without asking for memory.
    pub fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Copies the pixels of a map of the same shape, whatever the borders.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn copy_from(&mut self, from: &Self) {
        assert_eq!(self.dims, from.dims, "shape of a copy");
        let [n, _, h, w] = self.dims;
        let blocks = self.blocks();
        let (to, from) = (self.planes_mut(), from.planes());
        parallel::for_each(n * blocks, |job| {
            let (i, b) = (job / blocks, job % blocks);
            let (to_plane, from_plane) = (to.plane(i, b), from.plane(i, b));
            for y in 0..h {
                // SAFETY: row `y` of plane `b` of image `i` of both maps, which have the same
                // shape; no other job writes it.
                unsafe {
                    let (from, to) = (from_plane.add(y * from.row), to_plane.add(y * to.row));
                    std::ptr::copy_nonoverlapping(from, to, w * BLOCK);
                }
            }
        });
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

    /// Where its planes are.
    pub(crate) fn planes(&self) -> Planes<*const f32> {
        Planes::new(self, self.origin_ptr())
    }

    /// Where its planes are, for writing them.
    pub(crate) fn planes_mut(&mut self) -> Planes<*mut f32> {
        let origin = self.origin_mut_ptr();
        Planes::new(self, origin)
    }

    /// The whole memory, border included.
    pub fn as_slice(&self) -> &[f32] {
        self.data.as_slice()
    }
}

/// The addresses of the planes of a map: of its channel blocks, image by image.
#[derive(Clone, Copy)]
pub(crate) struct Planes<P> {
    /// Pixel (0, 0) of block 0 of image 0.
    pub origin: Shared<P>,
    /// Floats from one image to the next.
    pub image: usize,
    /// Floats from one channel block to the next.
    pub block: usize,
    /// Floats from one row to the next.
    pub row: usize,
}

impl<P> Planes<P> {
    fn new(map: &BlockedMap, origin: P) -> Self {
        Self {
            origin: Shared(origin),
            image: map.image_stride(),
            block: map.block_stride(),
            row: map.row_stride(),
        }
    }
}

impl Planes<*const f32> {
    /// The same planes by the type of those that are written.
    pub(crate) fn cast_mut(self) -> Planes<*mut f32> {
        let Self {
            origin,
            image,
            block,
            row,
        } = self;
        Planes {
            origin: Shared(origin.get().cast_mut()),
            image,
            block,
            row,
        }
    }

    /// Pixel (0, 0) of a plane.
    pub(crate) fn plane(&self, image: usize, block: usize) -> *const f32 {
        let at = image * self.image + block * self.block;
        self.origin.get().wrapping_add(at)
    }
}

impl Planes<*mut f32> {
    /// Pixel (0, 0) of a plane.
    pub(crate) fn plane(&self, image: usize, block: usize) -> *mut f32 {
        let at = image * self.image + block * self.block;
        self.origin.get().wrapping_add(at)
    }

    /// The same memory from another image, block and row on.
    pub(crate) fn moved(self, image: usize, block: usize, row: usize) -> Self {
        let at = self.plane(image, block).wrapping_add(row * self.row);
        Self {
            origin: Shared(at),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[cfg(panic = "unwind")]
    #[test]
    fn maps_that_memory_cannot_hold_are_refused() {
        for (dims, pad) in [
            ([1 << (usize::BITS - 4), 16, 1, 1], 0),
            ([1, usize::MAX, 1, 1], 0),
            ([0, 16, 1 << (usize::BITS / 2), 1 << (usize::BITS / 2)], 0),
            ([1, 1, 1, 1], usize::MAX / 2),
        ] {
            let made = std::panic::catch_unwind(|| BlockedMap::zeros(dims, pad));
            assert!(made.is_err(), "{dims:?} with a border of {pad}");
        }
        assert_eq!(BlockedMap::zeros([2, 0, 3, 4], 1).as_slice(), []);
    }

    #[test]
    fn a_copy_has_the_pixels_and_a_border_of_its_own() {
        for dims in [[1, 1, 1, 1], [2, 35, 5, 4], [3, 16, 1, 7]] {
            let x = Rng::new(2).vec(dims.iter().product());
            let maps = [0, 2, 1].map(|pad| {
                let mut map = BlockedMap::zeros(dims, pad);
                crate::from_nchw(crate::Isa::best(), &x, &mut map);
                map
            });
            for (from, to) in [(0, 1), (1, 0), (2, 1)] {
                let mut copy = BlockedMap::zeros(dims, maps[to].pad());
                copy.copy_from(&maps[from]);
                assert_eq!(copy.as_slice(), maps[to].as_slice(), "{dims:?}");
            }
        }
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
