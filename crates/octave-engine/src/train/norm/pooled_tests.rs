use proptest::prelude::*;

use super::super::tests::{near, wide};
use super::*;
use crate::testing::{Rng, cases};

/// The windows of a plane as lists of pixels, by plain loops.
fn windows(pool: &Pool) -> Vec<Vec<usize>> {
    let [h, w] = pool.size.map(|s| s as isize);
    let [oh, ow] = pool.out();
    let outputs = (0..oh).flat_map(|oy| (0..ow).map(move |ox| [oy, ox]));
    let pixels = outputs.map(|at| {
        let from = [0, 1].map(|a| (at[a] * pool.stride[a]) as isize - pool.padding[a] as isize);
        let mut window = vec![];
        for y in from[0]..from[0] + pool.kernel[0] as isize {
            for x in from[1]..from[1] + pool.kernel[1] as isize {
                if (0..h).contains(&y) && (0..w).contains(&x) {
                    window.push((y * w + x) as usize);
                }
            }
        }
        window
    });
    pixels.collect()
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn norm_and_pool_match_plain_loops(
        (n, c) in (1usize..4, 1usize..5),
        size in [3usize..20, 3usize..20],
        (kernel, stride) in ([1usize..4, 1usize..4], [1usize..4, 1usize..4]),
        padding in [0usize..3, 0usize..3],
        bounds in prop::sample::select(vec![[f32::NEG_INFINITY, f32::INFINITY], [0.0, f32::INFINITY], [0.0, 1.0]]),
        seed in any::<u64>(),
    ) {
        let padding = [0, 1].map(|a| padding[a].min(kernel[a] - 1));
        let pool = Pool { size, kernel, stride, padding };
        prop_assert_eq!(pool.unsupported(), None);
        let windows = windows(&pool);
        let (pixels, pooled) = (size[0] * size[1], windows.len());
        let mut rng = Rng::new(seed);
        let (gamma, beta) = (rng.vec(c), rng.vec(c));
        let norm = Norm { dims: [n, c, pixels], gamma: &gamma, beta: &beta, epsilon: 1e-3, bounds };
        let (x, dy) = (rng.vec(n * c * pixels), rng.vec(n * c * pooled));
        let naive = norm.naive_forward(&wide(&x), &vec![0.0; x.len()]);
        for isa in Isa::available() {
            let (mut y, mut taken) = (vec![f32::NAN; dy.len()], vec![0; dy.len()]);
            let mut statistics = Statistics::default();
            norm.forward_pooled(isa, &pool, &x, &mut y, &mut taken, &mut statistics);
            let mut dx = vec![f32::NAN; x.len()];
            let (mut dg, mut db) = (vec![f32::NAN; c], vec![f32::NAN; c]);
            let to = ParameterGradients { gamma: &mut dg, beta: &mut db };
            let forward = ForwardPooled { pool: &pool, taken: &taken, statistics: &statistics };
            norm.backward_pooled(isa, &x, forward, &dy, &mut dx, to);

            let mut want = vec![];
            let mut dz = vec![0.0; x.len()];
            for (i, dy) in dy.iter().enumerate() {
                let plane = &naive.y[i / pooled * pixels..][..pixels];
                let window = &windows[i % pooled];
                let best = window.iter().map(|p| plane[*p]).fold(f64::NEG_INFINITY, f64::max);
                want.push(best);
                // Which pixel it was depends on rounding where two are close: the engine's choice,
                // if it is as good.
                if taken[i] == CUT_OFF {
                    prop_assert!(y[i] <= bounds[0] || y[i] >= bounds[1]);
                    continue;
                }
                let tap = usize::from(taken[i]);
                let (oy, ox) = (i % pooled / pool.out()[1], i % pooled % pool.out()[1]);
                let at = (oy * stride[0] + tap / kernel[1] - padding[0]) * size[1]
                    + ox * stride[1] + tap % kernel[1] - padding[1];
                prop_assert!(window.contains(&at) && (plane[at] - best).abs() < 1e-5);
                dz[i / pooled * pixels + at] += f64::from(*dy);
            }
            near(&y, &want, 3e-5)?;
            let [want_dx, want_dg, want_db] = norm.naive_backward(&naive, &wide(&x), &dz);
            near(&dx, &want_dx, 5e-5)?;
            near(&dg, &want_dg, 1e-6 * (n * pixels) as f64)?;
            near(&db, &want_db, 1e-6 * (n * pixels) as f64)?;
        }
    }
}
