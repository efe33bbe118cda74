//! Between NCHW and the channel-blocked layout.
//!
//! Both directions transpose 16 channels × 16 consecutive pixels of a plane
//! at a time. Rows are ignored on the NCHW side, where a plane is contiguous;
//! the border is stepped over on the blocked side.

use crate::BLOCK;
use crate::buffer::Shared;
use crate::isa::{Isa, simd_kernel};
use crate::map::BlockedMap;
use crate::parallel;
use crate::simd::Simd;

/// Rows of pixels of one channel block.
#[derive(Clone, Copy)]
pub(crate) struct Rows<P> {
    /// The first pixel of the first row.
    pub at: P,
    /// Floats from one row to the next.
    pub row: usize,
}

/// Up to sixteen planes of a contiguous tensor, one channel each.
#[derive(Clone, Copy)]
pub(crate) struct Planar<P> {
    /// The first pixel of the first plane.
    pub at: P,
    /// Floats from one plane to the next.
    pub plane: usize,
    /// Planes that there are.
    pub channels: usize,
}

/// Sixteen floats to read where a channel does not exist.
static ZEROS: [f32; BLOCK] = [0.0; BLOCK];

/// Copies `x` of shape `[n, c, h, w]`, contiguous, into `map`, whose shape
/// says what n, c, h and w are.
///
/// # Panics
///
/// If the length of `x` is not n·c·h·w.
pub fn from_nchw(isa: Isa, x: &[f32], map: &mut BlockedMap) {
    let [n, c, h, w] = map.dims();
    assert_eq!(
        x.len(),
        n * c * h * w,
        "elements of an input of shape {:?}",
        map.dims()
    );
    let blocks = map.blocks();
    let to = map.planes_mut();
    let from = Shared(x.as_ptr());
    parallel::for_each(n * blocks, |job| {
        let (i, b) = (job / blocks, job % blocks);
        // SAFETY: plane `b` of image `i` belongs to this job alone; `x` has the map's shape.
        unsafe {
            let (at, row) = (to.plane(i, b), to.row);
            from_planes(isa, from.get(), [n, c, h, w], [i, b], Rows { at, row });
        }
    });
}

/// Copies `map` to `x` of shape `[n, c, h, w]`, contiguous.
///
/// # Panics
///
/// If the length of `x` is not n·c·h·w.
pub fn to_nchw(isa: Isa, map: &BlockedMap, x: &mut [f32]) {
    let [n, c, h, w] = map.dims();
    assert_eq!(
        x.len(),
        n * c * h * w,
        "elements of an output of shape {:?}",
        map.dims()
    );
    let blocks = map.blocks();
    let from = map.planes();
    let to = Shared(x.as_mut_ptr());
    parallel::for_each(n * blocks, |job| {
        let (i, b) = (job / blocks, job % blocks);
        // SAFETY: the planes of these channels belong to this job alone.
        unsafe {
            let (at, row) = (from.plane(i, b), from.row);
            to_planes(isa, Rows { at, row }, to.get(), map.dims(), [i, b]);
        }
    });
}

/// Copies the planes of channel block `b` of image `i` in the tensor `from` of shape `dims` to the rows
/// `to`, with zeros for the channels that there are not.
///
/// # Safety
///
/// `from` must be valid for the tensor, `to` for `h` rows of `16·w` floats, which nobody else may
/// access.
pub(crate) unsafe fn from_planes(
    isa: Isa,
    from: *const f32,
    [_, c, h, w]: [usize; 4],
    [i, b]: [usize; 2],
    to: Rows<*mut f32>,
) {
    let plane = h * w;
    // SAFETY: contract.
    unsafe {
        let from = Planar {
            at: from.add((i * c + b * BLOCK) * plane),
            plane,
            channels: (c - b * BLOCK).min(BLOCK),
        };
        pack_plane(isa, from, to, [h, w]);
    }
}

/// Copies the rows `from` of channel block `b` of image `i` to the planes of these channels in the
/// tensor `to` of shape `dims`.
///
/// # Safety
///
/// `from` must be valid for `h` rows of `16·w` floats, `to` for the tensor, whose planes of this
/// block nobody else may access.
pub(crate) unsafe fn to_planes(
    isa: Isa,
    from: Rows<*const f32>,
    to: *mut f32,
    [_, c, h, w]: [usize; 4],
    [i, b]: [usize; 2],
) {
    let plane = h * w;
    // SAFETY: contract.
    unsafe {
        let to = Planar {
            at: to.add((i * c + b * BLOCK) * plane),
            plane,
            channels: (c - b * BLOCK).min(BLOCK),
        };
        unpack_plane(isa, from, to, [h, w]);
    }
}

simd_kernel! {
    /// Interleaves up to 16 planes of `size = [h, w]` floats into a blocked
    /// plane.
    ///
    /// # Safety
    ///
    /// `from` must be valid for its planes, `to` for `h` rows of `16·w`
    /// floats, which nobody else may access.
    unsafe fn pack_plane(
        from: Planar<*const f32>, to: Rows<*mut f32>, size: [usize; 2],
    ) = pack_plane_with
}

#[inline(always)]
unsafe fn pack_plane_with<S: Simd>(
    from: Planar<*const f32>,
    to: Rows<*mut f32>,
    [h, w]: [usize; 2],
) {
    let (
        Planar {
            plane, channels, ..
        },
        from,
    ) = (from, from.at);
    let (row, to) = (to.row, to.at);
    let pixels = h * w;
    let (mut y, mut x) = (0, 0);
    for first in (0..pixels).step_by(BLOCK) {
        let count = (pixels - first).min(BLOCK);
        let mut columns = [to; BLOCK];
        for column in &mut columns[..count] {
            *column = to.wrapping_add(y * row + x * BLOCK);
            x += 1;
            if x == w {
                (y, x) = (y + 1, 0);
            }
        }
        if count == BLOCK {
            let mut rows = [ZEROS.as_ptr(); BLOCK];
            for (ch, r) in rows.iter_mut().enumerate().take(channels) {
                *r = from.wrapping_add(ch * plane + first);
            }
            // SAFETY: each row has 16 floats left in its plane (or is ZEROS);
            // the columns are pixels of the map.
            unsafe { S::transpose16(&rows, &columns) };
        } else {
            for (j, column) in columns[..count].iter().enumerate() {
                for ch in 0..BLOCK {
                    // SAFETY: pixel first + j < h·w, of a channel that exists.
                    unsafe {
                        *column.add(ch) = if ch < channels {
                            *from.add(ch * plane + first + j)
                        } else {
                            0.0
                        };
                    }
                }
            }
        }
    }
}

simd_kernel! {
    /// Separates `h` rows of `w` pixels into up to 16 planes of `h·w` floats;
    /// `size = [h, w]`.
    ///
    /// # Safety
    ///
    /// `from` must be valid for `h` rows of `16·w` floats, `to` for its
    /// planes, which nobody else may access.
    pub(crate) unsafe fn unpack_plane(
        from: Rows<*const f32>, to: Planar<*mut f32>, size: [usize; 2],
    ) = unpack_plane_with
}

#[inline(always)]
unsafe fn unpack_plane_with<S: Simd>(
    from: Rows<*const f32>,
    to: Planar<*mut f32>,
    [h, w]: [usize; 2],
) {
    let (row, from) = (from.row, from.at);
    let (
        Planar {
            plane, channels, ..
        },
        to,
    ) = (to, to.at);
    let pixels = h * w;
    // Where channels that do not exist are written to.
    let mut waste = [0.0f32; BLOCK];
    let waste = waste.as_mut_ptr();
    let (mut y, mut x) = (0, 0);
    for first in (0..pixels).step_by(BLOCK) {
        let count = (pixels - first).min(BLOCK);
        let mut rows = [from; BLOCK];
        for r in &mut rows[..count] {
            *r = from.wrapping_add(y * row + x * BLOCK);
            x += 1;
            if x == w {
                (y, x) = (y + 1, 0);
            }
        }
        if count == BLOCK {
            let mut columns = [waste; BLOCK];
            for (ch, column) in columns.iter_mut().enumerate().take(channels) {
                *column = to.wrapping_add(ch * plane + first);
            }
            // SAFETY: the rows are pixels of the map; each column has 16
            // floats left in its plane (or is `waste`).
            unsafe { S::transpose16(&rows, &columns) };
        } else {
            for (j, r) in rows[..count].iter().enumerate() {
                for ch in 0..channels {
                    // SAFETY: pixel first + j < h·w of channel ch < channels.
                    unsafe { *to.add(ch * plane + first + j) = *r.add(ch) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn round_trip_keeps_every_pixel() {
        let mut rng = Rng::new(3);
        for isa in Isa::available() {
            for dims in [
                [1, 1, 1, 1],
                [2, 16, 4, 4],
                [3, 5, 7, 3],
                [1, 33, 5, 17],
                [2, 48, 16, 1],
            ] {
                for pad in [0, 1, 3] {
                    let x = rng.vec(dims.iter().product());
                    let mut map = BlockedMap::zeros(dims, pad);
                    from_nchw(isa, &x, &mut map);
                    let [n, c, h, w] = dims;
                    for i in 0..n {
                        for ch in 0..map.blocks() * BLOCK {
                            for y in 0..h {
                                for col in 0..w {
                                    let at = map.origin()
                                        + i * map.image_stride()
                                        + ch / BLOCK * map.block_stride()
                                        + y * map.row_stride()
                                        + col * BLOCK
                                        + ch % BLOCK;
                                    let want = if ch < c {
                                        x[((i * c + ch) * h + y) * w + col]
                                    } else {
                                        0.0
                                    };
                                    assert_eq!(map.as_slice()[at], want, "{isa:?} {dims:?} {pad}");
                                }
                            }
                        }
                    }
                    let mut back = vec![f32::NAN; x.len()];
                    to_nchw(isa, &map, &mut back);
                    assert_eq!(back, x, "{isa:?} {dims:?} {pad}");
                }
            }
        }
    }
}
