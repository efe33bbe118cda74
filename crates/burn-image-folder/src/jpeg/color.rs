//! From planes of brightness and colour to red, green and blue.

use std::ops::Range;

use super::{Plane, Region};

/// Row buffers, used again from row to row.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The colour of a row at its own resolution, with a neighbour more on both sides.
    coarse: Vec<i16>,
    /// The two colours of a row at full resolution.
    fine: [Vec<i16>; 2],
    /// A row's pixels, four bytes each.
    words: Vec<u32>,
}

/// Writes the pixels of `region` at their place in an image of rows of `width` pixels.
///
/// `halved` says along which axes, x and y, colour has half the resolution. It is then
/// interpolated: three quarters of the nearest value and one of the next.
#[inline(always)]
pub(super) fn to_rgb(
    [luma, blue, red]: [&Plane; 3],
    halved: [bool; 2],
    region: Region,
    rows: &mut Rows,
    pixels: &mut [u8],
    width: usize,
) {
    let Region { x, y } = region;
    for (y, pixels) in y
        .clone()
        .zip(pixels.chunks_exact_mut(3 * width).skip(y.start))
    {
        for (fine, plane) in rows.fine.iter_mut().zip([blue, red]) {
            fill_row(plane, halved, &x, y, &mut rows.coarse, fine);
        }
        let luma = &luma.row(y)[x.clone()];
        // The first pixel may be the second of a pair.
        let skip = if halved[0] { x.start % 2 } else { 0 };
        let [blue, red] = rows.fine.each_ref().map(|row| &row[skip..]);
        let pixels = &mut pixels[3 * x.start..3 * x.end];
        convert(luma, blue, red, pixels, &mut rows.words);
    }
}

/// Makes row `y` at full resolution, from the pixel or the pair that has the first of `x`.
#[inline(always)]
fn fill_row(
    plane: &Plane,
    [halved_x, halved_y]: [bool; 2],
    x: &Range<usize>,
    y: usize,
    coarse: &mut Vec<i16>,
    fine: &mut Vec<i16>,
) {
    // Outside of the plane its outermost values go on.
    let (near, far) = match halved_y {
        true if y.is_multiple_of(2) => (y / 2, (y / 2).saturating_sub(1)),
        true => (y / 2, (y / 2 + 1).min(plane.height() - 1)),
        false => (y, y),
    };
    let (near, far) = (plane.row(near), plane.row(far));
    if !halved_x {
        fine.clear();
        let values = near[x.clone()].iter().zip(&far[x.clone()]);
        fine.extend(values.map(|(&near, &far)| blend(near.into(), far.into())));
        return;
    }
    let (first, last) = (x.start / 2, (x.end - 1) / 2);
    let at = |x: usize| blend(near[x].into(), far[x].into());
    coarse.clear();
    coarse.push(at(first.saturating_sub(1)));
    let values = near[first..=last].iter().zip(&far[first..=last]);
    coarse.extend(values.map(|(&near, &far)| blend(near.into(), far.into())));
    coarse.push(at((last + 1).min(near.len() - 1)));

    fine.resize(2 * (last + 1 - first), 0);
    let pairs = fine.as_chunks_mut::<2>().0;
    for (pair, around) in pairs.iter_mut().zip(coarse.windows(3)) {
        *pair = [blend(around[1], around[0]), blend(around[1], around[2])];
    }
}

#[inline(always)]
fn blend(near: i16, far: i16) -> i16 {
    (3 * near + far + 2) >> 2
}

/// Converts a row by ITU-R BT.601, full range, with factors of 14 bits.
#[inline(always)]
fn convert(luma: &[u8], blue: &[i16], red: &[i16], pixels: &mut [u8], words: &mut Vec<u32>) {
    // First a word for each pixel: a loop that the compiler makes vectors of.
    words.resize(luma.len(), 0);
    for (((word, &luma), &blue), &red) in words.iter_mut().zip(luma).zip(blue).zip(red) {
        let (blue, red) = (i32::from(blue - 128), i32::from(red - 128));
        let luma = (i32::from(luma) << 14) + (1 << 13) - 1;
        let r = (luma + red * 22970) >> 14;
        let g = (luma - red * 11700 - blue * 5638) >> 14;
        let b = (luma + blue * 29032) >> 14;
        let [r, g, b] = [r.clamp(0, 255), g.clamp(0, 255), b.clamp(0, 255)];
        *word = (r | g << 8 | b << 16) as u32;
    }
    // Then eight of them at once without the gaps.
    let (eights, rest) = words.as_chunks::<8>();
    let (bytes, bytes_rest) = pixels.as_chunks_mut::<24>();
    for (eight, bytes) in eights.iter().zip(bytes) {
        let [a, b, c, d, e, f, g, h] = eight.map(u64::from);
        let three = [
            a | b << 24 | c << 48,
            c >> 16 | d << 8 | e << 32 | f << 56,
            f >> 8 | g << 16 | h << 40,
        ];
        bytes
            .as_chunks_mut()
            .0
            .copy_from_slice(&three.map(u64::to_le_bytes));
    }
    for (word, pixel) in rest.iter().zip(bytes_rest.as_chunks_mut::<3>().0) {
        pixel.copy_from_slice(&word.to_le_bytes()[..3]);
    }
}
