/// Blurs a plane of `size` rows and columns by a Gaussian of `sigma` pixels, cut off at four of them. Beyond
/// the border the image is mirrored.
pub(super) fn blur(plane: &mut [f32], size: usize, sigma: f64) {
    let kernel = kernel(sigma);
    let mut line = vec![0.0; size];
    for row in plane.chunks_exact_mut(size) {
        line.copy_from_slice(row);
        for (x, value) in row.iter_mut().enumerate() {
            *value = at(&line, x, &kernel);
        }
    }
    for x in 0..size {
        for (y, value) in line.iter_mut().enumerate() {
            *value = plane[y * size + x];
        }
        for y in 0..size {
            plane[y * size + x] = at(&line, y, &kernel);
        }
    }
}

/// The weights from the middle to one end; with those of the other side they sum to 1.
fn kernel(sigma: f64) -> Vec<f32> {
    let radius = (4.0 * sigma).ceil() as usize;
    let weight = |distance: usize| (-(distance as f64 / sigma).powi(2) / 2.0).exp();
    let sum = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
    (0..=radius)
        .map(|distance| (weight(distance) / sum) as f32)
        .collect()
}

fn at(line: &[f32], place: usize, kernel: &[f32]) -> f32 {
    let place = place as isize;
    let sides = kernel.iter().enumerate().skip(1);
    let sides = sides.map(|(distance, weight)| {
        let distance = distance as isize;
        weight * (mirrored(line, place - distance) + mirrored(line, place + distance))
    });
    kernel[0] * line[place as usize] + sides.sum::<f32>()
}

/// The value at a place of a line that goes on mirrored at both ends, which are there twice.
fn mirrored(line: &[f32], place: isize) -> f32 {
    let length = line.len() as isize;
    let place = place.rem_euclid(2 * length);
    line[place.min(2 * length - 1 - place) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both axes at once, in f64, over an image that is written out beyond its borders.
    fn reference(plane: &[f32], size: usize, sigma: f64) -> Vec<f64> {
        let radius = (4.0 * sigma).ceil() as isize;
        let weight = |d: isize| (-((d * d) as f64) / (2.0 * sigma * sigma)).exp();
        let fold = |mut place: isize| loop {
            match place {
                ..0 => place = -1 - place,
                _ if place >= size as isize => place = 2 * size as isize - 1 - place,
                _ => return place as usize,
            }
        };
        let mut blurred = Vec::new();
        for y in 0..size as isize {
            for x in 0..size as isize {
                let (mut sum, mut weights) = (0.0, 0.0);
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let both = weight(dx) * weight(dy);
                        sum += both * f64::from(plane[fold(y + dy) * size + fold(x + dx)]);
                        weights += both;
                    }
                }
                blurred.push(sum / weights);
            }
        }
        blurred
    }

    #[test]
    fn the_blur_is_that_of_both_axes_at_once() {
        let size = 7;
        let plane: Vec<f32> = (0..49).map(|place| (place * place % 251) as f32).collect();
        // The last reaches beyond the image more than once.
        for sigma in [0.4, 1.3, 4.0] {
            let mut blurred = plane.clone();
            blur(&mut blurred, size, sigma);
            for (got, expected) in blurred.iter().zip(reference(&plane, size, sigma)) {
                assert!(
                    (f64::from(*got) - expected).abs() < 1e-3,
                    "{sigma}: {got} {expected}"
                );
            }
        }
    }
}
