//! Passes over a plane.

use crate::isa::per_isa;

/// What is added to the normalised values before they are bounded.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a> {
    /// Nothing.
    None,
    /// A tensor of the same shape.
    Tensor(&'a [f32]),
    /// What the output holds already.
    Output,
}

/// Partial sums, so that additions do not wait for each other.
const LANES: usize = 64;

per_isa! {
    /// Σ x.
    pub(super) fn sum(x: &[f32]) -> f64 {
        let mut lanes = [0.0f32; LANES];
        let chunks = x.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] += chunk[l];
            }
        }
        for (l, v) in rest.iter().enumerate() {
            lanes[l] += v;
        }
        lanes.iter().map(|v| f64::from(*v)).sum()
    }
}

per_isa! {
    /// Σ (x − mean)².
    pub(super) fn squares(x: &[f32], mean: f32) -> f64 {
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

/// What becomes of a channel: (x − mean) · scale + shift.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub mean: f32,
    pub scale: f32,
    pub shift: f32,
}

per_isa! {
    /// y = (x − mean) · scale + shift \[+ residual\], within `bounds`.
    pub(super) fn apply(
        x: &[f32], affine: Affine, residual: Residual<'_>, bounds: [f32; 2], y: &mut [f32],
    ) {
        let Affine { mean, scale, shift } = affine;
        // Comparisons written so that a NaN stays.
        let bound = |v: f32| {
            let v = if v < bounds[0] { bounds[0] } else { v };
            if v > bounds[1] { bounds[1] } else { v }
        };
        match residual {
            Residual::None => {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = bound((x - mean) * scale + shift);
                }
            }
            Residual::Tensor(r) => {
                for ((y, x), r) in y.iter_mut().zip(x).zip(r) {
                    *y = bound((x - mean) * scale + shift + r);
                }
            }
            Residual::Output => {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = bound((x - mean) * scale + shift + *y);
                }
            }
        }
    }
}

per_isa! {
    /// Zeroes `dy` where `y` is at a bound.
    pub(super) fn mask(dy: &mut [f32], y: &[f32], bounds: [f32; 2]) {
        for (dy, y) in dy.iter_mut().zip(y) {
            *dy = if *y <= bounds[0] || *y >= bounds[1] { 0.0 } else { *dy };
        }
    }
}

per_isa! {
    /// Σ dz and Σ dz · (x − mean).
    pub(super) fn grad_sums(dz: &[f32], x: &[f32], mean: f32) -> [f64; 2] {
        const HALF: usize = LANES / 2;
        let (mut first, mut second) = ([0.0f32; HALF], [0.0f32; HALF]);
        let whole = x.len() / HALF * HALF;
        let chunks = dz[..whole].chunks_exact(HALF).zip(x[..whole].chunks_exact(HALF));
        for (dz, x) in chunks {
            for l in 0..HALF {
                first[l] += dz[l];
                second[l] += dz[l] * (x[l] - mean);
            }
        }
        for i in whole..x.len() {
            first[i - whole] += dz[i];
            second[i - whole] += dz[i] * (x[i] - mean);
        }
        [first, second].map(|s| s.iter().map(|v| f64::from(*v)).sum())
    }
}

/// dx = a · dz + b · (x − mean) + c with `[a, b, c]`.
pub(super) type Factors = [f32; 3];

per_isa! {
    /// dz becomes dx.
    pub(super) fn grad_over_dz(dz: &mut [f32], x: &[f32], mean: f32, factors: Factors) {
        let [a, b, c] = factors;
        for (dz, x) in dz.iter_mut().zip(x) {
            *dz = a * *dz + b * (x - mean) + c;
        }
    }
}

per_isa! {
    /// x becomes dx.
    pub(super) fn grad_over_x(dz: &[f32], x: &mut [f32], mean: f32, factors: Factors) {
        let [a, b, c] = factors;
        for (x, dz) in x.iter_mut().zip(dz) {
            *x = a * dz + b * (*x - mean) + c;
        }
    }
}
