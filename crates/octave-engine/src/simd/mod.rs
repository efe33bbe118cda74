//! The few vector operations that the kernels are made of.
//!
//! A kernel is written once, generic over [`Simd`], marked `inline(always)`
//! and instantiated inside a `#[target_feature]` function for each
//! instruction set. Register tiles follow the size of the register file.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use simd128::Simd128;

/// Channels in a block of a blocked map, whatever the vector width.
pub const BLOCK: usize = 16;

/// Vector operations of one instruction set.
///
/// # Safety
///
/// Every method may only be called where the processor has the instruction
/// set, and from code compiled for it. Pointers need no alignment beyond
/// that of `f32`, and must be valid for `LANES` elements.
pub(crate) trait Simd: Copy + 'static {
    /// A vector of `LANES` floats.
    type V: Copy;
    /// Floats in a vector.
    const LANES: usize;

    unsafe fn zero() -> Self::V;
    /// All lanes from one float in memory.
    unsafe fn splat(x: *const f32) -> Self::V;
    unsafe fn load(x: *const f32) -> Self::V;
    unsafe fn store(x: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `limit` where `x < limit`, else `x`; a NaN in `x` stays.
    unsafe fn at_least(x: Self::V, limit: Self::V) -> Self::V;
    /// `limit` where `x > limit`, else `x`; a NaN in `x` stays.
    unsafe fn at_most(x: Self::V, limit: Self::V) -> Self::V;
    /// The larger one; a NaN in either wins.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Whether kernels say what they will read.
    const ASKS: bool = false;
    /// Says that a line of memory, valid or not, will be read soon.
    #[inline(always)]
    unsafe fn next(_line: *const f32) {}
    /// Says that a line of memory, valid or not, will be read some time later.
    #[inline(always)]
    unsafe fn soon(_line: *const f32) {}
    /// Transposes 16×16 floats: `to[j][i] = from[i][j]`. Every pointer must
    /// be valid for 16 floats; the rows of `to` must not overlap others.
    unsafe fn transpose16(from: &[*const f32; 16], to: &[*mut f32; 16]);
}
