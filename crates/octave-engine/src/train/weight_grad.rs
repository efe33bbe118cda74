//! Weight gradients as products over pixels.
//!
//! `dW[tap][ci][co] = Σ_pixels X[pixel + tap][ci] · dY[pixel][co]`: a tile of
//! input channels × vectors of output channels stays in registers over a run
//! of pixels, with one broadcast per input channel and pixel. A job owns a
//! panel of output channels and some blocks of input channels, for all images;
//! it walks the pixels in runs of rows small enough for the first-level cache,
//! and for each run through all of its tiles. So sums need no second copy, and
//! their order depends on nothing but shapes.
//!
//! A tile of AVX2 has six inputs, which divide neither sixteen channels nor nine taps: it takes them from
//! the list of all channels and taps of a block.

mod tile;

use std::ops::Range;

use crate::BLOCK;
use crate::buffer::Shared;
use crate::conv::{PackedWeights, SourceShape, TileShape};
use crate::isa::Isa;
use crate::map::BlockedMap;
use tile::{LISTED, Tile, listed_fn, tile_fn};

/// The input of a weight gradient.
#[derive(Clone, Copy)]
struct Input {
    /// Tap (0, 0) of output pixel (0, 0) of image 0.
    pub base: Shared<*const f32>,
    pub image: usize,
    /// Floats per block of input channels (or per plane).
    pub block: usize,
    /// Floats per output row and pixel, stride included.
    pub row: usize,
    pub pixel: usize,
    /// Floats per tap.
    pub tap: [usize; 2],
}

/// How a convolution reads its input.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// 1 or 2.
    pub stride: usize,
    /// Pixels that it adds at the top and at the left.
    pub padding: [usize; 2],
}

impl Input {
    /// A blocked map under a convolution of the given kernel, whose output has
    /// the size `out`.
    ///
    /// # Panics
    ///
    /// If the convolution reaches past a border of the map.
    fn blocked(map: &BlockedMap, reading: Reading, shape: &SourceShape, out: [usize; 2]) -> Self {
        let Reading { stride, padding } = reading;
        let dilation = shape.dilation;
        let [.., height, width] = map.dims();
        for (axis, size) in [height, width].into_iter().enumerate() {
            let (before, pad) = (padding[axis], map.pad());
            let last = (out[axis].max(1) - 1) * stride + (shape.size[axis] - 1) * dilation[axis];
            assert!(
                before <= pad && last < size + pad + before,
                "a weight gradient of {out:?} from {size} pixels: padding {before}, stride \
                 {stride} and {shape:?} reach past a border of {pad}"
            );
        }
        let row = map.row_stride();
        Self {
            base: Shared(
                map.origin_ptr()
                    .wrapping_sub(padding[0] * row + padding[1] * BLOCK),
            ),
            image: map.image_stride(),
            block: map.block_stride(),
            row: stride * row,
            pixel: stride * BLOCK,
            tap: [dilation[0] * row, dilation[1] * BLOCK],
        }
    }
}

/// A kernel row over a planar input.
#[derive(Clone, Copy)]
pub(super) struct PlanarRow {
    /// Tap 0 of output pixel (0, 0) of image 0.
    pub x: *const f32,
    /// Taps, rounded up to the tile.
    pub taps: usize,
    /// Floats per image, output row and output pixel.
    pub image: usize,
    pub row: usize,
    pub pixel: usize,
}

/// The gradient of one kernel, summed over the images of `dy`.
pub(super) struct WeightGrad<'a> {
    plan: &'a PackedWeights,
    acc: Shared<*mut f32>,
    input: Input,
    dy: &'a BlockedMap,
    jobs: Vec<(usize, Range<usize>)>,
}

impl<'a> WeightGrad<'a> {
    /// Adds to `acc`, planned by `PackedWeights::zeros` for the kernel that
    /// read `x`.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit.
    pub(super) fn new(
        acc: &'a mut PackedWeights,
        x: &'a BlockedMap,
        reading: Reading,
        dy: &'a BlockedMap,
    ) -> Self {
        let data = Shared(acc.data_mut_ptr());
        let plan = &*acc;
        let [shape] = plan.shapes() else {
            panic!("one kernel, not {}", plan.shapes().len())
        };
        let ([images, channels, h, w], [n, c_in, ..]) = (dy.dims(), x.dims());
        assert_eq!(
            [channels, n, c_in],
            [plan.c_out(), images, shape.c_in],
            "output channels, images and input channels of a weight gradient"
        );
        let input = Input::blocked(x, reading, shape, [h, w]);
        let size = shape.size;
        // One-tap kernels do little with what they read: more inputs a job.
        let together = if size == [1, 1] { 4 } else { 1 };
        let mut jobs = Vec::new();
        for (p, panel) in plan.panels().iter().enumerate() {
            let blocks = panel.steps[0].len() / (size[0] * size[1]);
            for first in (0..blocks).step_by(together) {
                jobs.push((p, first..(first + together).min(blocks)));
            }
        }
        Self {
            plan,
            acc: data,
            input,
            dy,
            jobs,
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Does one of the [`jobs`](Self::jobs).
    ///
    /// # Safety
    ///
    /// Every job may be done once at a time: two threads that do the same one
    /// write the same sums.
    pub(super) unsafe fn run(&self, isa: Isa, job: usize) {
        let (p, blocks) = &self.jobs[job];
        let panel = &self.plan.panels()[*p];
        let shape = self.plan.shapes()[0];
        let [kh, kw] = shape.size;
        let (taps, matrix) = (kh * kw, BLOCK * panel.width);
        let steps = &self.plan.steps()[panel.steps[0].clone()];
        let [images, _, h, w] = self.dy.dims();
        let dy_panel = panel.first / BLOCK * self.dy.block_stride();
        // Rows of 32 + 16 channels for three quarters of a 32 KiB cache.
        let rows = (6144 / (48 * w.max(1))).clamp(1, h.max(1));
        // Small maps: several images at once.
        let together = if rows == h {
            (6144 / (48 * (h * w).max(1))).max(1)
        } else {
            1
        };
        for image in (0..images).step_by(together) {
            for y in (0..h).step_by(rows) {
                let count = rows.min(h - y);
                for b in blocks.clone() {
                    let block = steps[b * taps].block;
                    let used = (shape.c_in - block * BLOCK).min(BLOCK);
                    let x = self.input.base.get().wrapping_add(
                        image * self.input.image + block * self.input.block + y * self.input.row,
                    );
                    let acc = self.acc.get().wrapping_add(panel.start + b * taps * matrix);
                    let tile = Tile {
                        x,
                        pixel: self.input.pixel,
                        x_row: self.input.row,
                        dy: self.dy.origin_ptr().wrapping_add(
                            dy_panel + image * self.dy.image_stride() + y * self.dy.row_stride(),
                        ),
                        dy_block: self.dy.block_stride(),
                        dy_row: self.dy.row_stride(),
                        x_image: self.input.image,
                        dy_image: self.dy.image_stride(),
                        images: together.min(images - image),
                        rows: count,
                        width: w,
                        acc,
                        panel: panel.width,
                        list: [(0, 0); LISTED],
                    };
                    // SAFETY: taps stay within the border of the input; this part of `acc` is
                    // this job's.
                    unsafe { self.block(isa, tile, [used, taps, kw]) };
                }
            }
        }
    }

    /// All sums of a block of input channels over the pixels of a tile, which is at its first
    /// channel and tap: of `[channels, taps, taps of a row]`.
    ///
    /// # Safety
    ///
    /// Contract of [`TileFn`](tile::TileFn), for all channels and taps.
    unsafe fn block(&self, isa: Isa, mut tile: Tile, [used, taps, kw]: [usize; 3]) {
        let (kernel, inputs) = tile_fn(isa, tile.panel);
        let channels = TileShape::new(isa, tile.panel).channels;
        let (x, dy, acc) = (tile.x, tile.dy, tile.acc);
        // From the first channel and tap to another, in the input and in the sums.
        let place = |ci: usize, t: usize| {
            let tap = t / kw * self.input.tap[0] + t % kw * self.input.tap[1];
            (tap + ci, (t * BLOCK + ci) * tile.panel)
        };
        for co in (0..tile.panel).step_by(channels) {
            tile.dy = dy.wrapping_add(co / BLOCK * tile.dy_block);
            let acc = acc.wrapping_add(co);
            if listed_fn(isa, 1).is_some() {
                (tile.x, tile.acc) = (x, acc);
                let count = used * taps;
                let tiles = count.div_ceil(LISTED);
                for i in 0..tiles {
                    let range = i * count / tiles..(i + 1) * count / tiles;
                    for (place_of, j) in tile.list.iter_mut().zip(range.clone()) {
                        *place_of = place(j % used, j / used);
                    }
                    let kernel = listed_fn(isa, range.len()).expect("as above");
                    // SAFETY: contract.
                    unsafe { kernel(&tile) };
                }
                continue;
            }
            for ci in (0..used).step_by(inputs) {
                for t in 0..taps {
                    let (from, to) = place(ci, t);
                    (tile.x, tile.acc) = (x.wrapping_add(from), acc.wrapping_add(to));
                    // SAFETY: contract.
                    unsafe { kernel(&tile) };
                }
            }
        }
    }

    /// Sums for a kernel row of a planar input: the taps of a row take the
    /// place of input channels. `panel` of 32 output channels has `width` of
    /// them. See `strided::stem_backward`.
    ///
    /// # Safety
    ///
    /// The row must be readable for its taps at all pixels of `dy`; `acc` for
    /// as many rows of 32, nobody else's.
    pub(super) unsafe fn planar_row(
        isa: Isa,
        row: PlanarRow,
        dy: &BlockedMap,
        (panel, width): (usize, usize),
        acc: *mut f32,
    ) {
        let PlanarRow { x, taps, .. } = row;
        let (kernel, inputs) = tile_fn(isa, width);
        let channels = TileShape::new(isa, width).channels;
        let [images, _, h, w] = dy.dims();
        for co in (0..width).step_by(channels) {
            for tap in (0..taps).step_by(inputs) {
                let at = (2 * panel + co / BLOCK) * dy.block_stride();
                let tile = Tile {
                    x: x.wrapping_add(tap),
                    pixel: row.pixel,
                    x_row: row.row,
                    dy: dy.origin_ptr().wrapping_add(at),
                    dy_block: dy.block_stride(),
                    dy_row: dy.row_stride(),
                    x_image: row.image,
                    dy_image: dy.image_stride(),
                    images,
                    rows: h,
                    width: w,
                    acc: acc.wrapping_add(tap * 2 * BLOCK + co),
                    panel: 2 * BLOCK,
                    list: [(0, 0); LISTED],
                };
                // SAFETY: contract of this function.
                unsafe { kernel(&tile) };
            }
        }
    }
}
