//! AVX-512F: 32 registers of 16 floats.

use super::Simd;
use std::arch::x86_64::*;

/// Token of the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller guarantees AVX-512F (trait contract).
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> __m512 {
        // SAFETY: trait contract; `x` is readable.
        unsafe { _mm512_set1_ps(*x) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> __m512 {
        // SAFETY: trait contract; 16 floats are readable.
        unsafe { _mm512_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store(x: *mut f32, v: __m512) {
        // SAFETY: trait contract; 16 floats are writable.
        unsafe { _mm512_storeu_ps(x, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: trait contract.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: trait contract.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn at_least(x: __m512, limit: __m512) -> __m512 {
        // The instruction returns its second operand where one is a NaN.
        // SAFETY: trait contract.
        unsafe { _mm512_max_ps(limit, x) }
    }
    #[inline(always)]
    unsafe fn at_most(x: __m512, limit: __m512) -> __m512 {
        // SAFETY: trait contract.
        unsafe { _mm512_min_ps(limit, x) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: trait contract.
        unsafe {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_mask_mov_ps(_mm512_max_ps(a, b), nan, a)
        }
    }
    #[inline(always)]
    unsafe fn transpose16(from: &[*const f32; 16], to: &[*mut f32; 16]) {
        // Four rounds, each pairing rows at a distance: floats, pairs of
        // floats, quarters, halves.
        // SAFETY: trait contract; all 32 rows are valid for 16 floats.
        unsafe {
            let r: [__m512; 16] = std::array::from_fn(|i| _mm512_loadu_ps(from[i]));
            // a[4k + j]: within each 128-bit lane L, columns 4L + j of rows 4k..4k+4.
            let mut a = r;
            for k in 0..4 {
                let (r0, r1, r2, r3) = (r[4 * k], r[4 * k + 1], r[4 * k + 2], r[4 * k + 3]);
                let t0 = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1));
                let t1 = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
                let t2 = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3));
                let t3 = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
                a[4 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(t0, t2));
                a[4 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t0, t2));
                a[4 * k + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t1, t3));
                a[4 * k + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t1, t3));
            }
            for j in 0..4 {
                // 4×4 transpose of 128-bit lanes of a[j], a[4+j], a[8+j], a[12+j].
                let lo01 = _mm512_shuffle_f32x4::<0x88>(a[j], a[4 + j]);
                let hi01 = _mm512_shuffle_f32x4::<0xdd>(a[j], a[4 + j]);
                let lo23 = _mm512_shuffle_f32x4::<0x88>(a[8 + j], a[12 + j]);
                let hi23 = _mm512_shuffle_f32x4::<0xdd>(a[8 + j], a[12 + j]);
                _mm512_storeu_ps(to[j], _mm512_shuffle_f32x4::<0x88>(lo01, lo23));
                _mm512_storeu_ps(to[4 + j], _mm512_shuffle_f32x4::<0x88>(hi01, hi23));
                _mm512_storeu_ps(to[8 + j], _mm512_shuffle_f32x4::<0xdd>(lo01, lo23));
                _mm512_storeu_ps(to[12 + j], _mm512_shuffle_f32x4::<0xdd>(hi01, hi23));
            }
        }
    }
}
