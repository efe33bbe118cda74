//! Stem, depthwise layers and pooling against plain loops.

use super::*;
use crate::BlockedMap;
use crate::isa::Isa;
use crate::naive::{self, Conv, close};
use crate::pool::{average_pool2, global_average, max_pool3};
use crate::testing::{Rng, cases};
use crate::{from_nchw, to_nchw};
use proptest::prelude::*;

fn nchw(isa: Isa, map: &BlockedMap) -> Vec<f32> {
    let mut x = vec![0.0; map.dims().iter().product()];
    to_nchw(isa, map, &mut x);
    x
}

fn max_pool<T: Copy + PartialOrd>(x: &[T], dims: [usize; 4]) -> Vec<T> {
    let [n, c, h, w] = dims;
    let (ho, wo) = (h.div_ceil(2), w.div_ceil(2));
    let mut y = Vec::new();
    for plane in 0..n * c {
        for oy in 0..ho {
            for ox in 0..wo {
                let mut best = x[(plane * h + 2 * oy) * w + 2 * ox];
                for iy in (2 * oy).max(1) - 1..(2 * oy + 2).min(h) {
                    for ix in (2 * ox).max(1) - 1..(2 * ox + 2).min(w) {
                        let v = x[(plane * h + iy) * w + ix];
                        if v > best {
                            best = v;
                        }
                    }
                }
                y.push(best);
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn stem_matches_plain_loops(
        (n, c_in, c_out, h, w) in (1usize..3, 1usize..5, 1usize..70, 1usize..40, 1usize..70),
        (kh, kw, stride) in (1usize..8, 1usize..8, 1usize..3),
        pool in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let conv = Conv {
            dims: [n, c_in, h, w], c_out, kernel: [kh, kw], stride,
            padding: [kh / 2, kw / 2], dilation: [1, 1], groups: 1,
        };
        let mut rng = Rng::new(seed);
        let x = rng.vec(n * c_in * h * w);
        let weight = rng.vec(c_out * c_in * kh * kw);
        let bias = rng.vec(c_out);
        let [ho, wo] = conv.out();
        let mut want: Vec<f64> = Vec::new();
        for _ in 0..n {
            for b in &bias {
                want.extend(std::iter::repeat_n(f64::from(*b), ho * wo));
            }
        }
        let mut scale = vec![0.0; want.len()];
        naive::conv(&conv, &x, &weight, &mut want, &mut scale);
        want.iter_mut().for_each(|v| *v = v.max(0.0));
        if pool {
            want = max_pool(&want, [n, c_out, ho, wo]);
            scale = max_pool(&scale, [n, c_out, ho, wo]);
        }
        let weights = StemWeights::new(&weight, c_out, c_in, [kh, kw], Some(&bias));
        for isa in Isa::available() {
            let stem = Stem {
                weights: &weights, input: &x, size: [n, h, w], stride,
                padding: conv.padding, activation: Activation::Relu, max_pool: pool,
            };
            let mut map = BlockedMap::zeros(stem.out_dims(), 1);
            stem.run(isa, &mut map);
            close(&nchw(isa, &map), &want, &scale).map_err(|e| TestCaseError::fail(format!("{isa:?}: {e}")))?;
        }
    }

    #[test]
    fn depthwise_matches_plain_loops(
        (n, c, h, w) in (1usize..3, 1usize..40, 1usize..34, 1usize..20),
        (half, dilation, stride) in (0usize..3, 1usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        let k = 2 * half + 1;
        let pad = half * dilation;
        let conv = Conv {
            dims: [n, c, h, w], c_out: c, kernel: [k, k], stride,
            padding: [pad, pad], dilation: [dilation, dilation], groups: c,
        };
        let mut rng = Rng::new(seed);
        let x = rng.vec(n * c * h * w);
        let weight = rng.vec(c * k * k);
        let [ho, wo] = conv.out();
        let mut want = vec![0.0; n * c * ho * wo];
        let mut scale = want.clone();
        naive::conv(&conv, &x, &weight, &mut want, &mut scale);
        let weights = DepthwiseWeights::new(&weight, c, [k, k], [dilation, dilation], None);
        for isa in Isa::available() {
            let mut input = BlockedMap::zeros(conv.dims, pad);
            from_nchw(isa, &x, &mut input);
            let mut output = BlockedMap::zeros([n, c, ho, wo], 0);
            let half = [n, c, ho.div_ceil(2), wo.div_ceil(2)];
            let mut pooled = BlockedMap::zeros(half, 0);
            depthwise(isa, vec![Depthwise {
                weights: &weights, input: &input, stride, padding: [pad, pad],
                activation: Activation::Identity, output: &mut output, pooled: Some(&mut pooled),
            }]);
            let fail = |e| TestCaseError::fail(format!("{isa:?}: {e}"));
            close(&nchw(isa, &output), &want, &scale).map_err(fail)?;
            let dims = [n, c, ho, wo];
            close(&nchw(isa, &pooled), &naive::average_pool2(&want, dims), &naive::average_pool2(&scale, dims))
                .map_err(fail)?;
        }
    }

    #[test]
    fn pools_match_plain_loops(
        (n, c, h, w) in (1usize..5, 1usize..40, 1usize..20, 1usize..20),
        seed in any::<u64>(),
    ) {
        let mut rng = Rng::new(seed);
        let dims = [n, c, h, w];
        let x = rng.vec(n * c * h * w);
        let ones = |len| vec![1.0; len];
        for isa in Isa::available() {
            let fail = |e| TestCaseError::fail(format!("{isa:?}: {e}"));
            let mut map = BlockedMap::zeros(dims, 1);
            from_nchw(isa, &x, &mut map);
            let mut half = BlockedMap::zeros([n, c, h.div_ceil(2), w.div_ceil(2)], 1);
            average_pool2(isa, &map, &mut half);
            let want = naive::average_pool2(&x, dims);
            close(&nchw(isa, &half), &want, &ones(want.len())).map_err(fail)?;
            max_pool3(isa, &map, &mut half);
            prop_assert_eq!(nchw(isa, &half), max_pool(&x, dims));
            let mut features = BlockedMap::zeros([1, c, 1, n], 0);
            global_average(isa, &map, &mut features);
            let means: Vec<f64> = x
                .chunks_exact(h * w)
                .map(|p| p.iter().map(|v| f64::from(*v)).sum::<f64>() / (h * w) as f64)
                .collect();
            let of_images = nchw(isa, &features);
            let want: Vec<f64> = (0..c * n).map(|i| means[i % n * c + i / n]).collect();
            close(&of_images, &want, &ones(want.len())).map_err(fail)?;
        }
    }
}
