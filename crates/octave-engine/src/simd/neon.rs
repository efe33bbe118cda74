//! NEON: 32 registers of 4 floats.

use super::Simd;
use std::arch::aarch64::*;

/// Token of the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> float32x4_t {
        // SAFETY: the caller guarantees NEON (trait contract).
        unsafe { vdupq_n_f32(0.0) }
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> float32x4_t {
        // SAFETY: trait contract; `x` is readable.
        unsafe { vld1q_dup_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> float32x4_t {
        // SAFETY: trait contract; 4 floats are readable.
        unsafe { vld1q_f32(x) }
    }
    #[inline(always)]
    unsafe fn store(x: *mut f32, v: float32x4_t) {
        // SAFETY: trait contract; 4 floats are writable.
        unsafe { vst1q_f32(x, v) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: trait contract.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: trait contract.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn at_least(x: float32x4_t, limit: float32x4_t) -> float32x4_t {
        // SAFETY: trait contract. FMAX returns a NaN operand.
        unsafe { vmaxq_f32(limit, x) }
    }
    #[inline(always)]
    unsafe fn at_most(x: float32x4_t, limit: float32x4_t) -> float32x4_t {
        // SAFETY: trait contract. FMIN returns a NaN operand.
        unsafe { vminq_f32(limit, x) }
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: trait contract. FMAX returns a NaN operand.
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn transpose16(from: &[*const f32; 16], to: &[*mut f32; 16]) {
        for i in (0..16).step_by(4) {
            for j in (0..16).step_by(4) {
                // SAFETY: trait contract; offsets up to 12 leave 4 floats.
                unsafe {
                    let r: [float32x4_t; 4] =
                        std::array::from_fn(|k| vld1q_f32(from[i + k].add(j)));
                    let even = |a, b| vreinterpretq_f64_f32(vtrn1q_f32(a, b));
                    let odd = |a, b| vreinterpretq_f64_f32(vtrn2q_f32(a, b));
                    let (e01, o01) = (even(r[0], r[1]), odd(r[0], r[1]));
                    let (e23, o23) = (even(r[2], r[3]), odd(r[2], r[3]));
                    let columns = [
                        vtrn1q_f64(e01, e23),
                        vtrn1q_f64(o01, o23),
                        vtrn2q_f64(e01, e23),
                        vtrn2q_f64(o01, o23),
                    ];
                    for (k, column) in columns.into_iter().enumerate() {
                        vst1q_f32(to[j + k].add(i), vreinterpretq_f32_f64(column));
                    }
                }
            }
        }
    }
}
