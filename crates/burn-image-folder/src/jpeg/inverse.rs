//! The inverse cosine transform of a block, in whole numbers.
//!
//! After the algorithm of C. Loeffler, A. Ligtenberg and G. S. Moschytz, "Practical fast 1-D DCT
//! algorithms with 11 multiplications", ICASSP 1989, <https://doi.org/10.1109/ICASSP.1989.266596>,
//! with factors of 12 bits, and rounded as the general decoder rounds.

use super::entropy::Block;

/// Eight rows of eight numbers, each row a register of 256 bits.
#[repr(align(32))]
#[derive(Clone, Copy)]
struct Square([[i32; 8]; 8]);

/// A factor in 4096ths; half of one is added before what is after the point is cut off.
const fn factor(value: f64) -> i32 {
    (value * 4096.0 + 0.5) as i32
}

/// Transforms along the first axis, for all of the second at once: adds `ROUND` and shifts. Only
/// the first `COUNT` of the eight numbers are not zero.
#[inline(always)]
fn pass<const COUNT: usize, const ROUND: i32, const SHIFT: u32>(square: &mut Square) {
    for i in 0..8 {
        let number = |k: usize| if k < COUNT { square.0[k][i] } else { 0 };
        let [s0, s1, s2, s3, s4, s5, s6, s7]: [i32; 8] = std::array::from_fn(number);
        let times = |value: i32, by: f64| value.wrapping_mul(factor(by));
        let add = i32::wrapping_add;
        let sub = i32::wrapping_sub;

        let even = times(add(s2, s6), 0.541196100);
        let t2 = add(even, times(s6, -1.847759065));
        let t3 = add(even, times(s2, 0.765366865));
        let t0 = add(add(s0, s4) << 12, ROUND);
        let t1 = add(sub(s0, s4) << 12, ROUND);
        let x = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];

        let all = times(add(add(s7, s3), add(s5, s1)), 1.175875602);
        let p1 = add(all, times(add(s7, s1), -0.899976223));
        let p2 = add(all, times(add(s5, s3), -2.562915447));
        let p3 = times(add(s7, s3), -1.961570560);
        let p4 = times(add(s5, s1), -0.390180644);
        let odd = [
            add(times(s1, 1.501321110), add(p1, p4)),
            add(times(s3, 3.072711026), add(p2, p3)),
            add(times(s5, 2.053119869), add(p2, p4)),
            add(times(s7, 0.298631336), add(p1, p3)),
        ];
        for k in 0..4 {
            square.0[k][i] = add(x[k], odd[k]) >> SHIFT;
            square.0[7 - k][i] = sub(x[k], odd[k]) >> SHIFT;
        }
    }
}

/// Swaps the axes. `V3` promises that the processor has AVX2.
#[inline(always)]
fn transpose<const V3: bool>(square: &mut Square) {
    #[cfg(target_arch = "x86_64")]
    if V3 {
        // SAFETY: the caller promises AVX2.
        return unsafe { transpose_v3(square) };
    }
    *square = Square(std::array::from_fn(|y| {
        std::array::from_fn(|x| square.0[x][y])
    }));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn transpose_v3(square: &mut Square) {
    use std::arch::x86_64::*;

    // SAFETY: both are 64 numbers of 32 bits, of which any bits are valid.
    let rows = unsafe { std::mem::transmute::<Square, [__m256i; 8]>(*square) };
    // In each half of a register: pairs of numbers, then pairs of pairs; then whole halves.
    let mut pairs = rows;
    for i in [0, 2, 4, 6] {
        pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut quads = pairs;
    for i in [0, 4] {
        quads[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        quads[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        quads[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        quads[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    let mut columns = quads;
    for i in 0..4 {
        columns[i] = _mm256_permute2x128_si256::<0x20>(quads[i], quads[i + 4]);
        columns[i + 4] = _mm256_permute2x128_si256::<0x31>(quads[i], quads[i + 4]);
    }
    // SAFETY: as above.
    *square = unsafe { std::mem::transmute::<[__m256i; 8], Square>(columns) };
}

/// Writes a block's pixels to the first rows of `plane`, of which each has `stride` pixels. Only
/// the first `COUNT` rows and columns of coefficients are not zero. `V3` promises that the
/// processor has AVX2.
#[inline(always)]
pub(super) fn inverse<const V3: bool, const COUNT: usize>(
    block: &Block,
    plane: &mut [u8],
    stride: usize,
) {
    let mut square = Square(std::array::from_fn(|y| {
        std::array::from_fn(|x| block[8 * y + x])
    }));
    pass::<COUNT, 512, 10>(&mut square);
    transpose::<V3>(&mut square);
    // Half a unit, what the first pass rounded down, and the middle of the range.
    pass::<COUNT, { (1 << 16) + 512 + (128 << 17) }, 17>(&mut square);
    transpose::<V3>(&mut square);
    for (row, pixels) in square.0.iter().zip(plane.chunks_mut(stride)) {
        pixels[..8].copy_from_slice(&row.map(|value| value.clamp(0, 255) as u8));
    }
}

/// [`inverse`] of a block that has no coefficient but the first.
#[inline(always)]
pub(super) fn inverse_flat(block: &Block, plane: &mut [u8], stride: usize) {
    let value = (block[0].wrapping_add(4 + 1024) >> 3).clamp(0, 255) as u8;
    for pixels in plane.chunks_mut(stride).take(8) {
        pixels[..8].fill(value);
    }
}
