/// Gives every plane of an image, as floats, to `change`, and rounds what comes back.
pub(super) fn planes(pixels: &mut [u8], size: usize, change: impl Fn(&mut [f32])) {
    let mut values = vec![0.0; size * size];
    for plane in pixels.chunks_exact_mut(size * size) {
        for (value, pixel) in values.iter_mut().zip(plane.iter()) {
            *value = f32::from(*pixel);
        }
        change(&mut values);
        for (pixel, value) in plane.iter_mut().zip(&values) {
            *pixel = rounded(*value);
        }
    }
}

/// The nearest value of a pixel.
pub(super) fn rounded(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}
