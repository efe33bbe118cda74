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
//! otherwise re-read the weights for every row. With AVX2, whose tiles are
//! small, it may consist of any pixels, each a row of its own; see
//! [`across`](super::across).

// Loops over registers are written with indices: iterators over nested arrays
// hide which vector meets which.
#![allow(clippy::needless_range_loop)]

use super::panel::PANEL;
use crate::BLOCK;
use crate::isa::{Isa, Kind};
use crate::simd::Simd;

/// Sources of one product.
pub(crate) const MAX_SOURCES: usize = 8;

/// How many steps before it reads them a kernel asks for pixels.
const STEPS_AHEAD: usize = 2;

/// Floats of a line of the cache.
pub(super) const LINE: usize = 16;

/// Most pixels of a tile whose pixels lie anywhere.
pub(super) const ANYWHERE: usize = 6;

/// Contribution of one source to a tile of up to `ROWS` rows.
#[derive(Clone, Copy)]
pub(crate) struct Run<const ROWS: usize = 2> {
    /// First pixel of each row of the tile, at offset 0.
    pub rows: [*const f32; ROWS],
    /// Offset of each step from `rows`, in floats.
    pub offsets: *const u32,
    /// Number of steps.
    pub steps: usize,
    /// Stride of the convolution: pixels of the source per pixel of the tile.
    pub stride: usize,
    /// Input channels (blocked) or taps (planar) per step.
    pub inner: usize,
}

impl<const ROWS: usize> Run<ROWS> {
    /// No steps.
    pub(crate) const NONE: Self = Self {
        rows: [std::ptr::null(); ROWS],
        offsets: std::ptr::null(),
        steps: 0,
        stride: 1,
        inner: BLOCK,
    };
}

/// Everything that the kernel needs to know of a tile.
pub(crate) struct Tile<const ROWS: usize = 2> {
    /// The first `used` count.
    pub runs: [Run<ROWS>; MAX_SOURCES],
    pub used: usize,
    /// Weights of all steps of all runs, in order.
    pub weights: *const f32,
    /// Floats from one row of weights to the next.
    pub panel: usize,
    pub bias: *const f32,
    /// First pixel of each row, channel block 0 of the tile.
    pub out: [*mut f32; ROWS],
    /// Floats between channel blocks.
    pub out_block: usize,
    /// Map to add, or null.
    pub residual: [*const f32; ROWS],
    pub residual_block: usize,
    /// Map of half the resolution to add, or null: pixel `p` of the tile gets
    /// its pixel `(phase + p) / 2`.
    pub coarse: [*const f32; ROWS],
    pub coarse_block: usize,
    pub phase: usize,
    /// Bounds of the result (activation).
    pub bounds: [f32; 2],
    /// Where a tile is summed in parts: which this is.
    pub part: Part,
}

/// A part of the steps of a tile. Between parts, the sums are in the place of the result.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub first: bool,
    pub last: bool,
    /// Weights that later tiles will read, two lines of them per step of this tile.
    pub soon: *const f32,
    /// Floats of them per step: two lines, or 0 where there are none.
    pub soon_step: usize,
}

impl Part {
    /// All steps.
    pub(crate) const WHOLE: Self = Self {
        first: true,
        last: true,
        soon: std::ptr::null(),
        soon_step: 0,
    };
}

/// Computes a tile.
///
/// # Safety
///
/// Each run must be readable at `rows[r] + offset + pixel` for all its steps,
/// weights and bias for the width of the tile, outputs writable and nobody
/// else's.
pub(crate) type TileFn<const ROWS: usize = 2> = unsafe fn(&Tile<ROWS>);

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

/// The widest panel that the kernels of an instruction set read in sequence.
pub(super) fn widest_panel(isa: Isa) -> usize {
    // A tile reads all of a panel, so that its weights are no further apart than they must.
    #[cfg(target_arch = "x86_64")]
    if isa.kind() == Kind::Avx2 {
        return BLOCK;
    }
    let _ = isa;
    PANEL
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
    const PARTS: bool,
    const ROWS: usize,
>(
    run: &Run<ROWS>,
    mut w: *const f32,
    panel: usize,
    part: &mut Part,
    acc: &mut [[[S::V; NV]; Q]; R],
) -> *const f32 {
    for step in 0..run.steps {
        // SAFETY: contract of `TileFn`, for every access below.
        unsafe {
            if PARTS {
                S::soon(part.soon);
                S::soon(part.soon.wrapping_add(LINE));
                part.soon = part.soon.wrapping_add(part.soon_step);
            }
            // Blocks of channels lie too far apart for the processor to foresee.
            if S::ASKS && PIXEL >= BLOCK {
                let next = *run.offsets.add((step + STEPS_AHEAD).min(run.steps - 1)) as usize;
                for r in 0..R {
                    for q in 0..Q {
                        S::next(run.rows[r].wrapping_add(next + q * PIXEL));
                    }
                }
            }
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
/// have one channel per plane, others are blocked. Only where `PARTS` may the
/// tile be a part.
#[inline(always)]
unsafe fn tile<
    S: Simd,
    const R: usize,
    const Q: usize,
    const NV: usize,
    const PLANAR: bool,
    const PARTS: bool,
    const ROWS: usize,
>(
    t: &Tile<ROWS>,
) {
    // SAFETY: contract of `TileFn`, for every access below.
    unsafe {
        let mut acc = [[[S::zero(); NV]; Q]; R];
        let out = |r: usize, q: usize, v: usize| {
            let (block, lane) = (v * S::LANES / BLOCK, v * S::LANES % BLOCK);
            t.out[r].add(block * t.out_block + q * BLOCK + lane)
        };
        if PARTS && !t.part.first {
            for r in 0..R {
                for q in 0..Q {
                    for v in 0..NV {
                        acc[r][q][v] = S::load(out(r, q, v));
                    }
                }
            }
        }
        let (mut w, mut part) = (t.weights, t.part);
        for run in &t.runs[..t.used] {
            w = match (PLANAR, run.stride) {
                (false, 1) => accumulate::<S, R, Q, NV, BLOCK, PARTS, ROWS>(
                    run, w, t.panel, &mut part, &mut acc,
                ),
                (false, _) => accumulate::<S, R, Q, NV, { 2 * BLOCK }, PARTS, ROWS>(
                    run, w, t.panel, &mut part, &mut acc,
                ),
                (true, 1) => {
                    accumulate::<S, R, Q, NV, 1, PARTS, ROWS>(run, w, t.panel, &mut part, &mut acc)
                }
                (true, _) => {
                    accumulate::<S, R, Q, NV, 2, PARTS, ROWS>(run, w, t.panel, &mut part, &mut acc)
                }
            };
        }
        if PARTS && !t.part.last {
            for r in 0..R {
                for q in 0..Q {
                    for v in 0..NV {
                        S::store(out(r, q, v), acc[r][q][v]);
                    }
                }
            }
            return;
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
                    S::store(out(r, q, v), y);
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
            unsafe { tile::<$simd, R, Q, $nv, PLANAR, false, 2>(t) }
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

/// The kernel for a tile of `pixels` pixels anywhere, where there is one. The
/// holder of `isa` may call it.
pub(super) fn anywhere_fn(isa: Isa, pixels: usize) -> Option<TileFn<ANYWHERE>> {
    #[cfg(target_arch = "x86_64")]
    if isa.kind() == Kind::Avx2 {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn instance<const R: usize>(t: &Tile<ANYWHERE>) {
            // SAFETY: contract of `TileFn`; whoever holds an `Isa` may run it.
            unsafe { tile::<crate::simd::Avx2, R, 1, 2, false, true, ANYWHERE>(t) }
        }
        let all: [TileFn<ANYWHERE>; ANYWHERE] = [
            instance::<1>,
            instance::<2>,
            instance::<3>,
            instance::<4>,
            instance::<5>,
            instance::<6>,
        ];
        return Some(all[pixels - 1]);
    }
    let _ = (isa, pixels);
    None
}
