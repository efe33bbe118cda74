//! Tiles that run across the ends of rows, for instruction sets whose tiles are small.
//!
//! Where a row has seven pixels, tiles along it would have four and three: too few sums to keep the
//! multipliers busy, and weights read for too little work. So the pixels of a job are counted through,
//! from row to row and image to image, and each pixel of a tile has its own addresses. That costs some
//! cycles a tile; along long rows it would gain nothing.
//!
//! Weights that would not stay in the second-level cache are read in parts: all tiles do a part of the
//! steps before the first one does the next. Between parts the sums wait where the result goes, so that
//! the order of each sum, and with it its bits, do not depend on the parts. While the tiles work on one
//! part, they ask for the next one, or for the next panel: with few pixels, weights come from beyond the
//! caches of a core as fast as they are multiplied.

use std::ops::Range;
use std::ptr::{null, null_mut};

use super::panel::Panel;
use super::pass::{Blocks, Row, Tiles, read};
use super::prepare::Sum;
use super::tile::{ANYWHERE, LINE, MAX_SOURCES, Part, Run, Tile, anywhere_fn};
use crate::BLOCK;
use crate::isa::Isa;

/// Most floats of weights of a part: half of a second-level cache of 256 KiB.
const PART: usize = 1 << 15;

/// Most pixels of a row that tiles run across; nearly all tiles along longer ones have five or six.
const NARROW: usize = 15;

/// Lines of weights that a tile asks for in each of its steps.
const LINES: usize = 2;

/// Puts pixels into tiles, one after another.
struct Pixels<'a, F> {
    sum: &'a Sum<'a>,
    at: F,
    /// Of the tile's channels.
    block: usize,
    blocks: Blocks,
    next_row: usize,
    row: Option<Row>,
    /// Where each source of the row begins.
    sources: [*const f32; MAX_SOURCES],
    x: usize,
}

impl<'a, F: Fn(usize) -> Row> Pixels<'a, F> {
    fn new(sum: &'a Sum<'a>, at: F, block: usize, blocks: Blocks) -> Self {
        Self {
            sum,
            at,
            block,
            blocks,
            next_row: 0,
            row: None,
            sources: [null(); MAX_SOURCES],
            x: 0,
        }
    }

    /// Makes the next pixel the `q`th of a tile.
    #[inline(always)]
    fn put(&mut self, tile: &mut Tile<ANYWHERE>, q: usize) {
        let row = match self.row {
            Some(row) if self.x < self.sum.width => row,
            _ => self.next(),
        };
        let runs = tile.runs.iter_mut().zip(&self.sources);
        for ((run, from), source) in runs.zip(&self.sum.sources) {
            run.rows[q] = from.wrapping_add(self.x * source.stride * BLOCK);
        }
        let (block, x) = (self.block, self.x);
        tile.out[q] = row.out.wrapping_add(block * self.blocks.out + x * BLOCK);
        tile.residual[q] = read(row.residual, block * self.blocks.residual + x * BLOCK);
        tile.coarse[q] = read(row.coarse, block * self.blocks.coarse + x / 2 * BLOCK);
        self.x += 1;
    }

    /// Goes to the beginning of the next row.
    fn next(&mut self) -> Row {
        let row = (self.at)(self.next_row);
        for (from, s) in self.sources.iter_mut().zip(&self.sum.sources) {
            *from = s.start(&row);
        }
        (self.row, self.x) = (Some(row), 0);
        self.next_row += 1;
        row
    }
}

impl Sum<'_> {
    /// Whether a panel is computed by tiles that run across rows.
    pub(super) fn is_across(&self, isa: Isa, panel: &Panel) -> bool {
        anywhere_fn(isa, 1).is_some() && (self.width <= NARROW || panel.floats() > PART)
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
        let panel = &self.weights.panels()[panel];
        let kernel = |pixels| anywhere_fn(isa, pixels).expect("`is_across` asks for one");
        let tiles = Tiles::new(rows * self.width, ANYWHERE, kernel);
        let bias = self.bias(panel, bias);
        let parts = panel.floats().div_ceil(PART).max(1);
        for channel in (0..panel.width).step_by(BLOCK) {
            for part in 0..parts {
                let mut tile = self.part(panel, channel, part..parts, blocks);
                tile.bias = bias[channel..].as_ptr();
                let ahead = Ahead::new(panel, part..parts);
                let mut pixels = Pixels::new(self, &at, channel / BLOCK, blocks);
                for i in 0..tiles.count {
                    let (count, kernel) = tiles.get(i);
                    for q in 0..count {
                        pixels.put(&mut tile, q);
                    }
                    (tile.part.soon, tile.part.soon_step) = ahead.of(&tile, i);
                    // SAFETY: sources were checked to reach no further than their
                    // border; outputs are this job's.
                    unsafe { kernel(&tile) };
                }
            }
        }
    }

    /// The tile of a part of the steps: the first of `parts`, of which its end is the last.
    fn part(
        &self,
        panel: &Panel,
        channel: usize,
        parts: Range<usize>,
        blocks: Blocks,
    ) -> Tile<ANYWHERE> {
        let steps = steps_of(panel, &parts);
        let from = panel.start + steps.start * BLOCK * panel.width + channel;
        let mut runs = [Run::NONE; MAX_SOURCES];
        let mut before = 0;
        for (run, all) in runs.iter_mut().zip(&panel.steps) {
            let within = |step: usize| step.clamp(before, before + all.len()) - before;
            let range = within(steps.start)..within(steps.end);
            run.offsets = self.offsets[all.start + range.start..].as_ptr();
            run.steps = range.len();
            before += all.len();
        }
        Tile {
            runs,
            used: self.sources.len(),
            weights: self.weights.data()[from..].as_ptr(),
            panel: panel.width,
            bias: null(),
            out: [null_mut(); ANYWHERE],
            out_block: blocks.out,
            residual: [null(); ANYWHERE],
            residual_block: blocks.residual,
            coarse: [null(); ANYWHERE],
            coarse_block: blocks.coarse,
            phase: 0,
            bounds: self.bounds,
            part: Part {
                first: parts.start == 0,
                last: parts.start + 1 == parts.end,
                ..Part::WHOLE
            },
        }
    }
}

/// The steps of a panel, counted through, that belong to the first of `parts`.
fn steps_of(panel: &Panel, parts: &Range<usize>) -> Range<usize> {
    let steps = panel.count();
    parts.start * steps / parts.end..(parts.start + 1) * steps / parts.end
}

/// Weights to ask for while tiles do the first of `parts`.
struct Ahead {
    /// Floats from the weights of this part on.
    from: usize,
    /// Floats that a tile asks for, and that all tiles do.
    tile: usize,
    all: usize,
}

impl Ahead {
    fn new(panel: &Panel, parts: Range<usize>) -> Self {
        let steps = steps_of(panel, &parts).len();
        let floats = steps * BLOCK * panel.width;
        // Threads take panels in turn.
        let panels = if parts.start + 1 == parts.end {
            rayon::current_num_threads() - 1
        } else {
            0
        };
        Self {
            from: floats + panels * panel.floats(),
            tile: steps * LINES * LINE,
            all: floats,
        }
    }

    /// Where a tile begins, and how far it goes in a step.
    fn of(&self, tile: &Tile<ANYWHERE>, index: usize) -> (*const f32, usize) {
        let at = index * self.tile;
        if at < self.all {
            (tile.weights.wrapping_add(self.from + at), LINES * LINE)
        } else {
            (tile.weights, 0)
        }
    }
}
