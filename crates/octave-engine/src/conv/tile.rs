//! The micro-kernel: a few pixels × a few vectors of output channels.
//!
//! All sums of a tile stay in registers from the first input channel of the
//! first source to the epilogue. Per input channel the kernel loads one row of
//! weights (2 vectors with AVX-512) and broadcasts one float per pixel; with 14
//! pixels that is 16 loads for 28 multiply–adds, so that the multipliers are
//! the only limit. Weights stream through in order, and pixels of a row lie
//! side by side, so a tap of a kernel is nothing but an offset.
//!
//! A tile may consist of two rows of up to 7 pixels: narrow maps would
//! otherwise re-read the weights for every row.

// Loops over registers are written with indices: iterators over nested arrays
// hide which vector meets which.
#![allow(clippy::needless_range_loop)]

use crate::BLOCK;
use crate::isa::{Isa, Kind};
use crate::simd::Simd;

/// Sources of one product.
pub(crate) const MAX_SOURCES: usize = 8;

/// Contribution of one source to a tile.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// First pixel of each row of the tile, at offset 0.
    pub rows: [*const f32; 2],
    /// Offset of each step from `rows`, in floats.
    pub offsets: *const u32,
    /// Number of steps.
    pub steps: usize,
    /// Stride of the convolution: pixels of the source per pixel of the tile.
    pub stride: usize,
    /// Input channels (blocked) or taps (planar) per step.
    pub inner: usize,
}

impl Run {
    /// No steps.
    pub(crate) const NONE: Self = Self {
        rows: [std::ptr::null(); 2],
        offsets: std::ptr::null(),
        steps: 0,
        stride: 1,
        inner: BLOCK,
    };
}

/// Everything that the kernel needs to know of a tile.
pub(crate) struct Tile {
    /// The first `used` count.
    pub runs: [Run; MAX_SOURCES],
    pub used: usize,
    /// Weights of all steps of all runs, in order.
    pub weights: *const f32,
    /// Floats from one row of weights to the next.
    pub panel: usize,
    pub bias: *const f32,
    /// First pixel of each row, channel block 0 of the tile.
    pub out: [*mut f32; 2],
    /// Floats between channel blocks.
    pub out_block: usize,
    /// Map to add, or null.
    pub residual: [*const f32; 2],
    pub residual_block: usize,
    /// Map of half the resolution to add, or null: pixel `p` of the tile gets
    /// its pixel `(phase + p) / 2`.
    pub coarse: [*const f32; 2],
    pub coarse_block: usize,
    pub phase: usize,
    /// Bounds of the result (activation).
    pub bounds: [f32; 2],
}

/// Computes a tile.
///
/// # Safety
///
/// Each run must be readable at `rows[r] + offset + pixel` for all its steps,
/// weights and bias for the width of the tile, outputs writable and nobody
/// else's.
pub(crate) type TileFn = unsafe fn(&Tile);

/// Largest tile of an instruction set, for a panel of the given width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileShape {
    /// Pixels.
    pub pixels: usize,
    /// Output channels, divides the panel width.
    pub channels: usize,
}

impl TileShape {
    pub(crate) fn new(isa: Isa, panel: usize) -> Self {
        // Only AVX-512 has tiles as wide as any panel.
        let _ = panel;
        match isa.kind() {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => Self {
                pixels: 14,
                channels: panel,
            },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Self {
                pixels: 6,
                channels: 16,
            },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => Self {
                pixels: 6,
                channels: 16,
            },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            // Eight sums, four vectors of weights and a factor: x86-64 has sixteen registers, and more
            // pixels, or fewer channels of more pixels, are slower there.
            Kind::Simd128 => Self {
                pixels: 2,
                channels: 16,
            },
            Kind::Portable => Self {
                pixels: 2,
                channels: 16,
            },
        }
    }
}

/// `acc += x · w` over all steps of a run. `PIXEL` is the distance of
/// neighbouring pixels of the tile in the source. Returns the weights after
/// the last one used.
#[inline(always)]
unsafe fn accumulate<
    S: Simd,
    const R: usize,
    const Q: usize,
    const NV: usize,
    const PIXEL: usize,
>(
    run: &Run,
    mut w: *const f32,
    panel: usize,
    acc: &mut [[[S::V; NV]; Q]; R],
) -> *const f32 {
    for step in 0..run.steps {
        // SAFETY: contract of `TileFn`, for every access below.
        unsafe {
            let offset = *run.offsets.add(step) as usize;
            let mut x = [run.rows[0]; R];
            for r in 0..R {
                x[r] = run.rows[r].add(offset);
            }
            for i in 0..run.inner {
                let mut b = [S::zero(); NV];
                for v in 0..NV {
                    b[v] = S::load(w.add(v * S::LANES));
                }
                for r in 0..R {
                    for q in 0..Q {
                        let a = S::splat(x[r].add(i + q * PIXEL));
                        for v in 0..NV {
                            acc[r][q][v] = S::mul_add(a, b[v], acc[r][q][v]);
                        }
                    }
                }
                w = w.add(panel);
            }
        }
    }
    w
}

/// See [`TileFn`]; `R` rows of `Q` pixels × `NV` vectors. `PLANAR` sources
/// have one channel per plane, others are blocked.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const Q: usize, const NV: usize, const PLANAR: bool>(
    t: &Tile,
) {
    // SAFETY: contract of `TileFn`, for every access below.
    unsafe {
        let mut acc = [[[S::zero(); NV]; Q]; R];
        let mut w = t.weights;
        for run in &t.runs[..t.used] {
            w = match (PLANAR, run.stride) {
                (false, 1) => accumulate::<S, R, Q, NV, BLOCK>(run, w, t.panel, &mut acc),
                (false, _) => accumulate::<S, R, Q, NV, { 2 * BLOCK }>(run, w, t.panel, &mut acc),
                (true, 1) => accumulate::<S, R, Q, NV, 1>(run, w, t.panel, &mut acc),
                (true, _) => accumulate::<S, R, Q, NV, 2>(run, w, t.panel, &mut acc),
            };
        }
        let [low, high] = [S::splat(&t.bounds[0]), S::splat(&t.bounds[1])];
        for v in 0..NV {
            let channel = v * S::LANES;
            let (block, lane) = (channel / BLOCK, channel % BLOCK);
            let bias = S::load(t.bias.add(channel));
            for r in 0..R {
                for q in 0..Q {
                    let mut y = S::add(acc[r][q][v], bias);
                    if !t.residual[0].is_null() {
                        let at = block * t.residual_block + q * BLOCK + lane;
                        y = S::add(y, S::load(t.residual[r].add(at)));
                    }
                    if !t.coarse[0].is_null() {
                        let at = block * t.coarse_block + (t.phase + q) / 2 * BLOCK + lane;
                        y = S::add(y, S::load(t.coarse[r].add(at)));
                    }
                    y = S::at_most(S::at_least(y, low), high);
                    S::store(t.out[r].add(block * t.out_block + q * BLOCK + lane), y);
                }
            }
        }
    }
}

/// Instantiates `tile` for an instruction set and picks an instance.
macro_rules! instances {
    ($simd:ty, $(#[$feature:meta])?, $nv:literal, $planar:ident, $rows:ident, $pixels:ident,
     [$($one:literal)*], [$($two:literal)*]) => {{
        $(#[$feature])?
        unsafe fn instance<const R: usize, const Q: usize, const PLANAR: bool>(t: &Tile) {
            // SAFETY: contract of `TileFn`; whoever holds an `Isa` may run it.
            unsafe { tile::<$simd, R, Q, $nv, PLANAR>(t) }
        }
        match ($planar, $rows, $pixels) {
            $((false, 1, $one) => instance::<1, $one, false> as TileFn,)*
            $((true, 1, $one) => instance::<1, $one, true> as TileFn,)*
            $((false, 2, $two) => instance::<2, $two, false> as TileFn,)*
            _ => unreachable!("no tile of {} rows of {} pixels", $rows, $pixels),
        }
    }};
}

/// The kernel for a tile of `rows` rows of `pixels` pixels, for panels of the
/// given width. The holder of `isa` may call it.
pub(crate) fn tile_fn(isa: Isa, panel: usize, planar: bool, rows: usize, pixels: usize) -> TileFn {
    let _ = panel;
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 if panel == BLOCK => instances!(
            crate::simd::Avx512, #[target_feature(enable = "avx512f")], 1, planar, rows, pixels,
            [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4 5 6 7]
        ),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => instances!(
            crate::simd::Avx512, #[target_feature(enable = "avx512f")], 2, planar, rows, pixels,
            [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4 5 6 7]
        ),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => instances!(
            crate::simd::Avx2, #[target_feature(enable = "avx2,fma")], 2, planar, rows, pixels,
            [1 2 3 4 5 6], [1 2 3]
        ),
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => instances!(
            crate::simd::Neon, #[target_feature(enable = "neon")], 4, planar, rows, pixels,
            [1 2 3 4 5 6], [1 2 3]
        ),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Kind::Simd128 => instances!(
            crate::simd::Simd128, , 4, planar, rows, pixels, [1 2], [1]
        ),
        Kind::Portable => instances!(
            crate::simd::Portable, , 4, planar, rows, pixels, [1 2], [1]
        ),
    }
}
