//! What changes pixels, as Pillow does it to the last bit.
//!
//! Every function works on an image in 8-bit RGB, `[height, width, 3]`.

/// Red, green and blue of a pixel.
type Rgb = [u8; 3];

fn each(pixels: &mut [u8], mut change: impl FnMut(Rgb) -> Rgb) {
    for pixel in pixels.as_chunks_mut::<3>().0 {
        *pixel = change(*pixel);
    }
}

/// Looks every value up in a table of its channel.
fn look_up(pixels: &mut [u8], tables: &[[u8; 256]; 3]) {
    each(pixels, |pixel| {
        std::array::from_fn(|c| tables[c][usize::from(pixel[c])])
    });
}

fn look_up_same(pixels: &mut [u8], change: impl Fn(u8) -> u8) {
    let table = std::array::from_fn(|value| change(value as u8));
    look_up(pixels, &[table; 3]);
}

/// From `from` to `to` by `factor`, and beyond for factors above 1. The cast cuts off what is
/// after the point, and what is out of range.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let [from, to] = [from, to].map(f32::from);
    (from + factor * (to - from)) as u8
}

/// ITU-R 601-2 luma.
fn luma([r, g, b]: Rgb) -> u8 {
    let [r, g, b] = [r, g, b].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// Multiplies by `factor`.
pub fn brightness(pixels: &mut [u8], factor: f32) {
    look_up_same(pixels, |value| blend(0, value, factor));
}

/// Moves away from the mean grey by `factor`.
pub fn contrast(pixels: &mut [u8], factor: f32) {
    let pixel_list = pixels.as_chunks::<3>().0;
    let sum: u64 = pixel_list.iter().map(|&pixel| u64::from(luma(pixel))).sum();
    let mean = (sum as f64 / pixel_list.len() as f64 + 0.5) as u8;
    look_up_same(pixels, |value| blend(mean, value, factor));
}

/// Moves away from each pixel's grey by `factor`.
pub fn saturation(pixels: &mut [u8], factor: f32) {
    each(pixels, |pixel| {
        let grey = luma(pixel);
        pixel.map(|value| blend(grey, value, factor))
    });
}

/// Moves away from the smoothed image by `factor`. The outermost pixels stay as they are.
pub fn sharpness(pixels: &mut [u8], width: usize, factor: f32) {
    let row = 3 * width;
    let before = pixels.to_vec();
    let height = before.len() / row;
    for y in 1..height.saturating_sub(1) {
        for at in y * row + 3..(y + 1) * row - 3 {
            let sum3 =
                |at: usize| -> u32 { [at - 3, at, at + 3].map(|i| before[i].into()).iter().sum() };
            // The centre counts five times.
            let sum = sum3(at - row) + sum3(at) + sum3(at + row) + 4 * u32::from(before[at]);
            pixels[at] = blend(((2 * sum + 13) / 26) as u8, before[at], factor);
        }
    }
}

/// Keeps the highest `bits` bits.
pub fn posterize(pixels: &mut [u8], bits: u32) {
    let mask = !(0xFF_u32 >> bits) as u8;
    pixels.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts values from `threshold` up.
pub fn solarize(pixels: &mut [u8], threshold: f32) {
    let inverted = |value| f32::from(value) >= threshold;
    look_up_same(
        pixels,
        |value| if inverted(value) { 255 - value } else { value },
    );
}

fn histograms(pixels: &[u8]) -> [[usize; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in pixels.as_chunks::<3>().0 {
        for (counts, &value) in counts.iter_mut().zip(pixel) {
            counts[usize::from(value)] += 1;
        }
    }
    counts
}

/// Stretches each channel to the full range.
pub fn autocontrast(pixels: &mut [u8]) {
    let table = |counts: [usize; 256]| {
        let low = counts.iter().position(|&n| n > 0).unwrap_or(0);
        let high = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
        if high <= low {
            return identity();
        }
        let scale = 255.0 / (high - low) as f64;
        std::array::from_fn(|value| (value as f64 * scale - low as f64 * scale) as u8)
    };
    let tables = histograms(pixels).map(table);
    look_up(pixels, &tables);
}

/// Makes each channel's histogram as flat as it can be.
pub fn equalize(pixels: &mut [u8]) {
    let table = |counts: [usize; 256]| {
        let last = counts.iter().rfind(|&&n| n > 0).copied().unwrap_or(0);
        let total: usize = counts.iter().sum();
        let step = (total - last) / 255;
        if step == 0 {
            return identity();
        }
        let mut below = step / 2;
        counts.map(|count| {
            let value = (below / step).min(255) as u8;
            below += count;
            value
        })
    };
    let tables = histograms(pixels).map(table);
    look_up(pixels, &tables);
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

/// Turns the colour circle by `turn`, -0.5 to 0.5.
pub fn hue(pixels: &mut [u8], turn: f32) {
    let shift = (turn * 255.0) as i32 as u8;
    each(pixels, |pixel| {
        let [h, s, v] = to_hsv(pixel);
        from_hsv([h.wrapping_add(shift), s, v])
    });
}

fn to_hsv(pixel: Rgb) -> [u8; 3] {
    let [r, g, b] = pixel.map(f32::from);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most as u8];
    }
    let range = most - least;
    let [rc, gc, bc] = [r, g, b].map(|c| (most - c) / range);
    let h = if r == most {
        bc - gc
    } else if g == most {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let h = ((f64::from(h) / 6.0 + 1.0) % 1.0) as f32;
    [
        (f64::from(h) * 255.0) as u8,
        (f64::from(range / most) * 255.0) as u8,
        most as u8,
    ]
}

fn from_hsv([h, s, v]: [u8; 3]) -> Rgb {
    if s == 0 {
        return [v; 3];
    }
    let h = (f64::from(h) * 6.0 / 255.0) as f32;
    let s = (f64::from(s) / 255.0) as f32;
    let sector = h.floor();
    let f = f64::from(h - sector);
    let (s, max) = (f64::from(s), f64::from(v));
    let [p, q, t] = [s, s * f, s * (1.0 - f)].map(|less| (max * (1.0 - less)).round() as u8);
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Adds a number to each channel.
pub fn add(pixels: &mut [u8], shift: [f32; 3]) {
    let table = |shift: f32| std::array::from_fn(|value| (value as f32 + shift).round() as u8);
    look_up(pixels, &shift.map(table));
}

/// Maps the image: the pixel at (x, y) comes from (a x + b y + c, d x + e y + f), seen from the
/// top left corner; where there is none it is black. The nearest pixel is taken.
///
/// Coordinates are counted in 65536ths of a pixel, as Pillow does.
pub fn affine(pixels: &mut [u8], width: usize, [a, b, c, d, e, f]: [f64; 6]) {
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let before = pixels.to_vec();
    let source = before.as_chunks::<3>().0;
    let height = source.len() / width;
    let [step_x, step_y] = [(a, d), (b, e)].map(|(x, y)| [fixed(x), fixed(y)]);
    let mut start = [c + (a + b) * 0.5, f + (d + e) * 0.5].map(fixed);
    for row in pixels.as_chunks_mut::<3>().0.chunks_exact_mut(width) {
        let mut at = start;
        for pixel in row {
            let [x, y] = at.map(|v| v >> 16);
            let inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
            *pixel = if inside {
                source[y as usize * width + x as usize]
            } else {
                [0; 3]
            };
            at = [at[0] + step_x[0], at[1] + step_x[1]];
        }
        start = [start[0] + step_y[0], start[1] + step_y[1]];
    }
}

/// The map that turns a square of `size` pixels about its centre, counter-clockwise.
pub fn rotation(degrees: f64, size: usize) -> [f64; 6] {
    let (sin, cos) = (-degrees.to_radians()).sin_cos();
    let centre = size as f64 / 2.0;
    [
        cos,
        sin,
        centre - cos * centre - sin * centre,
        -sin,
        cos,
        centre + sin * centre - cos * centre,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 40;

    type Change = Box<dyn Fn(&mut [u8])>;

    /// What `tests/fixtures/make_augment.py` does, in its order.
    fn changes() -> Vec<(String, Change)> {
        let mut changes = Vec::new();
        let mut push = |name: String, change: Change| changes.push((name, change));
        let factors = [0.0, 0.3, 1.7];
        for f in factors {
            push(
                format!("brightness {f}"),
                Box::new(move |p| brightness(p, f)),
            );
        }
        for f in factors {
            push(format!("contrast {f}"), Box::new(move |p| contrast(p, f)));
        }
        for f in factors {
            push(format!("colour {f}"), Box::new(move |p| saturation(p, f)));
        }
        for f in factors {
            push(
                format!("sharpness {f}"),
                Box::new(move |p| sharpness(p, SIZE, f)),
            );
        }
        for bits in [2, 5, 8] {
            push(
                format!("posterize {bits}"),
                Box::new(move |p| posterize(p, bits)),
            );
        }
        for t in [0.0, 100.5, 255.0] {
            push(format!("solarize {t}"), Box::new(move |p| solarize(p, t)));
        }
        push("autocontrast".into(), Box::new(autocontrast));
        push("equalize".into(), Box::new(equalize));
        for t in [-0.5, -0.2, 0.1, 0.4] {
            push(format!("hue {t}"), Box::new(move |p| hue(p, t)));
        }
        for d in [-135.0, -31.5, 4.5, 90.0] {
            let turn = rotation(d, SIZE);
            push(
                format!("rotate {d}"),
                Box::new(move |p| affine(p, SIZE, turn)),
            );
        }
        for map in [
            [1.0, 0.33, 0.0, 0.0, 1.0, 0.0],
            [1.0, 0.0, 0.0, -0.297, 1.0, 0.0],
            [1.0, 0.0, 7.0, 0.0, 1.0, 0.0],
            [1.0, 0.0, 0.0, 0.0, 1.0, -12.0],
        ] {
            push(
                format!("affine {map:?}"),
                Box::new(move |p| affine(p, SIZE, map)),
            );
        }
        changes
    }

    #[test]
    fn every_change_is_pillows() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/augment.png");
        let stacked = image::open(path).unwrap().into_rgb8().into_raw();
        let images: Vec<_> = stacked.chunks_exact(3 * SIZE * SIZE).collect();
        let changes = changes();
        assert_eq!(images.len(), 1 + changes.len());
        let mut wrong = Vec::new();
        for ((name, change), expected) in changes.iter().zip(&images[1..]) {
            let mut image = images[0].to_vec();
            change(&mut image);
            let differing = image.iter().zip(*expected).filter(|(a, b)| a != b).count();
            if differing > 0 {
                wrong.push(format!("{name}: {differing} values differ"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
