//! Tiles that run across the ends of rows, for instruction sets whose tiles are small.
//!
//! Where a row has seven pixels, tiles along it would have four and three: too few sums to keep the
//! multipliers busy, and weights read for too little work. So the pixels of a job are counted through,
//! from row to row and image to image, and each pixel of a tile has its own addresses. That costs some
//! cycles a tile, and where rows are long, tiles along them are nearly as large.
//!
//! If the weights of a panel are more than the second-level cache holds beside what else it must, all
//! tiles do a part of the steps before the first one does the next. Between parts the sums wait where the
//! result goes, so the order of each sum is the same and so are its bits.

use std::ptr::null;

use super::panel::{PANEL, Panel};
use super::pass::{Blocks, Row, read};
use super::prepare::Sum;
use super::tile::{ANYWHERE, LINE, MAX_SOURCES, Part, Run, Tile, anywhere_fn};
use crate::BLOCK;
use crate::isa::Isa;

/// Weights of a part, in floats.
fn part_floats() -> usize {
    static N: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *N.get_or_init(|| {
        std::env::var("PART_KB").map_or(128, |s| s.parse().unwrap()) * 256
    })
}
fn skip() -> usize {
    static N: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *N.get_or_init(|| std::env::var("SKIP").map_or(rayon::current_num_threads(), |s| s.parse().unwrap()))
}
fn narrow() -> usize {
    static N: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *N.get_or_init(|| std::env::var("NARROW").map_or(15, |s| s.parse().unwrap()))
}

impl Sum<'_> {
    /// Whether a panel is computed by tiles that run across rows.
    pub(super) fn is_across(&self, isa: Isa, panel: &Panel) -> bool {
        let steps: usize = panel.steps.iter().map(std::ops::Range::len).sum();
        let parts = steps * BLOCK * panel.width > part_floats();
        anywhere_fn(isa, 1).is_some() && (self.width <= narrow() || parts)
    }

    /// As [`pass`](Self::pass), by tiles that run across rows.
    ///
    /// # Safety
    ///
    /// As of `pass`.
    pub(super) unsafe fn pass_across(
        &self,
        isa: Isa,
        panel: usize,
        bias: bool,
        rows: usize,
        blocks: Blocks,
        at: impl Fn(usize) -> Row,
    ) {
        let p = &self.weights.panels()[panel];
        let pixels = rows * self.width;
        let count = pixels.div_ceil(ANYWHERE);
        let (base, longer) = (pixels / count, pixels % count);
        let kernel = |pixels: usize| anywhere_fn(isa, pixels).expect("see `is_across`");
        let kernels = [kernel(base), kernel((base + 1).min(ANYWHERE))];
        let zeros = [0.0f32; PANEL];
        let bias = if bias {
            self.weights.bias()[p.first..].as_ptr()
        } else {
            zeros.as_ptr()
        };
        let steps: usize = p.steps.iter().map(std::ops::Range::len).sum();
        let parts = (steps * BLOCK * p.width).div_ceil(part_floats()).max(1);
        for channel in (0..p.width).step_by(BLOCK) {
            let block = channel / BLOCK;
            let mut weights = self.weights.data()[p.start..].as_ptr().wrapping_add(channel);
            for part in 0..parts {
                let range = part * steps / parts..(part + 1) * steps / parts;
                let mut tile = Tile::<ANYWHERE> {
                    runs: [Run::NONE; MAX_SOURCES],
                    used: self.sources.len(),
                    weights,
                    panel: p.width,
                    bias: bias.wrapping_add(channel),
                    out: [std::ptr::null_mut(); ANYWHERE],
                    out_block: blocks.out,
                    residual: [null(); ANYWHERE],
                    residual_block: blocks.residual,
                    coarse: [null(); ANYWHERE],
                    coarse_block: blocks.coarse,
                    phase: 0,
                    bounds: self.bounds,
                    part: Part {
                        first: part == 0,
                        last: part + 1 == parts,
                        ..Part::WHOLE
                    },
                };
                weights = weights.wrapping_add(range.len() * BLOCK * p.width);
                let mut before = 0;
                for (run, all) in tile.runs.iter_mut().zip(&p.steps) {
                    let from = range.start.clamp(before, before + all.len()) - before;
                    let to = range.end.clamp(before, before + all.len()) - before;
                    run.offsets = self.offsets[all.start + from..all.start + to].as_ptr();
                    run.steps = to - from;
                    before += all.len();
                }
                let (mut r, mut x) = (0, 0);
                let mut row = at(0);
                let mut sources = self.begin(&row);
                for segment in 0..count {
                    let long = segment < longer;
                    let pixels = base + usize::from(long);
                    for q in 0..pixels {
                        if x == self.width {
                            (r, x) = (r + 1, 0);
                            row = at(r);
                            sources = self.begin(&row);
                        }
                        for ((run, from), s) in
                            tile.runs.iter_mut().zip(&sources).zip(&self.sources)
                        {
                            run.rows[q] = from.wrapping_add(x * s.stride * BLOCK);
                        }
                        tile.out[q] = row.out.wrapping_add(block * blocks.out + x * BLOCK);
                        tile.residual[q] = read(row.residual, block * blocks.residual + x * BLOCK);
                        tile.coarse[q] = read(row.coarse, block * blocks.coarse + x / 2 * BLOCK);
                        x += 1;
                    }
                    let ahead = segment * range.len() * 2 * LINE;
                    let floats = range.len() * BLOCK * p.width;
                    (tile.part.soon, tile.part.soon_step) = if ahead < floats {
                        let skip = match () {
                            () if part + 1 < parts => floats,
                            () => floats + (skip() - 1) * steps * BLOCK * p.width,
                        };
                        (tile.weights.wrapping_add(skip + ahead), 2 * LINE)
                    } else {
                        (weights, 0)
                    };
                    // SAFETY: sources were checked to reach no further than their
                    // border; outputs are this job's.
                    unsafe { kernels[usize::from(long)](&tile) };
                }
            }
        }
    }

    /// Where each source of a row begins.
    fn begin(&self, row: &Row) -> [*const f32; MAX_SOURCES] {
        let mut from = [null(); MAX_SOURCES];
        for (from, s) in from.iter_mut().zip(&self.sources) {
            let at = row.image * s.image + s.stride * row.y * s.row;
            *from = s.base.get().wrapping_add(at);
        }
        from
    }
}
