//! The products against plain loops.

use super::*;
use crate::BlockedMap;
use crate::isa::Isa;
use crate::naive::{self, Conv, close};
use crate::testing::{Rng, cases};
use crate::{from_nchw, to_nchw};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    n: usize,
    c_in: Vec<usize>,
    c_out: usize,
    h: usize,
    w: usize,
    k: usize,
    dilation: usize,
    groups: usize,
    stride: usize,
    coarse: Option<usize>,
    spread: bool,
    residual: bool,
    activation: Activation,
    output: u8,
    pooled: bool,
    seed: u64,
}

fn any_case() -> impl Strategy<Value = Case> {
    let shape = (
        1usize..4,
        prop::collection::vec(1usize..40, 1..3),
        1usize..70,
        1usize..20,
        1usize..34,
    );
    let kernel = (0usize..3, 1usize..3, 0usize..4, 1usize..3);
    let epilogue = (
        prop::option::of(1usize..24),
        any::<bool>(),
        any::<bool>(),
        0usize..3,
        0u8..3,
        any::<bool>(),
    );
    (shape, kernel, epilogue, any::<u64>()).prop_map(|(s, k, e, seed)| {
        let groups = [1, 1, 2, 4][k.2];
        let stride = k.3;
        Case {
            n: s.0,
            c_in: s.1.iter().map(|c| c * groups).collect(),
            c_out: s.2.next_multiple_of(groups),
            h: s.3,
            w: s.4,
            k: 2 * k.0 + 1,
            dilation: k.1,
            groups,
            stride,
            coarse: if groups == 1 { e.0 } else { None },
            spread: e.1,
            residual: e.2,
            activation: [Activation::Identity, Activation::Relu, Activation::Relu6][e.3],
            output: e.4,
            pooled: e.5 || e.4 == 2,
            seed,
        }
    })
}

fn blocked(isa: Isa, x: &[f32], dims: [usize; 4], pad: usize) -> BlockedMap {
    let mut map = BlockedMap::zeros(dims, pad);
    from_nchw(isa, x, &mut map);
    map
}

/// Runs a case on one instruction set; returns output and pooled output.
fn engine(isa: Isa, case: &Case) -> (Vec<f32>, Vec<f32>) {
    let Case {
        n, c_out, h, w, k, ..
    } = *case;
    let mut rng = Rng::new(case.seed);
    let reach = (k / 2) * case.dilation;
    let inputs: Vec<_> = case
        .c_in
        .iter()
        .map(|&c| {
            let dims = [n, c, case.stride * h, case.stride * w];
            (
                blocked(isa, &rng.vec(dims.iter().product()), dims, reach),
                rng.vec(c_out * c / case.groups * k * k),
            )
        })
        .collect();
    let bias = rng.vec(c_out);
    let kernels: Vec<_> = inputs
        .iter()
        .map(|(map, weight)| Kernel {
            weight,
            c_in: map.dims()[1],
            size: [k, k],
            dilation: [case.dilation; 2],
            groups: case.groups,
            transposed: false,
        })
        .collect();
    let weights = PackedWeights::new(isa, c_out, &kernels, Some(&bias));
    let low = case.coarse.map(|c| {
        let dims = [n, c, h.div_ceil(2), w.div_ceil(2)];
        let map = blocked(isa, &rng.vec(dims.iter().product()), dims, 1);
        let kernel = rng.vec(c_out * c * 9);
        (
            map,
            PackedWeights::new(isa, c_out, &[Kernel::new(&kernel, c, 3)], None),
        )
    });
    let residual = case.residual.then(|| {
        let dims = [n, c_out, h, w];
        blocked(isa, &rng.vec(dims.iter().product()), dims, 1)
    });
    let dims = [n, c_out, h, w];
    let half = [n, c_out, h.div_ceil(2), w.div_ceil(2)];
    let mut map = BlockedMap::zeros(dims, 1);
    let mut planar = vec![f32::NAN; dims.iter().product()];
    let mut pooled_map = BlockedMap::zeros(half, 1);
    let mut product = Product::new(
        &weights,
        inputs
            .iter()
            .map(|(map, _)| Source::new(map, reach).strided(case.stride))
            .collect(),
        [n, h, w],
        match case.output {
            0 => Output::Map(&mut map, 0),
            1 => Output::Planar(&mut planar),
            _ => Output::Nowhere,
        },
    );
    let coarse = low.iter().map(|(map, weights)| Coarse {
        weights,
        sources: vec![Source::new(map, 1)],
        spread: case.spread,
    });
    product.coarse = coarse.collect();
    product.residual = residual.as_ref();
    product.activation = case.activation;
    if case.pooled {
        product.pooled = Some(&mut pooled_map);
    }
    run(isa, vec![product]);
    if case.output == 0 {
        to_nchw(isa, &map, &mut planar);
        assert_border_is_zero(&map);
    }
    let mut pooled = vec![0.0; half.iter().product()];
    to_nchw(isa, &pooled_map, &mut pooled);
    (planar, pooled)
}

fn assert_border_is_zero(map: &BlockedMap) {
    let [_, _, h, w] = map.dims();
    let (row, plane) = (map.row_stride(), map.block_stride());
    for (i, &v) in map.as_slice().iter().enumerate() {
        let (y, x) = (i % plane / row, i % row / 16);
        let inside =
            (map.pad()..map.pad() + h).contains(&y) && (map.pad()..map.pad() + w).contains(&x);
        assert!(inside || v == 0.0, "border at row {y}, column {x} is {v}");
    }
}

/// The same in f64: values and sums of absolute products.
fn reference(case: &Case) -> (Vec<f64>, Vec<f64>) {
    let Case {
        n, c_out, h, w, k, ..
    } = *case;
    let mut rng = Rng::new(case.seed);
    let size = n * c_out * h * w;
    let (mut y, mut scale) = (vec![0.0; size], vec![0.0; size]);
    for &c in &case.c_in {
        let conv = Conv {
            dims: [n, c, case.stride * h, case.stride * w],
            c_out,
            kernel: [k, k],
            stride: case.stride,
            padding: [k / 2 * case.dilation; 2],
            dilation: [case.dilation; 2],
            groups: case.groups,
        };
        let x = rng.vec(conv.dims.iter().product());
        let weight = rng.vec(c_out * c / case.groups * k * k);
        naive::conv(&conv, &x, &weight, &mut y, &mut scale);
    }
    let bias = rng.vec(c_out);
    if let Some(c) = case.coarse {
        let (lh, lw) = (h.div_ceil(2), w.div_ceil(2));
        let conv = Conv {
            dims: [n, c, lh, lw],
            c_out,
            kernel: [3, 3],
            stride: 1,
            padding: [1, 1],
            dilation: [1, 1],
            groups: 1,
        };
        let x = rng.vec(n * c * lh * lw);
        let weight = rng.vec(c_out * c * 9);
        let (mut low, mut low_scale) = (
            vec![0.0; n * c_out * lh * lw],
            vec![0.0; n * c_out * lh * lw],
        );
        naive::conv(&conv, &x, &weight, &mut low, &mut low_scale);
        for (i, (y, s)) in y.iter_mut().zip(&mut scale).enumerate() {
            let (plane, row, col) = (i / (h * w), i % (h * w) / w, i % w);
            let at = plane * lh * lw + row / 2 * lw + col / 2;
            let count = if case.spread {
                (h - row / 2 * 2).min(2) * (w - col / 2 * 2).min(2)
            } else {
                1
            };
            *y += low[at] / count as f64;
            *s += low_scale[at];
        }
    }
    if case.residual {
        for (y, r) in y.iter_mut().zip(rng.vec(size)) {
            *y += f64::from(r);
        }
    }
    for (i, y) in y.iter_mut().enumerate() {
        *y += f64::from(bias[i / (h * w) % c_out]);
        *y = match case.activation {
            Activation::Identity => *y,
            Activation::Relu => y.max(0.0),
            Activation::Relu6 => y.clamp(0.0, 6.0),
        };
    }
    (y, scale)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn products_match_plain_loops(case in any_case()) {
        let (want, scale) = reference(&case);
        let dims = [case.n, case.c_out, case.h, case.w];
        let want_pooled = naive::average_pool2(&want, dims);
        let scale_pooled = naive::average_pool2(&scale, dims);
        for isa in Isa::available() {
            let (got, pooled) = engine(isa, &case);
            if case.output != 2 {
                close(&got, &want, &scale).map_err(|e| TestCaseError::fail(format!("{isa:?}: {e}")))?;
            }
            if case.pooled {
                close(&pooled, &want_pooled, &scale_pooled)
                    .map_err(|e| TestCaseError::fail(format!("{isa:?}, pooled: {e}")))?;
            }
        }
    }
}

/// A vanilla layer and all that can be added to it.
fn whole_case(c_in: &[usize], c_out: usize, [n, h, w, k]: [usize; 4]) -> Case {
    Case {
        n,
        c_in: c_in.to_vec(),
        c_out,
        h,
        w,
        k,
        dilation: 1,
        groups: 1,
        stride: 1,
        coarse: Some(18),
        spread: false,
        residual: true,
        activation: Activation::Relu,
        output: 0,
        pooled: true,
        seed: 5,
    }
}

/// Sizes on which small tiles run across the ends of rows and images, weights that are read in parts, and
/// inputs that make the rows of a job fewer.
fn large_cases() -> Vec<Case> {
    let mut cases: Vec<_> = [
        [1, 1],
        [1, 5],
        [2, 3],
        [1, 7],
        [11, 1],
        [3, 4],
        [13, 1],
        [7, 7],
    ]
    .map(|[h, w]| whole_case(&[240], 17, [1, h, w, 3]))
    .into();
    // Parts begin and end within sources and at their ends.
    cases.push(whole_case(&[150, 16, 120], 16, [3, 3, 5, 3]));
    cases.push(whole_case(&[2048, 2048], 20, [2, 3, 2, 1]));
    cases.push(whole_case(&[240], 16, [1, 2, 17, 3]));
    cases.push(whole_case(&[400, 200], 40, [2, 14, 15, 1]));
    cases.push(Case {
        stride: 2,
        ..whole_case(&[130], 40, [2, 14, 13, 3])
    });
    cases.push(Case {
        coarse: None,
        stride: 2,
        ..whole_case(&[260], 33, [2, 5, 9, 3])
    });
    cases
}

#[test]
fn large_layers_match_plain_loops() {
    for case in large_cases() {
        let (want, scale) = reference(&case);
        for isa in Isa::available() {
            let (got, _) = engine(isa, &case);
            close(&got, &want, &scale).unwrap_or_else(|e| panic!("{isa:?}, {case:?}: {e}"));
        }
    }
}

#[test]
#[cfg_attr(target_family = "wasm", ignore = "there are no threads")]
fn thread_counts_agree_bit_by_bit() {
    let pools = [1, 2, 2, 3, 8].map(|threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    });
    let mut cases = large_cases();
    cases.push(whole_case(&[37, 20], 70, [3, 21, 23, 3]));
    for case in cases {
        for isa in Isa::available() {
            let [one, others @ ..] = pools.each_ref().map(|p| p.install(|| engine(isa, &case)));
            assert!(
                others.iter().all(|other| *other == one),
                "{isa:?}, {case:?}"
            );
        }
    }
}

#[test]
fn not_a_number_survives_the_activation() {
    for isa in Isa::available() {
        let map = blocked(isa, &[f32::NAN, 1.0], [1, 1, 1, 2], 0);
        let weights = PackedWeights::new(isa, 1, &[Kernel::new(&[1.0], 1, 1)], None);
        let mut y = [0.0; 2];
        let mut p = Product::new(
            &weights,
            vec![Source::new(&map, 0)],
            [1, 1, 2],
            Output::Planar(&mut y),
        );
        p.activation = Activation::Relu6;
        run(isa, vec![p]);
        assert!(y[0].is_nan() && y[1] == 1.0, "{isa:?}: {y:?}");
    }
}
