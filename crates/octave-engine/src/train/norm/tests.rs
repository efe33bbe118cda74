use super::*;
use crate::testing::{Rng, cases};
use proptest::prelude::*;

/// The same in f64, with plain loops.
pub(super) struct Naive {
    pub(super) y: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

pub(super) fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|v| f64::from(*v)).collect()
}

impl Norm<'_> {
    fn channel(&self, element: usize) -> usize {
        element / self.dims[2] % self.dims[1]
    }

    fn count(&self) -> f64 {
        (self.dims[0] * self.dims[2]) as f64
    }

    fn deviation(&self, naive: &Naive, channel: usize) -> f64 {
        (naive.variance[channel] + f64::from(self.epsilon)).sqrt()
    }

    fn normalised(&self, naive: &Naive, x: &[f64], i: usize) -> f64 {
        let k = self.channel(i);
        (x[i] - naive.mean[k]) / self.deviation(naive, k)
    }

    pub(super) fn naive_forward(&self, x: &[f64], residual: &[f64]) -> Naive {
        let channels = self.dims[1];
        let mut naive = Naive {
            y: vec![],
            mean: vec![0.0; channels],
            variance: vec![0.0; channels],
        };
        for (i, v) in x.iter().enumerate() {
            naive.mean[self.channel(i)] += v / self.count();
        }
        for (i, v) in x.iter().enumerate() {
            let k = self.channel(i);
            naive.variance[k] += (v - naive.mean[k]).powi(2) / self.count();
        }
        let y = (0..x.len()).map(|i| {
            let k = self.channel(i);
            let v = self.normalised(&naive, x, i) * f64::from(self.gamma[k]);
            let v = v + f64::from(self.beta[k]) + residual[i];
            v.clamp(f64::from(self.bounds[0]), f64::from(self.bounds[1]))
        });
        naive.y = y.collect();
        naive
    }

    /// dx, dγ, dβ.
    pub(super) fn naive_backward(&self, naive: &Naive, x: &[f64], dz: &[f64]) -> [Vec<f64>; 3] {
        let mut sums = [(); 2].map(|()| vec![0.0; self.dims[1]]);
        for (i, dz) in dz.iter().enumerate() {
            sums[0][self.channel(i)] += dz * self.normalised(naive, x, i);
            sums[1][self.channel(i)] += dz;
        }
        let dx = (0..x.len()).map(|i| {
            let k = self.channel(i);
            let along = self.normalised(naive, x, i) * sums[0][k];
            let scale = f64::from(self.gamma[k]) / self.deviation(naive, k);
            scale * (dz[i] - (sums[1][k] + along) / self.count())
        });
        let dx = dx.collect();
        let [dg, db] = sums;
        [dx, dg, db]
    }
}

/// What forward and backward gave: y, dx, dz, dγ, dβ, mean, variance.
fn run(
    norm: &Norm<'_>,
    isa: Isa,
    x: &[f32],
    residual: Option<&[f32]>,
    in_place: bool,
    dy: &[f32],
) -> [Vec<f32>; 7] {
    let channels = norm.dims[1];
    let mut statistics = Statistics::default();
    let mut y = vec![f32::NAN; x.len()];
    let residual = match residual {
        Some(r) if in_place => {
            y.copy_from_slice(r);
            Residual::Output
        }
        Some(r) => Residual::Tensor(r),
        None => Residual::None,
    };
    norm.forward(isa, x, residual, &mut y, &mut statistics);
    let (mut gamma, mut beta) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
    let to = ParameterGradients {
        gamma: &mut gamma,
        beta: &mut beta,
    };
    let unbounded = norm.bounds == [f32::NEG_INFINITY, f32::INFINITY];
    let forward = Forward {
        y: (!unbounded).then_some(&y),
        statistics: &statistics,
    };
    let (mut dx, mut dz) = (x.to_vec(), dy.to_vec());
    if matches!(residual, Residual::None) {
        norm.backward(isa, x, forward, &mut dz, to);
        dx.copy_from_slice(&dz);
    } else {
        norm.backward_with_residual(isa, &mut dx, forward, &mut dz, to);
    }
    [y, dx, dz, gamma, beta, statistics.mean, statistics.variance]
}

pub(super) fn near(got: &[f32], want: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        prop_assert!(
            error <= tolerance * (1.0 + want.abs()),
            "at {i}: {got}, want {want}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn norm_matches_plain_loops(
        (n, c, pixels) in (1usize..4, 1usize..9, 2usize..200),
        bounds in prop::sample::select(vec![[f32::NEG_INFINITY, f32::INFINITY], [0.0, f32::INFINITY], [0.0, 1.0]]),
        (with_residual, in_place) in (any::<bool>(), any::<bool>()),
        seed in any::<u64>(),
    ) {
        let mut rng = Rng::new(seed);
        let len = n * c * pixels;
        let (gamma, beta) = (rng.vec(c), rng.vec(c));
        let norm = Norm { dims: [n, c, pixels], gamma: &gamma, beta: &beta, epsilon: 1e-3, bounds };
        let x: Vec<f32> = rng.vec(len).iter().map(|v| 3.0 + v).collect();
        let (r, dy) = (rng.vec(len), rng.vec(len));
        let residual = with_residual.then_some(r.as_slice());
        let naive = norm.naive_forward(&wide(&x), &residual.map_or(vec![0.0; len], wide));
        for isa in Isa::available() {
            let [y, dx, dz, dg, db, mean, variance] = run(&norm, isa, &x, residual, in_place, &dy);
            near(&mean, &naive.mean, 1e-6)?;
            near(&variance, &naive.variance, 1e-5)?;
            near(&y, &naive.y, 3e-5)?;
            // The mask of the engine's own output: rounding may move a value over a bound.
            let masked = |i: usize| y[i] <= bounds[0] || y[i] >= bounds[1];
            let want: Vec<f64> = (0..len).map(|i| if masked(i) { 0.0 } else { f64::from(dy[i]) }).collect();
            if with_residual {
                prop_assert_eq!(wide(&dz), want.clone());
            }
            let [want_dx, want_dg, want_db] = norm.naive_backward(&naive, &wide(&x), &want);
            near(&dx, &want_dx, 3e-5)?;
            // Few pixels may differ by little from their mean, which is near 3.
            near(&dg, &want_dg, (1e-6 * norm.count()).max(3e-5))?;
            near(&db, &want_db, 1e-6 * norm.count())?;
        }
    }
}

#[test]
fn a_nan_stays() {
    let norm = Norm {
        dims: [1, 2, 3],
        gamma: &[1.0, 1.0],
        beta: &[0.0, 0.0],
        epsilon: 1e-5,
        bounds: [0.0, 6.0],
    };
    let x = [1.0, f32::NAN, 2.0, 1.0, 2.0, 3.0];
    for isa in Isa::available() {
        let [y, ..] = run(&norm, isa, &x, None, false, &[1.0; 6]);
        assert!(y[..3].iter().all(|v| v.is_nan()), "{isa:?}: {y:?}");
        assert!(y[3..].iter().all(|v| v.is_finite()), "{isa:?}: {y:?}");
    }
}

#[test]
#[cfg_attr(target_family = "wasm", ignore = "there are no threads")]
fn threads_do_not_change_a_bit() {
    let mut rng = Rng::new(7);
    let (n, c, pixels) = (3, 37, 121);
    let (gamma, beta) = (rng.vec(c), rng.vec(c));
    let norm = Norm {
        dims: [n, c, pixels],
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-5,
        bounds: [0.0, f32::INFINITY],
    };
    let (x, r, dy) = (
        rng.vec(n * c * pixels),
        rng.vec(n * c * pixels),
        rng.vec(n * c * pixels),
    );
    let results = [1, 2, 3, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| run(&norm, Isa::best(), &x, Some(&r), false, &dy))
    });
    assert!(results.iter().all(|r| *r == results[0]));
}
