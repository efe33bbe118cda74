use std::f64::consts::PI;

/// The cosine transform of images of a size, and which of its frequencies are low.
pub(super) struct Filter {
    size: usize,
    /// A row for each frequency: an orthonormal matrix.
    waves: Vec<f32>,
    /// The waves in columns.
    turned: Vec<f32>,
    share: f64,
}

impl Filter {
    /// For planes of `size` rows and columns; low are the frequencies up to `share` of the highest.
    pub fn new(size: usize, share: f64) -> Self {
        let wave = |k: usize, x: usize| {
            let norm = if k == 0 { 1.0 } else { 2.0 } / size as f64;
            norm.sqrt() * ((2 * x + 1) as f64 * k as f64 * PI / (2 * size) as f64).cos()
        };
        let all = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f32> {
            let places = 0..size * size;
            places
                .map(|place| of(place / size, place % size) as f32)
                .collect()
        };
        Self {
            size,
            waves: all(&wave),
            turned: all(&|x, k| wave(k, x)),
            share,
        }
    }

    /// Leaves the low frequencies of a plane.
    pub fn keep_low(&self, plane: &mut [f32]) {
        let mut spectrum = self.product(&self.product(&self.waves, plane), &self.turned);
        for (place, value) in spectrum.iter_mut().enumerate() {
            let [y, x] =
                [place / self.size, place % self.size].map(|k| k as f64 / self.size as f64);
            if y.hypot(x) > self.share {
                *value = 0.0;
            }
        }
        let low = self.product(&self.product(&self.turned, &spectrum), &self.waves);
        plane.copy_from_slice(&low);
    }

    /// Leaves what is not low, around the mean of the plane.
    pub fn keep_high(&self, plane: &mut [f32]) {
        let mut low = plane.to_vec();
        self.keep_low(&mut low);
        let mean = plane.iter().sum::<f32>() / plane.len() as f32;
        for (value, low) in plane.iter_mut().zip(low) {
            *value += mean - low;
        }
    }

    /// Product of two matrices.
    fn product(&self, a: &[f32], b: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.size * self.size];
        let rows = out
            .chunks_exact_mut(self.size)
            .zip(a.chunks_exact(self.size));
        for (out, a) in rows {
            for (factor, b) in a.iter().zip(b.chunks_exact(self.size)) {
                for (out, b) in out.iter_mut().zip(b) {
                    *out += factor * b;
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, wave by wave, in f64.
    fn reference(plane: &[f32], size: usize, share: f64) -> Vec<f64> {
        let wave = |k: usize, x: usize| (PI * k as f64 * (x as f64 + 0.5) / size as f64).cos();
        let mut low = vec![0.0; size * size];
        for ky in 0..size {
            for kx in 0..size {
                if ((ky * ky + kx * kx) as f64).sqrt() / size as f64 > share {
                    continue;
                }
                let of = |place: usize| wave(ky, place / size) * wave(kx, place % size);
                let places = || 0..size * size;
                let amount: f64 = places()
                    .map(|place| of(place) * f64::from(plane[place]))
                    .sum();
                let length: f64 = places().map(|place| of(place).powi(2)).sum();
                for place in places() {
                    low[place] += amount / length * of(place);
                }
            }
        }
        low
    }

    #[test]
    fn the_low_pass_keeps_the_waves_up_to_its_share() {
        let size = 9;
        let plane: Vec<f32> = (0..81).map(|place| (place * place % 241) as f32).collect();
        let mean = plane.iter().sum::<f32>() / 81.0;
        for share in [0.0, 0.3, 0.75, 1.5] {
            let filter = Filter::new(size, share);
            let [mut low, mut high] = [plane.clone(), plane.clone()];
            filter.keep_low(&mut low);
            filter.keep_high(&mut high);
            for (place, expected) in reference(&plane, size, share).into_iter().enumerate() {
                let (low, high) = (f64::from(low[place]), f64::from(high[place]));
                assert!((low - expected).abs() < 2e-3, "{share}: {low} {expected}");
                let rest = f64::from(plane[place] + mean) - expected;
                assert!((high - rest).abs() < 4e-3, "{share}: {high} {rest}");
            }
        }
    }
}
