//! Pooling of blocked maps.

use crate::BLOCK;
use crate::buffer::Shared;
use crate::isa::{Isa, per_isa, simd_kernel};
use crate::layout::Rows;
use crate::map::BlockedMap;
use crate::parallel;
use crate::simd::Simd;

/// One pixel of a block.
type Pixel = [f32; BLOCK];

per_isa! {
    /// 2×2 averages (or sums) of two rows of pixels, or of one if `bottom` is
    /// empty.
    fn average_row(top: &[Pixel], bottom: &[Pixel], to: &mut [Pixel], sum: bool) {
        let w = top.len();
        let rows = if bottom.is_empty() { 1.0 } else { 2.0 };
        let (full, last) = if sum { (1.0, 1.0) } else { (0.5 / rows, 1.0 / rows) };
        for (x, out) in to.iter_mut().enumerate().take(w / 2) {
            for l in 0..BLOCK {
                let mut sum = top[2 * x][l] + top[2 * x + 1][l];
                if !bottom.is_empty() {
                    sum += bottom[2 * x][l] + bottom[2 * x + 1][l];
                }
                out[l] = sum * full;
            }
        }
        if w % 2 == 1 {
            for l in 0..BLOCK {
                let mut sum = top[w - 1][l];
                if !bottom.is_empty() {
                    sum += bottom[w - 1][l];
                }
                to[w / 2][l] = sum * last;
            }
        }
    }
}

/// A row of `w` pixels.
///
/// # Safety
///
/// `row` must be valid for `w` pixels for as long as the slice is used.
unsafe fn pixels<'a>(row: *const f32, w: usize) -> &'a [Pixel] {
    // SAFETY: contract of this function.
    unsafe { std::slice::from_raw_parts(row.cast(), w) }
}

/// As [`pixels`], for writing.
///
/// # Safety
///
/// And nobody else may access the row.
unsafe fn pixels_mut<'a>(row: *mut f32, w: usize) -> &'a mut [Pixel] {
    // SAFETY: contract of this function.
    unsafe { std::slice::from_raw_parts_mut(row.cast(), w) }
}

/// 2×2 averages (or sums) of `rows` rows of `w` pixels of a blocked plane.
///
/// # Safety
///
/// `from` must be valid for `rows` rows of `w` pixels, `to` for half as many (rounded up) of
/// half the width (rounded up), which nobody else may access.
pub(crate) unsafe fn average_rows(
    isa: Isa,
    from: Rows<*const f32>,
    [rows, w]: [usize; 2],
    to: Rows<*mut f32>,
    sum: bool,
) {
    for y in 0..rows.div_ceil(2) {
        // SAFETY: rows 2y and, where it exists, 2y + 1.
        unsafe {
            let top = pixels(from.at.add(2 * y * from.row), w);
            let below = if 2 * y + 1 < rows { w } else { 0 };
            let bottom = pixels(from.at.add((2 * y + below.min(1)) * from.row), below);
            average_row(
                isa,
                top,
                bottom,
                pixels_mut(to.at.add(y * to.row), w.div_ceil(2)),
                sum,
            );
        }
    }
}

per_isa! {
    /// Divides each pixel of a coarse row by the number of fine pixels under
    /// it: `under` rows × 2 columns, or 1 at the end of an odd width `w`.
    pub(crate) fn spread_rows(row: &mut [f32], under: usize, w: usize) {
        let (inner, edge) = row.split_at_mut(w / 2 * BLOCK);
        let scale = 0.5 / under as f32;
        inner.iter_mut().for_each(|v| *v *= scale);
        edge.iter_mut().for_each(|v| *v *= 2.0 * scale);
    }
}

per_isa! {
    /// Repeats each coarse pixel twice, `to.len()` pixels in all.
    fn double_row(from: &[Pixel], to: &mut [Pixel]) {
        for (x, p) in to.iter_mut().enumerate() {
            *p = from[x / 2];
        }
    }
}

/// The adjoint of average pooling on a run of rows: spreads `rows` coarse rows
/// over `fine` rows of `w` pixels. Scales the coarse rows in place.
///
/// # Safety
///
/// `from` must be valid for ⌈fine/2⌉ rows of ⌈w/2⌉ pixels, `to` for `fine`
/// rows of `w`; nobody else may access either.
pub(crate) unsafe fn unpool_rows(
    isa: Isa,
    from: Rows<*mut f32>,
    [fine, w]: [usize; 2],
    to: *mut f32,
) {
    for y in 0..fine {
        // SAFETY: rows y / 2 and y.
        unsafe {
            let row = from.at.add(y / 2 * from.row);
            if y % 2 == 0 {
                let row = std::slice::from_raw_parts_mut(row, w.div_ceil(2) * BLOCK);
                spread_rows(isa, row, (fine - y).min(2), w);
            }
            double_row(
                isa,
                pixels(row, w.div_ceil(2)),
                pixels_mut(to.add(y * w * BLOCK), w),
            );
        }
    }
}

/// 2×2 average pooling with stride 2; windows at odd borders average only the
/// pixels that exist. Output shape `[n, c, ⌈h/2⌉, ⌈w/2⌉]`, as `to` says.
pub fn average_pool2(isa: Isa, from: &BlockedMap, to: &mut BlockedMap) {
    let [n, c, h, w] = from.dims();
    assert_eq!(
        to.dims(),
        [n, c, h.div_ceil(2), w.div_ceil(2)],
        "shape of the pooled map"
    );
    let blocks = from.blocks();
    let (source, target) = (from.planes(), to.planes_mut());
    parallel::for_each(n * blocks, |job| {
        let (i, b) = (job / blocks, job % blocks);
        let from = Rows {
            at: source.plane(i, b),
            row: source.row,
        };
        let to = Rows {
            at: target.plane(i, b),
            row: target.row,
        };
        // SAFETY: plane `b` of image `i` belongs to this job.
        unsafe { average_rows(isa, from, [h, w], to, false) };
    });
}

simd_kernel! {
    /// One output row of the 3×3 max pooling from three rows of `w` pixels
    /// (equal ones at the borders).
    ///
    /// # Safety
    ///
    /// The rows must be readable, `to` writable for ⌈w/2⌉ pixels.
    pub(crate) unsafe fn max_row(rows: &[*const f32; 3], w: usize, to: *mut f32) = max_row_with
}

#[inline(always)]
unsafe fn max_row_with<S: Simd>(rows: &[*const f32; 3], w: usize, to: *mut f32) {
    for lane in (0..BLOCK).step_by(S::LANES) {
        // SAFETY: contract of `max_row`; x < w.
        let column = |x: usize| unsafe {
            let at = x * BLOCK + lane;
            let outer = S::max(S::load(rows[0].add(at)), S::load(rows[2].add(at)));
            S::max(outer, S::load(rows[1].add(at)))
        };
        for x in 0..w.div_ceil(2) {
            // SAFETY: as above; ⌈w/2⌉ pixels are writable.
            unsafe {
                let mut best = column(2 * x);
                if x > 0 {
                    best = S::max(best, column(2 * x - 1));
                }
                if 2 * x + 1 < w {
                    best = S::max(best, column(2 * x + 1));
                }
                S::store(to.add(x * BLOCK + lane), best);
            }
        }
    }
}

/// 3×3 max pooling with stride 2 and padding 1. Output shape
/// `[n, c, ⌈h/2⌉, ⌈w/2⌉]`, as `to` says.
pub fn max_pool3(isa: Isa, from: &BlockedMap, to: &mut BlockedMap) {
    let [n, c, h, w] = from.dims();
    let (ho, wo) = (h.div_ceil(2), w.div_ceil(2));
    assert_eq!(to.dims(), [n, c, ho, wo], "shape of the pooled map");
    let blocks = from.blocks();
    let (source, target) = (from.planes(), to.planes_mut());
    let chunk = 8;
    let chunks = ho.div_ceil(chunk);
    parallel::for_each(n * blocks * chunks, |job| {
        let (i, b, part) = (job / chunks / blocks, job / chunks % blocks, job % chunks);
        for y in part * chunk..((part + 1) * chunk).min(ho) {
            // SAFETY: rows of plane `b` of image `i`; row `y` is this job's.
            unsafe {
                let line = |y: usize| source.plane(i, b).add(y * source.row);
                let first = (2 * y).saturating_sub(1);
                let last = (2 * y + 1).min(h - 1);
                let rows = [line(first), line((first + 1).min(last)), line(last)];
                max_row(isa, &rows, w, target.plane(i, b).add(y * target.row));
            }
        }
    });
}

/// Mean over all pixels. `to` has the shape `[1, c, 1, n]`: images side by
/// side, so that the classifier is a 1×1 convolution over them.
pub fn global_average(isa: Isa, from: &BlockedMap, to: &mut BlockedMap) {
    let [n, c, h, w] = from.dims();
    assert_eq!(to.dims(), [1, c, 1, n], "shape of the means");
    let blocks = from.blocks();
    let block = to.block_stride();
    let target = Shared(to.origin_mut_ptr());
    let source = Shared(from.origin_ptr());
    let group = 8;
    let groups = blocks.div_ceil(group);
    parallel::for_each(n * groups, |job| {
        let (i, g) = (job / groups, job % groups);
        for b in g * group..((g + 1) * group).min(blocks) {
            // SAFETY: plane `b` of image `i`, and its pixel of the output.
            unsafe {
                let plane = source
                    .get()
                    .add(i * from.image_stride() + b * from.block_stride());
                let out = target.get().add(b * block + i * BLOCK);
                mean_plane(isa, plane, h, w, from.row_stride(), pixels_mut(out, 1));
            }
        }
    });
}

/// # Safety
///
/// `plane` must be valid for `h` rows of `w` pixels.
unsafe fn mean_plane(
    isa: Isa,
    plane: *const f32,
    h: usize,
    w: usize,
    row: usize,
    out: &mut [Pixel],
) {
    out[0] = [0.0; BLOCK];
    for y in 0..h {
        // SAFETY: contract of this function.
        add_row(isa, unsafe { pixels(plane.add(y * row), w) }, &mut out[0]);
    }
    let scale = 1.0 / (h * w) as f32;
    out[0].iter_mut().for_each(|v| *v *= scale);
}

per_isa! {
    fn add_row(row: &[Pixel], sum: &mut Pixel) {
        let mut local = [0.0f32; BLOCK];
        for p in row {
            for l in 0..BLOCK {
                local[l] += p[l];
            }
        }
        for l in 0..BLOCK {
            sum[l] += local[l];
        }
    }
}
