//! AVX2 with FMA: 16 registers of 8 floats.

use super::Simd;
use std::arch::x86_64::*;

/// Token of the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const ASKS: bool = true;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: the caller guarantees AVX2 (trait contract).
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> __m256 {
        // SAFETY: trait contract; `x` is readable.
        unsafe { _mm256_set1_ps(*x) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> __m256 {
        // SAFETY: trait contract; 8 floats are readable.
        unsafe { _mm256_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store(x: *mut f32, v: __m256) {
        // SAFETY: trait contract; 8 floats are writable.
        unsafe { _mm256_storeu_ps(x, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: trait contract.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: trait contract.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn at_least(x: __m256, limit: __m256) -> __m256 {
        // The instruction returns its second operand where one is a NaN.
        // SAFETY: trait contract.
        unsafe { _mm256_max_ps(limit, x) }
    }
    #[inline(always)]
    unsafe fn at_most(x: __m256, limit: __m256) -> __m256 {
        // SAFETY: trait contract.
        unsafe { _mm256_min_ps(limit, x) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: trait contract.
        unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a);
            _mm256_blendv_ps(_mm256_max_ps(a, b), a, nan)
        }
    }
    #[inline(always)]
    unsafe fn next(line: *const f32) {
        // SAFETY: trait contract; it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
    }
    #[inline(always)]
    unsafe fn soon(line: *const f32) {
        // SAFETY: trait contract; it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
    }
    #[inline(always)]
    unsafe fn transpose16(from: &[*const f32; 16], to: &[*mut f32; 16]) {
        // SAFETY: trait contract; the offsets 0 and 8 leave 8 floats each.
        unsafe {
            for i in [0, 8] {
                for j in [0, 8] {
                    let rows = std::array::from_fn(|k| _mm256_loadu_ps(from[i + k].add(j)));
                    let columns = transpose8(rows);
                    for (k, column) in columns.into_iter().enumerate() {
                        _mm256_storeu_ps(to[j + k].add(i), column);
                    }
                }
            }
        }
    }
}

/// Transposes 8×8 floats in registers.
///
/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn transpose8(r: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: contract of this function.
    unsafe {
        let mut a = r;
        for k in 0..2 {
            let (r0, r1, r2, r3) = (r[4 * k], r[4 * k + 1], r[4 * k + 2], r[4 * k + 3]);
            let t0 = _mm256_unpacklo_ps(r0, r1);
            let t1 = _mm256_unpackhi_ps(r0, r1);
            let t2 = _mm256_unpacklo_ps(r2, r3);
            let t3 = _mm256_unpackhi_ps(r2, r3);
            a[4 * k] = _mm256_shuffle_ps::<0x44>(t0, t2);
            a[4 * k + 1] = _mm256_shuffle_ps::<0xee>(t0, t2);
            a[4 * k + 2] = _mm256_shuffle_ps::<0x44>(t1, t3);
            a[4 * k + 3] = _mm256_shuffle_ps::<0xee>(t1, t3);
        }
        std::array::from_fn(|j| {
            if j < 4 {
                _mm256_permute2f128_ps::<0x20>(a[j], a[4 + j])
            } else {
                _mm256_permute2f128_ps::<0x31>(a[j - 4], a[j])
            }
        })
    }
}
