//! Batch normalisation for training, with the residual sum and the ReLU that
//! follow it, on NCHW tensors.
//!
//! These passes do little arithmetic per float, so what counts is how often
//! memory is read. A job takes one channel of all images, some hundred
//! kilobytes: mean, variance and result need three passes over it, of which
//! only the first comes from memory. The variance is that of the deviations
//! from the mean, not the difference of two large sums.
//!
//! Backward works in place, since a fresh page costs more than the arithmetic
//! done on it: the output's gradient becomes that of the residual or of the
//! input, and where both are wanted, the input becomes its own gradient.

mod passes;
mod pooled;

pub use passes::Residual;
pub use pooled::{ForwardPooled, Pool};

use std::ops::Range;

use crate::buffer::{Shared, floats};
use crate::isa::Isa;
use crate::parallel;
use passes::{Affine, Factors, apply, grad_over_dz, grad_over_x, grad_sums, mask, squares, sum};

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
    /// Bounds of the result: `[0, ∞]` for a ReLU.
    pub bounds: [f32; 2],
}

/// Statistics of a batch, one per channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Variance, biased (divided by the number of values).
    pub variance: Vec<f32>,
}

/// What a normalisation needs of its forward pass to go back.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The output, where it was bounded: tells which values the bounds cut off.
    pub y: Option<&'a [f32]>,
    /// Statistics of the input.
    pub statistics: &'a Statistics,
}

/// Gradients of the parameters.
pub struct ParameterGradients<'a> {
    /// Of the scale.
    pub gamma: &'a mut [f32],
    /// Of the shift.
    pub beta: &'a mut [f32],
}

/// A tensor of `len` floats whose planes belong to one job each.
#[derive(Clone, Copy)]
struct Planes(Shared<*mut f32>);

impl Planes {
    fn new(tensor: &mut [f32]) -> Self {
        Self(Shared(tensor.as_mut_ptr()))
    }

    /// # Safety
    ///
    /// `range` must lie in the tensor, which must outlive `'a`, and nobody else may access it.
    unsafe fn get<'a>(self, range: &Range<usize>) -> &'a mut [f32] {
        // SAFETY: contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.get().add(range.start), range.len()) }
    }
}

impl Norm<'_> {
    fn check(&self, lengths: &[usize]) {
        let [_, c, _] = self.dims;
        let elements = floats("a tensor", &self.dims);
        for len in lengths {
            assert_eq!(*len, elements, "elements of a tensor of {:?}", self.dims);
        }
        assert_eq!(
            [self.gamma.len(), self.beta.len()],
            [c, c],
            "scales and shifts"
        );
    }

    /// Ranges of channel `c` in each image.
    fn planes(&self, c: usize) -> impl Iterator<Item = Range<usize>> + Clone {
        let [n, channels, pixels] = self.dims;
        (0..n).map(move |i| {
            let at = (i * channels + c) * pixels;
            at..at + pixels
        })
    }

    /// `y = bounded((x − mean) / √(variance + ε) · γ + β + residual)`, and the
    /// statistics of the batch.
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn forward(
        &self,
        isa: Isa,
        x: &[f32],
        residual: Residual<'_>,
        y: &mut [f32],
        statistics: &mut Statistics,
    ) {
        self.check(&[y.len()]);
        if let Residual::Tensor(r) = residual {
            self.check(&[r.len()]);
        }
        let y = Planes::new(y);
        self.go(isa, x, statistics, |p, affine| {
            // SAFETY: the planes of a channel are the job's that asks for them.
            let y = unsafe { y.get(p) };
            let residual = match residual {
                Residual::Tensor(r) => Residual::Tensor(&r[p.clone()]),
                other => other,
            };
            apply(isa, &x[p.clone()], affine, residual, self.bounds, y);
        });
    }

    /// Computes the statistics and lets `write` do something with what becomes of each plane.
    fn go(
        &self,
        isa: Isa,
        x: &[f32],
        statistics: &mut Statistics,
        write: impl Fn(&Range<usize>, Affine) + Sync,
    ) {
        self.check(&[x.len()]);
        let [n, channels, pixels] = self.dims;
        let count = (n * pixels) as f64;
        statistics.mean.resize(channels, 0.0);
        statistics.variance.resize(channels, 0.0);
        let means = Shared(statistics.mean.as_mut_ptr());
        let variances = Shared(statistics.variance.as_mut_ptr());
        parallel::for_each(channels, |c| {
            let planes = self.planes(c);
            let over =
                |f: &dyn Fn(&[f32]) -> f64| planes.clone().map(|p| f(&x[p])).sum::<f64>() / count;
            let mean = over(&|x| sum(isa, x)) as f32;
            let variance = over(&|x| squares(isa, x, mean));
            let scale = f64::from(self.gamma[c]) / (variance + f64::from(self.epsilon)).sqrt();
            // SAFETY: entry `c` of the statistics is this job's.
            unsafe {
                *means.get().add(c) = mean;
                *variances.get().add(c) = variance as f32;
            }
            let affine = Affine {
                mean,
                scale: scale as f32,
                shift: self.beta[c],
            };
            planes.for_each(|p| write(&p, affine));
        });
    }

    /// Turns the gradient of the output of [`forward`](Self::forward) into that of the input, and
    /// computes those of the parameters.
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn backward(
        &self,
        isa: Isa,
        x: &[f32],
        forward: Forward<'_>,
        dy: &mut [f32],
        to: ParameterGradients<'_>,
    ) {
        self.check(&[x.len(), dy.len()]);
        let mask = self.mask(isa, forward.y);
        self.go_back_over_dy(isa, x, forward.statistics, dy, mask, to);
    }

    /// As [`backward`](Self::backward) with a residual: the gradient of the output becomes that of
    /// the residual, and the input `x` becomes its own gradient.
    ///
    /// # Panics
    ///
    /// If lengths do not fit.
    pub fn backward_with_residual(
        &self,
        isa: Isa,
        x: &mut [f32],
        forward: Forward<'_>,
        dy: &mut [f32],
        to: ParameterGradients<'_>,
    ) {
        self.check(&[x.len(), dy.len()]);
        let (x, dy) = (Planes::new(x), Planes::new(dy));
        let mask = self.mask(isa, forward.y);
        // SAFETY: the planes of a channel are the job's that asks for them.
        let read = |p: &Range<usize>| unsafe { &*x.get(p) };
        let write = |p: &Range<usize>, mean, factors| {
            // SAFETY: as above; what `read` gave has been given back.
            let (x, dz) = unsafe { (x.get(p), dy.get(p)) };
            grad_over_x(isa, dz, x, mean, factors);
        };
        self.go_back(isa, forward.statistics, (dy, mask), (read, write), to);
    }

    /// What zeroes the gradient where the output `y` is at a bound.
    fn mask<'a>(
        &self,
        isa: Isa,
        y: Option<&'a [f32]>,
    ) -> impl Fn(&Range<usize>, &mut [f32]) + Sync + use<'a> {
        if let Some(y) = y {
            self.check(&[y.len()]);
        }
        let bounds = self.bounds;
        move |p, dy| {
            if let Some(y) = y {
                mask(isa, dy, &y[p.clone()], bounds);
            }
        }
    }

    /// [`go_back`](Self::go_back) with the input's gradient in the place of the output's.
    fn go_back_over_dy(
        &self,
        isa: Isa,
        x: &[f32],
        statistics: &Statistics,
        dy: &mut [f32],
        start: impl Fn(&Range<usize>, &mut [f32]) + Sync,
        to: ParameterGradients<'_>,
    ) {
        let dy = Planes::new(dy);
        let read = |p: &Range<usize>| &x[p.clone()];
        let write = |p: &Range<usize>, mean, factors| {
            // SAFETY: the planes of a channel are the job's that asks for them.
            grad_over_dz(isa, unsafe { dy.get(p) }, &x[p.clone()], mean, factors);
        };
        self.go_back(isa, statistics, (dy, start), (read, write), to);
    }

    /// Lets `start` make the gradient of the normalised values out of what `dy` holds, sums it,
    /// and lets `write` compute that of the input, which `x` gives, plane by plane.
    fn go_back<'a>(
        &self,
        isa: Isa,
        statistics: &Statistics,
        (dy, start): (Planes, impl Fn(&Range<usize>, &mut [f32]) + Sync),
        (x, write): (
            impl Fn(&Range<usize>) -> &'a [f32] + Sync,
            impl Fn(&Range<usize>, f32, Factors) + Sync,
        ),
        to: ParameterGradients<'_>,
    ) {
        let [n, channels, pixels] = self.dims;
        assert_eq!(
            [to.gamma.len(), to.beta.len()],
            [channels; 2],
            "gradients of scale and shift"
        );
        let count = (n * pixels) as f64;
        let (gammas, betas) = (Shared(to.gamma.as_mut_ptr()), Shared(to.beta.as_mut_ptr()));
        parallel::for_each(channels, |c| {
            let planes = self.planes(c);
            let mean = statistics.mean[c];
            let mut sums = [0.0f64; 2];
            for p in planes.clone() {
                // SAFETY: the planes of channel `c` are this job's.
                let dz = unsafe { dy.get(&p) };
                start(&p, dz);
                let part = grad_sums(isa, dz, x(&p), mean);
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
            planes.for_each(|p| write(&p, mean, factors));
        });
    }
}

#[cfg(test)]
mod tests;
