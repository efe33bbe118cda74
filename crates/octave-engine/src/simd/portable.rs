//! Plain Rust: four floats at a time, which every compiler target of today
//! turns into one vector register. No fused multiply–add: without hardware
//! for it, it would be a library call.

use super::Simd;

/// Token of the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

type V = [f32; 4];

impl Simd for Portable {
    type V = V;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> V {
        [0.0; 4]
    }
    #[inline(always)]
    unsafe fn splat(x: *const f32) -> V {
        // SAFETY: trait contract; `x` is readable.
        [unsafe { *x }; 4]
    }
    #[inline(always)]
    unsafe fn load(x: *const f32) -> V {
        // SAFETY: trait contract; 4 floats are readable, any alignment of f32.
        unsafe { x.cast::<V>().read() }
    }
    #[inline(always)]
    unsafe fn store(x: *mut f32, v: V) {
        // SAFETY: trait contract; 4 floats are writable.
        unsafe { x.cast::<V>().write(v) }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn at_least(x: V, limit: V) -> V {
        std::array::from_fn(|i| if x[i] < limit[i] { limit[i] } else { x[i] })
    }
    #[inline(always)]
    unsafe fn at_most(x: V, limit: V) -> V {
        std::array::from_fn(|i| if x[i] > limit[i] { limit[i] } else { x[i] })
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        std::array::from_fn(|i| {
            if a[i] >= b[i] || a[i].is_nan() {
                a[i]
            } else {
                b[i]
            }
        })
    }

    #[inline(always)]
    unsafe fn transpose16(from: &[*const f32; 16], to: &[*mut f32; 16]) {
        for (i, row) in from.iter().enumerate() {
            for (j, column) in to.iter().enumerate() {
                // SAFETY: trait contract; i, j < 16.
                unsafe { *column.add(i) = *row.add(j) };
            }
        }
    }
}
