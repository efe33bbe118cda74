//! Rows of a panel, tile by tile.

use super::panel::{PANEL, Panel};
use super::prepare::{SourceGeometry, Sum};
use super::tile::{MAX_SOURCES, Part, Run, Tile, TileFn, TileShape, tile_fn};
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

/// Neighbouring pixels, cut into tiles: `longer` of `base + 1`, then those of `base`.
pub(super) struct Tiles<const ROWS: usize> {
    pub count: usize,
    base: usize,
    longer: usize,
    long: TileFn<ROWS>,
    short: TileFn<ROWS>,
}

impl<const ROWS: usize> Tiles<ROWS> {
    /// Tiles of at most `most` pixels, each by the kernel for as many.
    pub(super) fn new(pixels: usize, most: usize, kernel: impl Fn(usize) -> TileFn<ROWS>) -> Self {
        let count = pixels.div_ceil(most);
        let (base, longer) = (pixels / count, pixels % count);
        Self {
            count,
            base,
            longer,
            long: kernel(base + usize::from(longer > 0)),
            short: kernel(base),
        }
    }

    /// Pixels and kernel of a tile.
    #[inline(always)]
    pub(super) fn get(&self, tile: usize) -> (usize, TileFn<ROWS>) {
        if tile < self.longer {
            (self.base + 1, self.long)
        } else {
            (self.base, self.short)
        }
    }
}

impl Tiles<2> {
    /// Computes a row, given its first tile.
    ///
    /// # Safety
    ///
    /// Contract of [`TileFn`], for all tiles of the row.
    #[inline(always)]
    unsafe fn along(&self, mut tile: Tile) {
        let (coarse, used) = (tile.coarse, tile.used);
        let mut x = 0;
        for i in 0..self.count {
            let (pixels, kernel) = self.get(i);
            // SAFETY: contract.
            unsafe { kernel(&tile) };
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
    }
}

/// `p` moved on, or null where there is nothing to read.
#[inline(always)]
pub(super) fn read(p: *const f32, offset: usize) -> *const f32 {
    if p.is_null() {
        p
    } else {
        p.wrapping_add(offset)
    }
}

impl SourceGeometry {
    /// Where the pixels begin that a row reads.
    #[inline(always)]
    pub(super) fn start(&self, row: &Row) -> *const f32 {
        let at = row.image * self.image + self.stride * row.y * self.row;
        self.base.get().wrapping_add(at)
    }
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
        if self.is_across(isa, p) {
            // SAFETY: contract.
            return unsafe { self.pass_across(isa, panel, bias, rows, blocks, at) };
        }
        let shape = TileShape::new(isa, p.width);
        let kernel = |rows, pixels| tile_fn(isa, p.width, false, rows, pixels);
        let tiles = Tiles::new(self.width, shape.pixels, |pixels| kernel(1, pixels));
        // For two rows at once, where they fit in a tile.
        let double = (2 * self.width <= shape.pixels).then(|| kernel(2, self.width));
        let weights = self.weights.data()[p.start..].as_ptr();
        let bias = self.bias(p, bias).as_ptr();
        let mut runs = self.runs(p);
        for channel in (0..p.width).step_by(shape.channels) {
            let block = channel / BLOCK;
            let mut r = 0;
            while r < rows {
                let pair = double.filter(|_| r + 1 < rows);
                let first = at(r);
                let second = if pair.is_some() { at(r + 1) } else { first };
                let lines = [&first, &second];
                self.start(&mut runs, lines);
                let tile = Tile {
                    runs,
                    used: self.sources.len(),
                    weights: weights.wrapping_add(channel),
                    panel: p.width,
                    bias: bias.wrapping_add(channel),
                    out: lines.map(|row| row.out.wrapping_add(block * blocks.out)),
                    out_block: blocks.out,
                    residual: lines.map(|row| read(row.residual, block * blocks.residual)),
                    residual_block: blocks.residual,
                    coarse: lines.map(|row| read(row.coarse, block * blocks.coarse)),
                    coarse_block: blocks.coarse,
                    phase: 0,
                    bounds: self.bounds,
                    part: Part::WHOLE,
                };
                // SAFETY: sources were checked to reach no further than their
                // border; outputs are this job's.
                unsafe {
                    match pair {
                        Some(double) => double(&tile),
                        None => tiles.along(tile),
                    }
                }
                r += 1 + usize::from(pair.is_some());
            }
        }
    }

    /// The bias of a panel, or zeros.
    pub(super) fn bias(&self, panel: &Panel, wanted: bool) -> &[f32] {
        if wanted {
            &self.weights.bias()[panel.first..]
        } else {
            &[0.0; PANEL]
        }
    }

    /// What the sources give to each tile of a panel, but for the rows.
    fn runs(&self, panel: &Panel) -> [Run; MAX_SOURCES] {
        let mut runs = [Run::NONE; MAX_SOURCES];
        for (run, (steps, source)) in runs.iter_mut().zip(panel.steps.iter().zip(&self.sources)) {
            run.offsets = self.offsets[steps.clone()].as_ptr();
            run.steps = steps.len();
            run.stride = source.stride;
        }
        runs
    }

    /// Puts the runs to the beginning of two rows.
    #[inline(always)]
    fn start(&self, runs: &mut [Run; MAX_SOURCES], lines: [&Row; 2]) {
        for (run, s) in runs.iter_mut().zip(&self.sources) {
            run.rows = lines.map(|row| s.start(row));
        }
    }
}
