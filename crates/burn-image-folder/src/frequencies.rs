//! A picture split in two frequencies, as octave networks split their maps.

use image::{
    RgbImage,
    imageops::{self, FilterType},
};

/// What remains of a picture at a lower resolution `[height, width]`, enlarged again.
pub fn low_part(input: &RgbImage, [height, width]: [usize; 2]) -> RgbImage {
    let small = imageops::resize(input, width as u32, height as u32, FilterType::Triangle);
    imageops::resize(
        &small,
        input.width(),
        input.height(),
        FilterType::CatmullRom,
    )
}

/// The rest around grey, with as much contrast as its strongest percent allows, and that factor.
pub fn high_part(input: &RgbImage, low: &RgbImage) -> (RgbImage, f32) {
    let pairs = || input.as_raw().iter().zip(low.as_raw());
    let mut sizes: Vec<_> = pairs().map(|(input, low)| input.abs_diff(*low)).collect();
    sizes.sort_unstable();
    let strong = sizes.get(sizes.len() * 99 / 100).copied().unwrap_or(0);
    let contrast = (127.0 / f32::from(strong.max(1))).clamp(1.0, 8.0);
    let mut high = input.clone();
    for (value, low) in high.iter_mut().zip(low.as_raw()) {
        let rest = f32::from(*value) - f32::from(*low);
        *value = (128.0 + contrast * rest).round().clamp(0.0, 255.0) as u8;
    }
    (high, contrast)
}
