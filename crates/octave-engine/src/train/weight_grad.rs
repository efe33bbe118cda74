//! Weight gradients as products over pixels.
//!
//! `dW[tap][ci][co] = Σ_pixels X[pixel + tap][ci] · dY[pixel][co]`: a tile of
//! input channels × vectors of output channels stays in registers over a run
//! of pixels, with one broadcast per input channel and pixel. A job owns a
//! panel of output channels and some blocks of input channels, for all images;
//! it walks the pixels in runs of rows small enough for the first-level cache,
//! and for each run through all of its tiles. So sums need no second copy, and
//! their order depends on nothing but shapes.

// See `conv::tile`.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use crate::BLOCK;
use crate::buffer::Shared;
use crate::conv::{PackedWeights, SourceShape, TileShape};
use crate::isa::{Isa, Kind};
use crate::map::BlockedMap;
use crate::simd::Simd;

/// Input channels (or, for planar inputs, taps of a row) of a tile.
#[derive(Clone, Copy)]
struct Tile {
    x: *const f32,
    /// Floats from pixel to pixel and row to row of `x`.
    pixel: usize,
    x_row: usize,
    dy: *const f32,
    dy_block: usize,
    dy_row: usize,
    /// Floats from image to image of `x` and `dy`.
    x_image: usize,
    dy_image: usize,
    images: usize,
    rows: usize,
    width: usize,
    acc: *mut f32,
    /// Floats from one input channel to the next in `acc`.
    panel: usize,
    /// Where inputs are listed: how far each one and its sums are from `x` and `acc`.
    list: [(usize, usize); LISTED],
}

/// Most inputs of a tile that lists them.
const LISTED: usize = 6;

type TileFn = unsafe fn(&Tile);

/// `acc[i][o] += Σ x[pixel][i] · dy[pixel][o]` for `CI` inputs: neighbours, or those of the list.
///
/// # Safety
///
/// `x` must be readable for `CI` floats, `dy` for `NV` vectors, at all pixels
/// of all rows; `acc` for `CI` rows, and nobody else may access it.
#[inline(always)]
unsafe fn tile<S: Simd, const CI: usize, const NV: usize, const LIST: bool>(t: &Tile) {
    let place = |i: usize| if LIST { t.list[i] } else { (i, i * t.panel) };
    // SAFETY: contract of this function, for every access below.
    unsafe {
        let mut acc = [[S::zero(); NV]; CI];
        for i in 0..CI {
            for v in 0..NV {
                acc[i][v] = S::load(t.acc.add(place(i).1 + v * S::LANES));
            }
        }
        // Without a border, rows follow each other: one long row.
        let joined = t.x_row == t.width * t.pixel && t.dy_row == t.width * BLOCK;
        let (rows, width) = if joined {
            (1, t.rows * t.width)
        } else {
            (t.rows, t.width)
        };
        for row in 0..t.images * rows {
            let (image, row) = (row / rows, row % rows);
            let mut x = t.x.add(image * t.x_image + row * t.x_row);
            let mut dy = t.dy.add(image * t.dy_image + row * t.dy_row);
            for _ in 0..width {
                let mut d = [S::zero(); NV];
                for v in 0..NV {
                    let lane = v * S::LANES;
                    d[v] = S::load(dy.add(lane / BLOCK * t.dy_block + lane % BLOCK));
                }
                for i in 0..CI {
                    let a = S::splat(x.add(place(i).0));
                    for v in 0..NV {
                        acc[i][v] = S::mul_add(a, d[v], acc[i][v]);
                    }
                }
                x = x.wrapping_add(t.pixel);
                dy = dy.wrapping_add(BLOCK);
            }
        }
        for i in 0..CI {
            for v in 0..NV {
                S::store(t.acc.add(place(i).1 + v * S::LANES), acc[i][v]);
            }
        }
    }
}

/// Kernel and its input channels per tile.
fn tile_fn(isa: Isa, panel: usize) -> (TileFn, usize) {
    // Only AVX-512 has tiles as wide as any panel.
    let _ = panel;
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            use crate::simd::Avx512;
            #[target_feature(enable = "avx512f")]
            unsafe fn wide(t: &Tile) {
                // SAFETY: contract of `tile`; the holder of the `Isa` may.
                unsafe { tile::<Avx512, 8, 2, false>(t) }
            }
            #[target_feature(enable = "avx512f")]
            unsafe fn narrow(t: &Tile) {
                // SAFETY: as above.
                unsafe { tile::<Avx512, 8, 1, false>(t) }
            }
            (if panel == BLOCK { narrow } else { wide }, 8)
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn instance(t: &Tile) {
                // SAFETY: as above.
                unsafe { tile::<crate::simd::Avx2, 4, 2, false>(t) }
            }
            (instance, 4)
        }
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => {
            #[target_feature(enable = "neon")]
            unsafe fn instance(t: &Tile) {
                // SAFETY: as above.
                unsafe { tile::<crate::simd::Neon, 4, 4, false>(t) }
            }
            (instance, 4)
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Kind::Simd128 => (tile::<crate::simd::Simd128, 2, 4, false>, 2),
        Kind::Portable => (tile::<crate::simd::Portable, 2, 4, false>, 2),
    }
}

/// The kernel for a tile of listed inputs, where there is one.
fn listed_fn(isa: Isa, inputs: usize) -> Option<TileFn> {
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn instance<const CI: usize>(t: &Tile) {
                // SAFETY: contract of `tile`; the holder of the `Isa` may.
                unsafe { tile::<crate::simd::Avx2, CI, 2, true>(t) }
            }
            let all: [TileFn; LISTED] = [
                instance::<1>,
                instance::<2>,
                instance::<3>,
                instance::<4>,
                instance::<5>,
                instance::<6>,
            ];
            Some(all[inputs - 1])
        }
        _ => None,
    }
}

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
    /// Contract of [`tile`], for all channels and taps.
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
