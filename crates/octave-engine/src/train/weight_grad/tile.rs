//! The kernel of weight gradients: a few inputs × vectors of output channels, over pixels.

// See `conv::tile`.
#![allow(clippy::needless_range_loop)]

use crate::BLOCK;
use crate::isa::{Isa, Kind};
use crate::simd::Simd;

/// Input channels (or, for planar inputs, taps of a row) of a tile.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub x: *const f32,
    /// Floats from pixel to pixel and row to row of `x`.
    pub pixel: usize,
    pub x_row: usize,
    pub dy: *const f32,
    pub dy_block: usize,
    pub dy_row: usize,
    /// Floats from image to image of `x` and `dy`.
    pub x_image: usize,
    pub dy_image: usize,
    pub images: usize,
    pub rows: usize,
    pub width: usize,
    pub acc: *mut f32,
    /// Floats from one input channel to the next in `acc`.
    pub panel: usize,
    /// Where inputs are listed: how far each one and its sums are from `x` and `acc`.
    pub list: [(usize, usize); LISTED],
}

/// Most inputs of a tile that lists them.
pub(super) const LISTED: usize = 6;

/// See [`tile`].
pub(super) type TileFn = unsafe fn(&Tile);

/// `acc[i][o] += Σ x[pixel][i] · dy[pixel][o]` for `CI` inputs: neighbours, or those of the list.
///
/// # Safety
///
/// `x` must be readable for the inputs, `dy` for `NV` vectors, at all pixels
/// of all rows; `acc` for a row of each input, and nobody else may access it.
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
pub(super) fn tile_fn(isa: Isa, panel: usize) -> (TileFn, usize) {
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
pub(super) fn listed_fn(isa: Isa, inputs: usize) -> Option<TileFn> {
    #[cfg(target_arch = "x86_64")]
    if isa.kind() == Kind::Avx2 {
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
        return Some(all[inputs - 1]);
    }
    let _ = (isa, inputs);
    None
}
