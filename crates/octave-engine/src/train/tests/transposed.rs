//! The transposed layer against the gradients of the convolution, in f64.

use super::case::{Case, Data};
use super::reference::reference;
use super::{by_level, operands, present};
use crate::isa::Isa;
use crate::naive::close;
use crate::testing::{Rng, cases};
use crate::train::{Gradients, Operands, Workspace};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn transposed_layers_are_adjoint_to_plain_loops(
        (images, h, w) in (1usize..3, 1usize..30, 1usize..30),
        c_in in prop::array::uniform3(0usize..20),
        c_out in prop::array::uniform3(0usize..20),
        (half, groups, stride) in (0usize..2, 1usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        prop_assume!(c_in != [0; 3] && c_out != [0; 3]);
        let k = 2 * half + 1;
        let conv = Case {
            images, size: [h, w], c_in: c_in.map(|c| c * groups), c_out: c_out.map(|c| c * groups),
            kernel: [k, k], stride, strided: false, padding: [half; 2], dilation: [1; 2], groups,
        };
        prop_assume!(!conv.depthwise());
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }
}

#[test]
fn small_transposed_layers_are_adjoint_to_plain_loops() {
    for stride in [1, 2] {
        let conv = Case {
            images: 2,
            size: [5, 3],
            c_in: [17, 3],
            c_out: [2, 18],
            stride,
            ..Case::small()
        };
        check(&conv, 5).unwrap();
    }
}

#[test]
fn what_is_not_transposed_says_so() {
    let small = Case::small();
    let strided = Case {
        c_in: [4, 0],
        c_out: [4, 0],
        stride: 2,
        strided: true,
        ..small.clone()
    };
    let depthwise = Case {
        groups: 8,
        ..small.clone()
    };
    let transposes = |case: &Case| case.conv().unwrap().transposes();
    assert!(transposes(&small));
    assert!(!transposes(&strided) && !transposes(&depthwise));
}

fn check<const L: usize>(c: &Case<L>, seed: u64) -> Result<(), String> {
    let mut data = Data::new(c, seed);
    data.bias.iter_mut().for_each(|bias| bias.fill(0.0));
    let (mut want, mut scale) = (reference(c, &data), reference(c, &data.abs()));
    // The biases are those of the convolution's input.
    let mut rng = Rng::new(seed ^ 1);
    let biases = c.c_in.map(|channels| rng.vec(channels));
    let mut sums = biases.each_ref().map(|bias| vec![0.0; bias.len()]);
    let mut sizes = sums.clone();
    for level in 0..L {
        let plane: usize = c.in_sizes()[level].into_iter().product();
        for (i, x) in data.x[level].iter().enumerate() {
            let channel = i / plane % c.c_in[level];
            let bias = f64::from(biases[level][channel]);
            want.dx[level][i] += bias;
            scale.dx[level][i] += bias.abs();
            sums[level][channel] += f64::from(*x);
            sizes[level][channel] += f64::from(x.abs());
        }
    }
    let conv = c.conv().unwrap();
    assert!(conv.transposes());
    let kernels = operands(&conv, &data).kernels;
    let operands = Operands {
        inputs: by_level(data.dy.iter().map(|y| (!y.is_empty()).then_some(&y[..]))),
        kernels,
        biases: by_level(biases.iter().map(|bias| Some(&bias[..]))),
    };
    let nan = |v: &Vec<f32>| vec![f32::NAN; v.len()];
    for isa in Isa::available() {
        let mut ws = Workspace::default();
        let mut x = data.x.each_ref().map(nan);
        conv.transpose(isa, &operands, present(&mut x), &mut ws);
        let mut y = data.dy.each_ref().map(nan);
        let mut dw: Vec<_> = operands
            .kernels
            .iter()
            .map(|w| vec![f32::NAN; w.len()])
            .collect();
        let mut db = biases.each_ref().map(nan);
        let results = by_level(data.x.iter().map(|x| (!x.is_empty()).then_some(&x[..])));
        let to = Gradients {
            inputs: present(&mut y),
            kernels: dw.iter_mut().map(|dw| Some(&mut dw[..])).collect(),
            biases: present(&mut db),
        };
        conv.transpose_backward(isa, &operands, results, to, &mut ws);
        for level in 0..L {
            close(&x[level], &want.dx[level], &scale.dx[level])
                .and_then(|()| close(&y[level], &want.y[level], &scale.y[level]))
                .and_then(|()| close(&db[level], &sums[level], &sizes[level]))
                .map_err(|e| format!("{isa:?}, level {level}: {e}"))?;
        }
        for (dw, path) in dw.iter().zip(&conv.plan().paths) {
            let number = path.from * L + path.to;
            close(dw, &want.dw[number], &scale.dw[number])
                .map_err(|e| format!("{isa:?}, {path:?}: {e}"))?;
        }
    }
    Ok(())
}
