//! Batch normalisation for training, with the residual sum and the ReLU that
//! follow it, on NCHW tensors.
//!
//! These passes do little arithmetic per float, so what counts is how often
//! memory is read. A job takes one channel of all images, some hundred
//! kilobytes: mean, variance and result need three passes over it, of which
//! only the first comes from memory. The variance is that of the deviations
//! from the mean, not the difference of two large sums.

use crate::engine::buffer::Shared;
use crate::engine::isa::{Isa, per_isa};
use crate::engine::parallel;

/// Partial sums, so that additions do not wait for each other.
const LANES: usize = 64;

/// What a normalisation does, forward and backward.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Images, channels, pixels per plane.
    pub dims: [usize; 3],
    /// Scale, one per channel.
    pub gamma: &'a [f32],
    /// Shift, one per channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether max(·, 0) follows.
    pub relu: bool,
}

/// Statistics of a batch, one per channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Variance, biased (divided by the number of values).
    pub variance: Vec<f32>,
}

/// Gradients of a normalisation.
pub struct NormGradients<'a> {
    /// Of the input.
    pub x: &'a mut [f32],
    /// Of the residual, where there was one: `dy`, zero where the ReLU was.
    pub residual: Option<&'a mut [f32]>,
    /// Of the scale.
    pub gamma: &'a mut [f32],
    /// Of the shift.
    pub beta: &'a mut [f32],
}

per_isa! {
    /// Σ (x − shift).
    fn sum(x: &[f32], shift: f32) -> f64 {
        let mut lanes = [0.0f32; LANES];
        let chunks = x.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] += chunk[l] - shift;
            }
        }
        for (l, v) in rest.iter().enumerate() {
            lanes[l] += v - shift;
        }
        lanes.iter().map(|v| f64::from(*v)).sum()
    }
}

per_isa! {
    /// Σ (x − mean)².
    fn squares(x: &[f32], mean: f32) -> f64 {
        let mut lanes = [0.0f32; LANES];
        let chunks = x.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for l in 0..LANES {
                let d = chunk[l] - mean;
                lanes[l] += d * d;
            }
        }
        for (l, v) in rest.iter().enumerate() {
            lanes[l] += (v - mean) * (v - mean);
        }
        lanes.iter().map(|v| f64::from(*v)).sum()
    }
}

per_isa! {
    /// y = (x − mean) · scale + shift \[+ residual\], at least `floor`.
    fn apply(
        x: &[f32], residual: Option<&[f32]>, mean: f32, scale: f32, shift: f32, floor: f32, y: &mut [f32],
    ) {
        // Comparisons written so that a NaN stays.
        match residual {
            Some(r) => {
                for ((y, x), r) in y.iter_mut().zip(x).zip(r) {
                    let v = (x - mean) * scale + shift + r;
                    *y = if v < floor { floor } else { v };
                }
            }
            None => {
                for (y, x) in y.iter_mut().zip(x) {
                    let v = (x - mean) * scale + shift;
                    *y = if v < floor { floor } else { v };
                }
            }
        }
    }
}

per_isa! {
    /// Σ dz and Σ dz · (x − mean), where dz is dy, zero where y ≤ `floor`.
    fn grad_sums(dy: &[f32], y: &[f32], x: &[f32], mean: f32, floor: f32) -> [f64; 2] {
        const HALF: usize = LANES / 2;
        let (mut first, mut second) = ([0.0f32; HALF], [0.0f32; HALF]);
        let whole = x.len() / HALF * HALF;
        let chunks = dy[..whole].chunks_exact(HALF).zip(y[..whole].chunks_exact(HALF));
        for ((dy, y), x) in chunks.zip(x[..whole].chunks_exact(HALF)) {
            for l in 0..HALF {
                let dz = if y[l] <= floor { 0.0 } else { dy[l] };
                first[l] += dz;
                second[l] += dz * (x[l] - mean);
            }
        }
        for i in whole..x.len() {
            let dz = if y[i] <= floor { 0.0 } else { dy[i] };
            first[i - whole] += dz;
            second[i - whole] += dz * (x[i] - mean);
        }
        [first, second].map(|s| s.iter().map(|v| f64::from(*v)).sum())
    }
}

per_isa! {
    /// dx = a · dz + b · (x − mean) + c with `factors` \[a, b, c\], and dz to the residual.
    fn grad_apply(
        dy: &[f32], y: &[f32], x: &[f32], mean: f32, floor: f32, factors: [f32; 3],
        dx: &mut [f32], residual: Option<&mut [f32]>,
    ) {
        let [a, b, c] = factors;
        let n = dx.len();
        let (dy, y, x) = (&dy[..n], &y[..n], &x[..n]);
        match residual {
            Some(r) => {
                let r = &mut r[..n];
                for i in 0..n {
                    let dz = if y[i] <= floor { 0.0 } else { dy[i] };
                    r[i] = dz;
                    dx[i] = a * dz + b * (x[i] - mean) + c;
                }
            }
            None => {
                for i in 0..n {
                    let dz = if y[i] <= floor { 0.0 } else { dy[i] };
                    dx[i] = a * dz + b * (x[i] - mean) + c;
                }
            }
        }
    }
}

impl Norm<'_> {
    fn check(&self, len: usize) {
        let [n, c, pixels] = self.dims;
        assert_eq!(
            len,
            n * c * pixels,
            "elements of a tensor of {:?}",
            self.dims
        );
        assert_eq!(
            [self.gamma.len(), self.beta.len()],
            [c, c],
            "scales and shifts"
        );
    }

    /// Ranges of channel `c` in each image.
    fn planes(&self, c: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Clone {
        let [n, channels, pixels] = self.dims;
        (0..n).map(move |i| {
            let at = (i * channels + c) * pixels;
            at..at + pixels
        })
    }

    fn floor(&self) -> f32 {
        if self.relu { 0.0 } else { f32::NEG_INFINITY }
    }

    /// `y = relu((x − mean) / √(variance + ε) · γ + β + residual)`, and the
    /// statistics of the batch.
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn forward(
        &self,
        isa: Isa,
        x: &[f32],
        residual: Option<&[f32]>,
        y: &mut [f32],
        statistics: &mut Statistics,
    ) {
        self.check(x.len());
        self.check(y.len());
        if let Some(r) = residual {
            self.check(r.len());
        }
        let [n, channels, pixels] = self.dims;
        let count = (n * pixels) as f64;
        statistics.mean.resize(channels, 0.0);
        statistics.variance.resize(channels, 0.0);
        let y = Shared(y.as_mut_ptr());
        let means = Shared(statistics.mean.as_mut_ptr());
        let variances = Shared(statistics.variance.as_mut_ptr());
        parallel::for_each(channels, |c| {
            let planes = self.planes(c);
            let mean = planes.clone().map(|p| sum(isa, &x[p], 0.0)).sum::<f64>() / count;
            let mean = mean as f32;
            let variance = planes
                .clone()
                .map(|p| squares(isa, &x[p], mean))
                .sum::<f64>()
                / count;
            let scale = f64::from(self.gamma[c]) / (variance + f64::from(self.epsilon)).sqrt();
            // SAFETY: entry `c` of the statistics is this job's.
            unsafe {
                *means.get().add(c) = mean;
                *variances.get().add(c) = variance as f32;
            }
            for p in planes {
                // SAFETY: the planes of channel `c` are this job's.
                let y = unsafe { std::slice::from_raw_parts_mut(y.get().add(p.start), pixels) };
                let residual = residual.map(|r| &r[p.clone()]);
                apply(
                    isa,
                    &x[p],
                    residual,
                    mean,
                    scale as f32,
                    self.beta[c],
                    self.floor(),
                    y,
                );
            }
        });
    }

    /// Gradients, given those of the output `y` of [`forward`](Self::forward).
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn backward(
        &self,
        isa: Isa,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        statistics: &Statistics,
        to: NormGradients<'_>,
    ) {
        [x.len(), y.len(), dy.len(), to.x.len()]
            .into_iter()
            .for_each(|len| self.check(len));
        let [n, channels, pixels] = self.dims;
        assert_eq!(
            [to.gamma.len(), to.beta.len()],
            [channels; 2],
            "gradients of scale and shift"
        );
        let count = (n * pixels) as f64;
        let dx = Shared(to.x.as_mut_ptr());
        let residual = to.residual.map(|r| {
            self.check(r.len());
            Shared(r.as_mut_ptr())
        });
        let (gammas, betas) = (Shared(to.gamma.as_mut_ptr()), Shared(to.beta.as_mut_ptr()));
        parallel::for_each(channels, |c| {
            let planes = self.planes(c);
            let (mean, floor) = (statistics.mean[c], self.floor());
            let mut sums = [0.0f64; 2];
            for p in planes.clone() {
                let part = grad_sums(isa, &dy[p.clone()], &y[p.clone()], &x[p], mean, floor);
                sums[0] += part[0];
                sums[1] += part[1];
            }
            let variance = f64::from(statistics.variance[c]) + f64::from(self.epsilon);
            let inverse = 1.0 / variance.sqrt();
            // SAFETY: entry `c` of these gradients is this job's.
            unsafe {
                *betas.get().add(c) = sums[0] as f32;
                *gammas.get().add(c) = (sums[1] * inverse) as f32;
            }
            // γ/σ · (dz − mean(dz) − x̂ · mean(dz · x̂)), x̂ = (x − mean)/σ
            let scale = f64::from(self.gamma[c]) * inverse;
            let factors = [
                scale,
                -scale * sums[1] / (count * variance),
                -scale * sums[0] / count,
            ];
            let factors = factors.map(|f| f as f32);
            for p in planes {
                // SAFETY: the planes of channel `c` are this job's.
                let (dx, r) = unsafe {
                    let slice = |at: *mut f32| std::slice::from_raw_parts_mut(at, pixels);
                    (
                        slice(dx.get().add(p.start)),
                        residual.map(|r| slice(r.get().add(p.start))),
                    )
                };
                grad_apply(
                    isa,
                    &dy[p.clone()],
                    &y[p.clone()],
                    &x[p],
                    mean,
                    floor,
                    factors,
                    dx,
                    r,
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Rng;
    use proptest::prelude::*;

    /// Forward in f64: y, mean, variance.
    fn forward(norm: &Norm<'_>, x: &[f64], r: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let [n, c, pixels] = norm.dims;
        let channel = |i: usize| i / pixels % c;
        let count = (n * pixels) as f64;
        let (mut mean, mut variance) = (vec![0.0; c], vec![0.0; c]);
        x.iter()
            .enumerate()
            .for_each(|(i, v)| mean[channel(i)] += v / count);
        for (i, v) in x.iter().enumerate() {
            variance[channel(i)] += (v - mean[channel(i)]).powi(2) / count;
        }
        let y = x.iter().zip(r).enumerate().map(|(i, (v, r))| {
            let k = channel(i);
            let s = (variance[k] + f64::from(norm.epsilon)).sqrt();
            let v = (v - mean[k]) / s * f64::from(norm.gamma[k]) + f64::from(norm.beta[k]) + r;
            if norm.relu { v.max(0.0) } else { v }
        });
        let y = y.collect();
        (y, mean, variance)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn norm_matches_plain_loops(
            (n, c, pixels) in (1usize..4, 1usize..9, 2usize..200),
            (relu, with_residual) in (any::<bool>(), any::<bool>()),
            seed in any::<u64>(),
        ) {
            let mut rng = Rng::new(seed);
            let len = n * c * pixels;
            let (gamma, beta) = (rng.vec(c), rng.vec(c));
            let norm = Norm { dims: [n, c, pixels], gamma: &gamma, beta: &beta, epsilon: 1e-3, relu };
            let x: Vec<f32> = rng.vec(len).iter().map(|v| 3.0 + v).collect();
            let r = if with_residual { rng.vec(len) } else { vec![0.0; len] };
            let dy = rng.vec(len);
            let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let (want, mean, variance) = forward(&norm, &wide(&x), &wide(&r));
            for isa in Isa::available() {
                let mut y = vec![f32::NAN; len];
                let mut s = Statistics::default();
                norm.forward(isa, &x, with_residual.then_some(r.as_slice()), &mut y, &mut s);
                let near = |got: f32, want: f64, tolerance: f64| (f64::from(got) - want).abs() <= tolerance * (1.0 + want.abs());
                for k in 0..c {
                    prop_assert!(near(s.mean[k], mean[k], 1e-6) && near(s.variance[k], variance[k], 1e-5));
                }
                for i in 0..len {
                    prop_assert!(near(y[i], want[i], 3e-5), "{isa:?}: {} {}", y[i], want[i]);
                }
                let (mut dx, mut dr) = (vec![f32::NAN; len], vec![f32::NAN; len]);
                let (mut dg, mut db) = (vec![f32::NAN; c], vec![f32::NAN; c]);
                let to = NormGradients { x: &mut dx, residual: Some(&mut dr), gamma: &mut dg, beta: &mut db };
                norm.backward(isa, &x, &y, &dy, &s, to);
                // The definition, with the engine's own y for the mask, which
                // rounding may flip at zero.
                let count = (n * pixels) as f64;
                let mut sums = vec![[0.0; 2]; c];
                let hat = |i: usize| {
                    let k = i / pixels % c;
                    (f64::from(x[i]) - mean[k]) / (variance[k] + 1e-3f32 as f64).sqrt()
                };
                let dz = |i: usize| if relu && y[i] <= 0.0 { 0.0 } else { f64::from(dy[i]) };
                for i in 0..len {
                    sums[i / pixels % c][0] += dz(i);
                    sums[i / pixels % c][1] += dz(i) * hat(i);
                }
                for k in 0..c {
                    prop_assert!(near(db[k], sums[k][0], 1e-5 * count) && near(dg[k], sums[k][1], 1e-5 * count));
                }
                for i in 0..len {
                    let k = i / pixels % c;
                    let scale = f64::from(gamma[k]) / (variance[k] + 1e-3f32 as f64).sqrt();
                    let want = scale * (dz(i) - sums[k][0] / count - hat(i) * sums[k][1] / count);
                    prop_assert!(near(dx[i], want, 3e-5), "{isa:?}: {} {want}", dx[i]);
                    prop_assert!(f64::from(dr[i]) == dz(i));
                }
            }
        }
    }
}
