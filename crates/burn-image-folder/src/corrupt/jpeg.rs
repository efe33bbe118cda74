use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::decode::decode_rgb_bytes;

/// Puts an image of three planes through a JPEG file.
pub(super) fn round_trip(pixels: &mut [u8], size: usize, quality: u8) {
    let area = size * size;
    let interleaved: Vec<_> = (0..3 * area)
        .map(|place| pixels[place % 3 * area + place / 3])
        .collect();
    let mut file = Vec::new();
    let side = size as u32;
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(&interleaved, side, side, ExtendedColorType::Rgb8)
        .expect("an image of at most 4096 pixels a side fits a JPEG file");
    let decoded = decode_rgb_bytes(&file).expect("what was encoded can be decoded");
    for (place, value) in decoded.into_raw().into_iter().enumerate() {
        pixels[place % 3 * area + place / 3] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// The standard's table of brightness (ITU-T T.81, table K.1).
    #[rustfmt::skip]
    const TABLE: [f64; 64] = [
        16., 11., 10., 16., 24., 40., 51., 61., 12., 12., 14., 19., 26., 58., 60., 55.,
        14., 13., 16., 24., 40., 57., 69., 56., 14., 17., 22., 29., 51., 87., 80., 62.,
        18., 22., 37., 56., 68., 109., 103., 77., 24., 35., 55., 64., 81., 104., 113., 92.,
        49., 64., 78., 87., 103., 121., 120., 101., 72., 92., 95., 98., 112., 100., 103., 99.,
    ];

    /// A grey block of 8×8 through the cosine transform and the table at a quality, in f64.
    fn reference(block: &[f64; 64], quality: f64) -> Vec<f64> {
        let scale = match quality < 50.0 {
            true => 5000.0 / quality,
            false => 200.0 - 2.0 * quality,
        };
        let wave = |k: usize, x: usize| {
            let norm = if k == 0 { (0.5_f64).sqrt() } else { 1.0 };
            norm / 2.0 * ((2 * x + 1) as f64 * k as f64 * PI / 16.0).cos()
        };
        let mut kept = [0.0; 64];
        for (place, kept) in kept.iter_mut().enumerate() {
            let sum: f64 = (0..64)
                .map(|at| (block[at] - 128.0) * wave(place / 8, at / 8) * wave(place % 8, at % 8))
                .sum();
            let step = ((TABLE[place] * scale + 50.0) / 100.0)
                .floor()
                .clamp(1.0, 255.0);
            *kept = (sum / step).round() * step;
        }
        (0..64)
            .map(|at| {
                let value: f64 = (0..64)
                    .map(|place| kept[place] * wave(place / 8, at / 8) * wave(place % 8, at % 8))
                    .sum();
                (value + 128.0).clamp(0.0, 255.0)
            })
            .collect()
    }

    #[test]
    fn a_grey_block_comes_back_as_the_standard_says() {
        let block: [f64; 64] =
            std::array::from_fn(|at| 90.0 + (at / 8) as f64 * 9.0 + ((at % 8) * (at % 8)) as f64);
        for quality in [5, 30, 90] {
            let mut pixels: Vec<u8> = [block; 3]
                .concat()
                .iter()
                .map(|&value| value as u8)
                .collect();
            round_trip(&mut pixels, 8, quality);
            let expected = reference(&block, quality.into());
            for plane in pixels.chunks(64) {
                for (got, expected) in plane.iter().zip(&expected) {
                    // Whole numbers on the way to YCbCr and back.
                    assert!(
                        (f64::from(*got) - expected).abs() < 3.0,
                        "{quality}: {got} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn channels_and_places_stay_apart() {
        let size = 19;
        let value = |place: usize| [20, 120, 220][place / (size * size)] + (place % size) as u8;
        let mut pixels: Vec<u8> = (0..3 * size * size).map(value).collect();
        let before = pixels.clone();
        round_trip(&mut pixels, size, 100);
        let far = before
            .iter()
            .zip(&pixels)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(far < Some(12), "{far:?}");
    }
}
