//! Computes products: cuts them into jobs, and jobs into tiles.
//!
//! A job is one panel of output channels × a run of rows (of one image, or all
//! rows of a few images where maps are small). Within a job: first the rows of
//! the coarse sums into a scratch of the thread, then the fine rows tile by
//! tile, then whatever reads them again while they are in the cache (pooling,
//! conversion to NCHW). Each output pixel is summed by one tile in one order,
//! so neither the cut nor the number of threads changes a bit of the result.

use std::cell::RefCell;
use std::ops::Range;
use std::ptr::null;

use super::Product;
use super::jobs::{Job, cut};
use super::pass::{Blocks, Row};
use super::prepare::{Prepared, Target, prepare};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::isa::Isa;
use crate::layout::{Planar, Rows, unpack_plane};
use crate::parallel;
use crate::pool::{average_rows, spread_rows, unpool_rows};

#[derive(Default)]
struct Scratch {
    /// By depth.
    coarse: Vec<Buffer>,
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
    let jobs = cut(isa, &prepared);
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
        // SAFETY: contract of this function, for all steps.
        unsafe {
            let coarse = self.coarse_rows(isa, job, &mut scratch.coarse);
            let out = self.destination(job, &mut scratch.fine);
            self.fine_rows(isa, job, out, coarse);
            let panel = &self.fine.weights.panels()[job.panel];
            for block in 0..panel.width / BLOCK {
                for image in 0..job.images.len() {
                    let from = out.moved(image, block, 0).origin.get();
                    let from = Rows {
                        at: from,
                        row: out.row,
                    };
                    let plane = Plane {
                        image: job.images.start + image,
                        block: panel.first / BLOCK + block,
                        rows: job.rows.clone(),
                    };
                    self.read_again(isa, &plane, from, &mut scratch.unpooled);
                }
            }
        }
    }

    /// Computes the rows of the coarse sums that this job needs, the coarsest first.
    ///
    /// # Safety
    ///
    /// Contract of [`compute`](Self::compute).
    unsafe fn coarse_rows(&self, isa: Isa, job: &Job, scratch: &mut Vec<Buffer>) -> Option<Target> {
        let depths = self.coarse.len();
        scratch.resize_with(depths.max(scratch.len()), Buffer::default);
        (0..depths).rev().fold(None, |coarser, depth| {
            // SAFETY: contract.
            Some(unsafe { self.coarse_sum(isa, job, depth, coarser, &mut scratch[depth]) })
        })
    }

    /// Computes the rows of one coarse sum, and adds those of the next coarser one.
    ///
    /// # Safety
    ///
    /// Contract of [`compute`](Self::compute).
    unsafe fn coarse_sum(
        &self,
        isa: Isa,
        job: &Job,
        depth: usize,
        coarser: Option<Target>,
        scratch: &mut Buffer,
    ) -> Target {
        let (sum, spread) = &self.coarse[depth];
        let finer = match depth {
            0 => &self.fine,
            _ => &self.coarse[depth - 1].0,
        };
        let blocks = self.fine.weights.panels()[job.panel].width / BLOCK;
        // Jobs begin at a row of the coarsest sum.
        let per_row = 2 << depth;
        let first = job.rows.start / per_row;
        let (images, rows) = (job.images.len(), job.rows.len().div_ceil(per_row));
        let row = sum.width * BLOCK;
        scratch.resize(blocks * images * rows * row);
        let base = scratch.as_mut_ptr();
        let distances = Blocks {
            out: images * rows * row,
            coarse: coarser.map_or(0, |map| map.block),
            ..Blocks::default()
        };
        // SAFETY: the scratch was sized for these rows; sources were checked
        // in `sum`.
        unsafe {
            sum.pass(isa, job.panel, false, images * rows, distances, |r| Row {
                image: job.images.start + r / rows,
                y: first + r % rows,
                out: base.add(r * row),
                residual: null(),
                coarse: read(coarser, r / rows, r % rows / 2),
            });
            if *spread {
                for r in 0..blocks * images * rows {
                    let pixels = std::slice::from_raw_parts_mut(base.add(r * row), row);
                    let under = (finer.height - 2 * (first + r % rows)).min(2);
                    spread_rows(isa, pixels, under, finer.width);
                }
            }
        }
        Target {
            origin: Shared(base),
            image: rows * row,
            block: images * rows * row,
            row,
        }
    }

    /// Where the fine rows go: straight to the map, or to the scratch if what
    /// is wanted is something else.
    fn destination(&self, job: &Job, scratch: &mut Buffer) -> Target {
        let panel = &self.fine.weights.panels()[job.panel];
        if let Some(map) = self.map {
            return map.moved(job.images.start, panel.first / BLOCK, job.rows.start);
        }
        let row = self.fine.width * BLOCK;
        let (images, image) = (job.images.len(), job.rows.len() * row);
        scratch.resize(panel.width / BLOCK * images * image);
        Target {
            origin: Shared(scratch.as_mut_ptr()),
            image,
            block: images * image,
            row,
        }
    }

    /// Computes the fine rows, and adds the residual and the coarse rows.
    ///
    /// # Safety
    ///
    /// Contract of [`compute`](Self::compute).
    unsafe fn fine_rows(&self, isa: Isa, job: &Job, out: Target, coarse: Option<Target>) {
        let first_block = self.fine.weights.panels()[job.panel].first / BLOCK;
        let (images, rows) = (job.images.len(), job.rows.len());
        let residual = self
            .residual
            .map(|map| map.moved(job.images.start, first_block, job.rows.start));
        let distances = Blocks {
            out: out.block,
            residual: residual.map_or(0, |map| map.block),
            coarse: coarse.map_or(0, |map| map.block),
        };
        // SAFETY: all addresses are pixels of rows of this job.
        unsafe {
            self.fine
                .pass(isa, job.panel, true, images * rows, distances, |r| {
                    let (image, y) = (r / rows, r % rows);
                    Row {
                        image: job.images.start + image,
                        y: job.rows.start + y,
                        out: out.moved(image, 0, y).origin.get(),
                        residual: read(residual, image, y),
                        coarse: read(coarse, image, y / 2),
                    }
                });
        }
    }

    /// Whatever reads the rows of a plane again while they are in the cache.
    ///
    /// # Safety
    ///
    /// Contract of [`compute`](Self::compute); `from` must be the rows of this
    /// plane, just written.
    unsafe fn read_again(
        &self,
        isa: Isa,
        plane: &Plane,
        from: Rows<*mut f32>,
        scratch: &mut Buffer,
    ) {
        let Plane { image, block, .. } = *plane;
        let (h, w) = (self.fine.height, self.fine.width);
        let (first, rows) = (plane.rows.start, plane.rows.len());
        let written = Rows {
            at: from.at.cast_const(),
            row: from.row,
        };
        let planes = |c_out: usize| (c_out - block * BLOCK).min(BLOCK);
        if let Some(map) = self.pooled {
            let to = map.moved(image, block, first / 2);
            let to = Rows {
                at: to.origin.get(),
                row: to.row,
            };
            // SAFETY: the pooled rows belong to this job, which starts at an
            // even row.
            unsafe { average_rows(isa, written, [rows, w], to, false) };
        }
        if let Some((y, c_out, [fh, fw])) = self.unpooled {
            let count = (2 * rows).min(fh - 2 * first);
            scratch.resize(count * fw * BLOCK);
            let at = (image * c_out + block * BLOCK) * fh * fw + 2 * first * fw;
            // SAFETY: these rows of these channels belong to this job, the
            // scratch to this thread.
            unsafe {
                let wide = scratch.as_mut_ptr();
                unpool_rows(isa, from, [count, fw], wide);
                let wide = Rows {
                    at: wide.cast_const(),
                    row: fw * BLOCK,
                };
                let to = Planar {
                    at: y.get().add(at),
                    plane: fh * fw,
                    channels: planes(c_out),
                };
                unpack_plane(isa, wide, to, [count, fw]);
            }
        }
        if let Some((y, c_out)) = self.planar {
            let at = (image * c_out + block * BLOCK) * h * w + first * w;
            // SAFETY: these rows of these channels belong to this job.
            unsafe {
                let to = Planar {
                    at: y.get().add(at),
                    plane: h * w,
                    channels: planes(c_out),
                };
                unpack_plane(isa, written, to, [rows, w]);
            }
        }
    }
}

/// A row of a map that is added, or null.
fn read(map: Option<Target>, image: usize, row: usize) -> *const f32 {
    map.map_or(null(), |map| map.moved(image, 0, row).origin.get())
}

/// Rows of one channel block of one image.
struct Plane {
    image: usize,
    block: usize,
    rows: Range<usize>,
}
