//! Octave convolutions against plain loops in f64, forward and backward.

mod case;
mod reference;
mod stems;

use super::*;
use crate::isa::Isa;
use crate::naive::close;
use crate::testing::cases;
pub(super) use case::Case;
use case::{Data, exists};
use proptest::prelude::*;
use reference::reference;

/// y_h, y_l, dx_h, dx_l, d hh, d hl, d lh, d ll, d bias_h, d bias_l.
type Results<T> = [Vec<T>; 10];

/// The number of a path in the order H→H, H→L, L→H, L→L.
fn number(path: &octave_plan::Path) -> usize {
    2 * path.from + path.to
}

fn operands<'a>(c: &Case, conv: &OctConv, d: &'a Data) -> Operands<'a> {
    let group = |g: usize| (c.c_in[g] > 0).then(|| d.x[g].as_slice());
    let paths = conv.plan().paths.iter();
    Operands {
        inputs: [group(0), group(1)],
        kernels: paths.map(|path| d.w[number(path)].as_slice()).collect(),
        biases: d.bias.each_ref().map(|bias| Some(bias.as_slice())),
    }
}

/// The elements of `all` for which there is something to compute.
fn present(all: &mut [Vec<f32>; 2], channels: [usize; 2]) -> [Option<&mut [f32]>; 2] {
    let mut channels = channels.into_iter();
    all.each_mut()
        .map(|v| (channels.next()? > 0).then_some(v.as_mut_slice()))
}

fn engine(isa: Isa, c: &Case, d: &Data, ws: &mut Workspace) -> Results<f32> {
    let conv = c.conv().unwrap();
    let operands = operands(c, &conv, d);
    let nan = |v: &Vec<f32>| vec![f32::NAN; v.len()];
    let mut y = d.dy.each_ref().map(nan);
    conv.forward(isa, &operands, present(&mut y, c.c_out), ws);
    let mut dx = d.x.each_ref().map(nan);
    let mut db = d.bias.each_ref().map(nan);
    let mut dw = d.w.each_ref().map(nan);
    let paths = conv.plan().paths.iter();
    let mut slots = dw.each_mut().map(Some);
    let gradients = Gradients {
        inputs: present(&mut dx, c.c_in),
        kernels: paths
            .map(|path| slots[number(path)].take().map(Vec::as_mut_slice))
            .collect(),
        biases: present(&mut db, c.c_out),
    };
    let dy = [0, 1].map(|g| (c.c_out[g] > 0).then(|| d.dy[g].as_slice()));
    conv.backward(isa, &operands, dy, gradients, ws);
    for (p, dw) in dw.iter_mut().enumerate() {
        if !exists(c, p) {
            dw.fill(0.0);
        }
    }
    let ([y_h, y_l], [x_h, x_l], [b_h, b_l]) = (y, dx, db);
    let [hh, hl, lh, ll] = dw;
    [y_h, y_l, x_h, x_l, hh, hl, lh, ll, b_h, b_l]
}

const NAMES: [&str; 10] = [
    "y_h", "y_l", "dx_h", "dx_l", "d hh", "d hl", "d lh", "d ll", "d bias_h", "d bias_l",
];

fn check(c: &Case, seed: u64) -> Result<(), String> {
    let data = Data::new(c, seed);
    let want = reference(c, &data);
    let scale = reference(c, &data.abs());
    for isa in Isa::available() {
        let mut ws = Workspace::default();
        for round in 0..2 {
            let got = engine(isa, c, &data, &mut ws);
            for i in 0..10 {
                close(&got[i], &want[i], &scale[i])
                    .map_err(|e| format!("{isa:?}, round {round}, {}: {e}", NAMES[i]))?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn octave_layers_match_plain_loops(
        (images, h, w) in (1usize..4, 1usize..24, 1usize..34),
        (ih, il, oh, ol) in (0usize..36, 0usize..36, 0usize..36, 0usize..36),
        (half, dilation, groups, stride) in (0usize..3, 1usize..3, 0usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        let groups = [1, 1, 3][groups];
        let c_in = [ih.max(usize::from(il == 0)) * groups, il * groups];
        let c_out = [oh.max(usize::from(ol == 0)) * groups, ol * groups];
        let k = 2 * half + 1;
        let conv = Case {
            images, size: [h, w], c_in, c_out, kernel: [k, k], stride, strided: false,
            padding: [half * dilation; 2], dilation: [dilation; 2], groups,
        };
        // One filter per channel: see below.
        prop_assume!(!conv.depthwise());
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }

    #[test]
    fn depthwise_layers_match_plain_loops(
        (images, h, w) in (1usize..4, 1usize..24, 1usize..34),
        (high, low) in (0usize..40, 0usize..40),
        (half, dilation, stride) in ((0usize..4, 0usize..3), 1usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        prop_assume!(high + low > 1);
        let half = [half.0, half.1];
        let conv = Case {
            images, size: [h, w], c_in: [high, low], c_out: [high, low],
            kernel: half.map(|half| 2 * half + 1), stride, strided: false,
            padding: half.map(|half| half * dilation), dilation: [dilation; 2], groups: high + low,
        };
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }

    #[test]
    fn vanilla_depthwise_layers_match_plain_loops(
        (images, h, w) in (1usize..4, 1usize..24, 1usize..34),
        (kh, kw, stride) in (1usize..6, 1usize..6, 1usize..3),
        (ph, pw) in (0usize..5, 0usize..5),
        channels in 2usize..40,
        seed in any::<u64>(),
    ) {
        let most = |kernel: usize| if stride == 2 { (kernel - 1) / 2 } else { kernel - 1 };
        let padding = [ph.min(most(kh)), pw.min(most(kw))];
        let (h, w) = (h.max(kh), w.max(kw));
        let conv = Case {
            images, size: [h, w], c_in: [channels, 0], c_out: [channels, 0], kernel: [kh, kw],
            stride, strided: true, padding, dilation: [1, 1], groups: channels,
        };
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }

    #[test]
    fn vanilla_layers_match_plain_loops(
        (images, h, w) in (1usize..4, 1usize..24, 1usize..34),
        (c_in, c_out) in (1usize..40, 1usize..40),
        (kh, kw, stride) in (1usize..6, 1usize..6, 1usize..3),
        (ph, pw) in (0usize..3, 0usize..3),
        seed in any::<u64>(),
    ) {
        let padding = [ph.min((kh - 1) / 2), pw.min((kw - 1) / 2)];
        let (h, w) = (h.max(kh), w.max(kw));
        let conv = Case {
            images, size: [h, w], c_in: [c_in, 0], c_out: [c_out, 0], kernel: [kh, kw],
            stride, strided: true, padding, dilation: [1, 1], groups: 1,
        };
        check(&conv, seed).map_err(|e| TestCaseError::fail(format!("{conv:?}: {e}")))?;
    }
}

/// Every kind of path and of sum once, also for an interpreter.
#[test]
fn small_layers_match_plain_loops() {
    let fine = Case {
        images: 2,
        size: [5, 3],
        ..Case::small()
    };
    let vanilla = Case {
        c_in: [5, 0],
        c_out: [6, 0],
        ..fine.clone()
    };
    let strided = Case {
        stride: 2,
        strided: true,
        ..vanilla.clone()
    };
    #[rustfmt::skip]
    let layers = [
        Case { c_in: [17, 3], c_out: [2, 18], ..fine.clone() },
        Case { stride: 2, ..fine.clone() },
        Case { groups: 2, dilation: [1, 2], padding: [1, 2], ..fine },
        Case { size: [2, 16], kernel: [1, 1], padding: [0, 0], ..vanilla },
        Case { kernel: [2, 3], padding: [0, 1], ..strided.clone() },
        Case { groups: 3, c_in: [6, 0], ..strided.clone() },
        Case { groups: 22, c_in: [17, 5], c_out: [17, 5], stride: 2, ..Case::small() },
        Case { groups: 5, c_in: [5, 0], c_out: [5, 0], ..strided },
    ];
    for layer in layers {
        check(&layer, 13).unwrap_or_else(|e| panic!("{layer:?}: {e}"));
    }
}

/// More images than are worked on at a time, and not a multiple of that.
#[test]
fn a_batch_larger_than_the_cache_is_cut_and_summed() {
    let conv = Case {
        images: 7,
        size: [91, 120],
        c_in: [20, 36],
        c_out: [24, 20],
        kernel: [1, 1],
        padding: [0, 0],
        ..Case::small()
    };
    let layer = conv.conv().unwrap();
    let first = layer.batches(layer.input_floats()).next();
    assert!((2..7).contains(&first.unwrap().len()));
    check(&conv, 3).unwrap();
}

#[test]
#[cfg_attr(target_family = "wasm", ignore = "there are no threads")]
fn thread_counts_agree_bit_by_bit() {
    let conv = Case {
        images: 3,
        size: [19, 23],
        c_in: [40, 24],
        c_out: [33, 20],
        ..Case::small()
    };
    check_threads(&conv);
    let depthwise = Case {
        c_out: conv.c_in,
        groups: 64,
        ..conv
    };
    check_threads(&depthwise);
}

fn check_threads(conv: &Case) {
    let data = Data::new(conv, 7);
    let [one, two, again] = [1, 2, 2].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| engine(Isa::best(), conv, &data, &mut Workspace::default()))
    });
    assert_eq!(one, two);
    assert_eq!(two, again);
}
