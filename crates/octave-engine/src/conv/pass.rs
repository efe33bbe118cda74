//! Rows of a panel, tile by tile.

use super::panel::PANEL;
use super::prepare::Sum;
use super::tile::{MAX_SOURCES, Run, Tile, TileFn, TileShape, tile_fn};
use crate::BLOCK;
use crate::isa::Isa;

/// Where a row of a pass lies; null pointers where there is nothing to add.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub image: usize,
    pub y: usize,
    pub out: *mut f32,
    pub residual: *const f32,
    pub coarse: *const f32,
}

/// Distances between the channel blocks of a pass.
#[derive(Clone, Copy, Default)]
pub(super) struct Blocks {
    pub out: usize,
    pub residual: usize,
    pub coarse: usize,
}

impl Sum<'_> {
    /// Computes `rows` rows of a panel. Rows are paired where two fit in a
    /// tile; they need not be neighbours.
    ///
    /// # Safety
    ///
    /// `at` must give addresses that the job may write and read.
    pub(super) unsafe fn pass(
        &self,
        isa: Isa,
        panel: usize,
        bias: bool,
        rows: usize,
        blocks: Blocks,
        at: impl Fn(usize) -> Row,
    ) {
        let p = &self.weights.panels()[panel];
        let shape = TileShape::new(isa, p.width);
        let together = if 2 * self.width <= shape.pixels { 2 } else { 1 };
        // Segments of nearly equal width: `longer` of `base + 1`, then `base`.
        let segments = self.width.div_ceil(shape.pixels);
        let (base, longer) = (self.width / segments, self.width % segments);
        let kernel = |rows, pixels| tile_fn(isa, p.width, false, rows, pixels);
        let long: TileFn = if longer > 0 {
            kernel(1, base + 1)
        } else {
            kernel(1, base)
        };
        let short = kernel(1, base);
        let double = if together == 2 {
            kernel(2, base)
        } else {
            short
        };

        let zeros = [0.0f32; PANEL];
        let weights = self.weights.data()[p.start..].as_ptr();
        let bias_ptr = if bias {
            self.weights.bias()[p.first..].as_ptr()
        } else {
            zeros.as_ptr()
        };
        let mut runs = [Run::NONE; MAX_SOURCES];
        for (run, (range, s)) in runs.iter_mut().zip(p.steps.iter().zip(&self.sources)) {
            run.offsets = self.offsets[range.clone()].as_ptr();
            run.steps = range.len();
            run.stride = s.stride;
        }
        let used = self.sources.len();

        let read = |p: *const f32, offset: usize| {
            if p.is_null() {
                p
            } else {
                p.wrapping_add(offset)
            }
        };
        for channel in (0..p.width).step_by(shape.channels) {
            let block = channel / BLOCK;
            let mut r = 0;
            while r < rows {
                let pair = together == 2 && r + 1 < rows;
                let first = at(r);
                let second = if pair { at(r + 1) } else { first };
                let lines = [&first, &second];
                for (run, s) in runs.iter_mut().zip(&self.sources) {
                    run.rows = lines.map(|row| {
                        s.base
                            .get()
                            .wrapping_add(row.image * s.image + s.stride * row.y * s.row)
                    });
                }
                let coarse = lines.map(|r| read(r.coarse, block * blocks.coarse));
                let mut tile = Tile {
                    runs,
                    used,
                    weights: weights.wrapping_add(channel),
                    panel: p.width,
                    bias: bias_ptr.wrapping_add(channel),
                    out: lines.map(|r| r.out.wrapping_add(block * blocks.out)),
                    out_block: blocks.out,
                    residual: lines.map(|r| read(r.residual, block * blocks.residual)),
                    residual_block: blocks.residual,
                    coarse,
                    coarse_block: blocks.coarse,
                    phase: 0,
                    bounds: self.bounds,
                };
                let mut x = 0;
                for segment in 0..segments {
                    let (pixels, single) = if segment < longer {
                        (base + 1, long)
                    } else {
                        (base, short)
                    };
                    // SAFETY: sources were checked to reach no further than
                    // their border; outputs are this job's.
                    unsafe { if pair { double(&tile) } else { single(&tile) } };
                    x += pixels;
                    for run in &mut tile.runs[..used] {
                        let step = pixels * run.stride * BLOCK;
                        run.rows = run.rows.map(|p| p.wrapping_add(step));
                    }
                    tile.out = tile.out.map(|p| p.wrapping_add(pixels * BLOCK));
                    tile.residual = tile.residual.map(|p| read(p, pixels * BLOCK));
                    tile.coarse = coarse.map(|p| read(p, x / 2 * BLOCK));
                    tile.phase = x % 2;
                }
                r += 1 + usize::from(pair);
            }
        }
    }
}
