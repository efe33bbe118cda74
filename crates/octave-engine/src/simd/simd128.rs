//! WebAssembly's SIMD: registers of 4 floats, as many as the engine of the browser finds (16 on
//! x86-64, 32 on ARM). A multiply–add is one instruction where the module is compiled with
//! `relaxed-simd`, else a product and a sum.

use super::Simd;
use std::arch::wasm32::*;

/// Token of the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Simd128;

impl Simd for Simd128 {
    type V = v128;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> v128 {
        f32x4_splat(0.0)
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> v128 {
        // SAFETY: trait contract; `x` is readable.
        unsafe { v128_load32_splat(x.cast()) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> v128 {
        // SAFETY: trait contract; 4 floats are readable, and no alignment is asked for.
        unsafe { v128_load(x.cast()) }
    }
    #[inline(always)]
    unsafe fn store(x: *mut f32, v: v128) {
        // SAFETY: trait contract; 4 floats are writable.
        unsafe { v128_store(x.cast(), v) }
    }
    #[inline(always)]
    unsafe fn add(a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    unsafe fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        return f32x4_add(f32x4_mul(a, b), c);
    }
    #[inline(always)]
    unsafe fn at_least(x: v128, limit: v128) -> v128 {
        // The pseudo-maximum is `x < limit ? limit : x`, a single instruction of x86.
        f32x4_pmax(x, limit)
    }
    #[inline(always)]
    unsafe fn at_most(x: v128, limit: v128) -> v128 {
        f32x4_pmin(x, limit)
    }
    #[inline(always)]
    unsafe fn max(a: v128, b: v128) -> v128 {
        f32x4_max(a, b)
    }

    #[inline(always)]
    unsafe fn transpose16(from: &[*const f32; 16], to: &[*mut f32; 16]) {
        for i in (0..16).step_by(4) {
            for j in (0..16).step_by(4) {
                // SAFETY: trait contract; offsets up to 12 leave 4 floats.
                unsafe {
                    let r: [v128; 4] = std::array::from_fn(|k| Self::load(from[i + k].add(j)));
                    let (low, high) = (
                        [low_pairs(r[0], r[1]), low_pairs(r[2], r[3])],
                        [high_pairs(r[0], r[1]), high_pairs(r[2], r[3])],
                    );
                    let columns = [
                        i64x2_shuffle::<0, 2>(low[0], low[1]),
                        i64x2_shuffle::<1, 3>(low[0], low[1]),
                        i64x2_shuffle::<0, 2>(high[0], high[1]),
                        i64x2_shuffle::<1, 3>(high[0], high[1]),
                    ];
                    for (k, column) in columns.into_iter().enumerate() {
                        Self::store(to[j + k].add(i), column);
                    }
                }
            }
        }
    }
}

/// `[a0, b0, a1, b1]`.
#[inline(always)]
fn low_pairs(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 4, 1, 5>(a, b)
}

/// `[a2, b2, a3, b3]`.
#[inline(always)]
fn high_pairs(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<2, 6, 3, 7>(a, b)
}
