//! Computes products: cuts them into jobs, and jobs into tiles.
//!
//! A job is one panel of output channels × a run of rows (of one image, or all
//! rows of a few images where maps are small). Within a job: first the rows of
//! the coarse sum into a scratch of the thread, then the fine rows tile by
//! tile, then whatever reads them again while they are in the cache (pooling,
//! conversion to NCHW). Each output pixel is summed by one tile in one order,
//! so neither the cut nor the number of threads changes a bit of the result.

use std::cell::RefCell;

use super::Product;
use super::jobs::{Job, cut};
use super::pass::{Blocks, Row};
use super::prepare::{Prepared, Target, prepare};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::isa::Isa;
use crate::layout::unpack_plane;
use crate::parallel;
use crate::pool::{average_rows, spread_rows, unpool_rows};

#[derive(Default)]
struct Scratch {
    coarse: Buffer,
    fine: Buffer,
    unpooled: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes all products in one parallel region.
///
/// # Panics
///
/// If shapes do not fit: channels, sizes, or a border too narrow for the
/// padding.
pub fn run(isa: Isa, products: Vec<Product<'_>>) {
    run_with(isa, products, 0, |_| {});
}

/// As [`run`], with `others` further jobs in the same region, taken first.
pub(crate) fn run_with(
    isa: Isa,
    products: Vec<Product<'_>>,
    others: usize,
    other: impl Fn(usize) + Sync,
) {
    let prepared: Vec<_> = products.into_iter().map(prepare).collect();
    let jobs = cut(&prepared);
    parallel::for_each(others + jobs.len(), |i| {
        let Some(i) = i.checked_sub(others) else {
            return other(i);
        };
        let job = &jobs[i];
        SCRATCH.with_borrow_mut(|scratch| {
            // SAFETY: `prepare` checked all shapes, and `cut` lists every
            // output row of every panel exactly once.
            unsafe { prepared[job.product].compute(isa, job, scratch) };
        });
    });
}

impl Prepared<'_> {
    /// # Safety
    ///
    /// Shapes must have been checked, and no other thread may write the rows
    /// of this job.
    unsafe fn compute(&self, isa: Isa, job: &Job, scratch: &mut Scratch) {
        let panel = &self.fine.weights.panels()[job.panel];
        let first_block = panel.first / BLOCK;
        let panel_blocks = panel.width / BLOCK;
        let (h, w) = (self.fine.height, self.fine.width);
        let (images, rows) = (job.images.len(), job.rows.len());
        let (cw, crows) = (w.div_ceil(2), rows.div_ceil(2));
        let null = std::ptr::null::<f32>();
        let mut blocks = Blocks::default();

        let mut coarse_base = null;
        if let Some((coarse, spread)) = &self.coarse {
            let block = images * crows * cw * BLOCK;
            scratch.coarse.resize(panel_blocks * block);
            let base = scratch.coarse.as_mut_ptr();
            blocks.coarse = block;
            let cy = job.rows.start / 2;
            // SAFETY: the scratch was sized for these rows; sources were
            // checked in `sum`.
            unsafe {
                let distances = Blocks {
                    out: block,
                    ..Blocks::default()
                };
                coarse.pass(isa, job.panel, false, images * crows, distances, |r| Row {
                    image: job.images.start + r / crows,
                    y: cy + r % crows,
                    out: base.add(r * cw * BLOCK),
                    residual: null,
                    coarse: null,
                });
                if *spread {
                    for r in 0..panel_blocks * images * crows {
                        let row = base.add(r * cw * BLOCK);
                        let row = std::slice::from_raw_parts_mut(row, cw * BLOCK);
                        let under = (h - 2 * (cy + r % crows)).min(2);
                        spread_rows(isa, row, under, w);
                    }
                }
            }
            coarse_base = base.cast_const();
        }

        // Fine rows go straight to the map, or to the scratch if what is
        // wanted is something else.
        let out = match self.map {
            Some(map) => {
                let at = job.images.start * map.image
                    + first_block * map.block
                    + job.rows.start * map.row;
                Target {
                    origin: Shared(map.origin.get().wrapping_add(at)),
                    ..map
                }
            }
            None => {
                let image = rows * w * BLOCK;
                scratch.fine.resize(panel_blocks * images * image);
                let origin = Shared(scratch.fine.as_mut_ptr());
                Target {
                    origin,
                    image,
                    block: images * image,
                    row: w * BLOCK,
                }
            }
        };
        blocks.out = out.block;
        let residual = self.residual.map(|r| {
            let at = job.images.start * r.image + first_block * r.block + job.rows.start * r.row;
            Target {
                origin: Shared(r.origin.get().wrapping_add(at)),
                ..r
            }
        });
        blocks.residual = residual.map_or(0, |r| r.block);
        // SAFETY: all addresses are pixels of rows of this job.
        unsafe {
            self.fine
                .pass(isa, job.panel, true, images * rows, blocks, |r| {
                    let (i, y) = (r / rows, r % rows);
                    Row {
                        image: job.images.start + i,
                        y: job.rows.start + y,
                        out: out.origin.get().add(i * out.image + y * out.row),
                        residual: residual.map_or(null, |t| {
                            t.origin.get().add(i * t.image + y * t.row).cast_const()
                        }),
                        coarse: if coarse_base.is_null() {
                            null
                        } else {
                            coarse_base.add((i * crows + y / 2) * cw * BLOCK)
                        },
                    }
                });
        }

        for b in 0..panel_blocks {
            for i in 0..images {
                let image = job.images.start + i;
                // SAFETY: plane `b` of image `i` of the rows just written.
                let from = unsafe { out.origin.get().add(b * out.block + i * out.image) };
                if let Some(p) = self.pooled {
                    let at =
                        image * p.image + (first_block + b) * p.block + job.rows.start / 2 * p.row;
                    // SAFETY: the pooled rows belong to this job, which starts
                    // at an even row.
                    unsafe {
                        let to = p.origin.get().add(at);
                        average_rows(isa, from, out.row, rows, w, to, p.row, false);
                    }
                }
                if let Some((y, c_out, [fh, fw])) = self.unpooled {
                    let channel = (first_block + b) * BLOCK;
                    let first = 2 * job.rows.start;
                    let count = (2 * rows).min(fh - first);
                    scratch.unpooled.resize(count * fw * BLOCK);
                    let at = (image * c_out + channel) * fh * fw + first * fw;
                    let channels = (c_out - channel).min(BLOCK);
                    // SAFETY: these rows of these channels belong to this job,
                    // the scratch to this thread.
                    unsafe {
                        let wide = scratch.unpooled.as_mut_ptr();
                        unpool_rows(isa, from, out.row, count, fw, wide);
                        let to = y.get().add(at);
                        unpack_plane(isa, wide, count, fw, fw * BLOCK, to, fh * fw, channels);
                    }
                }
                if let Some((y, c_out)) = self.planar {
                    let channel = (first_block + b) * BLOCK;
                    let at = (image * c_out + channel) * h * w + job.rows.start * w;
                    let channels = (c_out - channel).min(BLOCK);
                    // SAFETY: these rows of these channels belong to this job.
                    unsafe {
                        let to = y.get().add(at);
                        unpack_plane(isa, from, rows, w, out.row, to, h * w, channels);
                    }
                }
            }
        }
    }
}
