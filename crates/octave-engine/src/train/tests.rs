//! Octave convolutions against plain loops in f64, forward and backward.

mod case;
mod reference;
mod stems;
mod transposed;

use super::*;
use crate::isa::Isa;
use crate::naive::close;
use crate::testing::cases;
pub(super) use case::Case;
use case::{Data, Results, ends, exists};
use proptest::prelude::*;
use reference::reference;

fn operands<'a, const L: usize>(conv: &OctConv, d: &'a Data<L>) -> Operands<'a> {
    let paths = conv.plan().paths.iter();
    let number = |path: &octave_plan::Path| path.from * L + path.to;
    Operands {
        inputs: by_level(d.x.iter().map(|x| (!x.is_empty()).then_some(x.as_slice()))),
        kernels: paths.map(|path| d.w[number(path)].as_slice()).collect(),
        biases: by_level(d.bias.iter().map(|bias| Some(bias.as_slice()))),
    }
}

/// The values of the levels that there are.
fn by_level<T>(values: impl Iterator<Item = Option<T>>) -> [Option<T>; LEVELS] {
    let mut values = values.fuse();
    std::array::from_fn(|_| values.next().flatten())
}

/// Those of `all` for which there is something to compute.
fn present<const L: usize>(all: &mut [Vec<f32>; L]) -> [Option<&mut [f32]>; LEVELS] {
    by_level(
        all.iter_mut()
            .map(|v| (!v.is_empty()).then_some(v.as_mut_slice())),
    )
}

fn engine<const L: usize>(
    isa: Isa,
    c: &Case<L>,
    d: &Data<L>,
    ws: &mut Workspace,
) -> Results<f32, L> {
    let conv = c.conv().unwrap();
    let operands = operands(&conv, d);
    let nan = |v: &Vec<f32>| vec![f32::NAN; v.len()];
    let mut y = d.dy.each_ref().map(nan);
    conv.forward(isa, &operands, present(&mut y), ws);
    let mut dx = d.x.each_ref().map(nan);
    let mut db = d.bias.each_ref().map(nan);
    let mut dw: Vec<_> = d.w.iter().map(nan).collect();
    let paths = conv.plan().paths.iter();
    let mut slots: Vec<_> = dw.iter_mut().map(Some).collect();
    let gradients = Gradients {
        inputs: present(&mut dx),
        kernels: paths
            .map(|path| {
                let slot = slots[path.from * L + path.to].take();
                slot.map(Vec::as_mut_slice)
            })
            .collect(),
        biases: present(&mut db),
    };
    let dy = by_level(d.dy.iter().map(|dy| (!dy.is_empty()).then_some(&dy[..])));
    conv.backward(isa, &operands, dy, gradients, ws);
    for (dw, ends) in dw.iter_mut().zip(ends::<L>()) {
        if !exists(c, ends) {
            dw.fill(0.0);
        }
    }
    Results { y, dx, dw, db }
}

fn check<const L: usize>(c: &Case<L>, seed: u64) -> Result<(), String> {
    let data = Data::new(c, seed);
    let want = reference(c, &data);
    let scale = reference(c, &data.abs());
    for isa in Isa::available() {
        let mut ws = Workspace::default();
        for round in 0..2 {
            let got = engine(isa, c, &data, &mut ws);
            let expected = want.each().zip(scale.each());
            for ((name, got), ((_, want), (_, scale))) in got.each().zip(expected) {
                close(got, want, scale)
                    .map_err(|e| format!("{isa:?}, round {round}, {name}: {e}"))?;
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
    fn layers_of_many_frequencies_match_plain_loops(
        (images, h, w) in (1usize..3, 1usize..40, 1usize..40),
        c_in in prop::array::uniform4(0usize..20),
        c_out in prop::array::uniform4(0usize..20),
        (half, dilation, groups, stride) in (0usize..2, 1usize..3, 0usize..3, 1usize..3),
        seed in any::<u64>(),
    ) {
        prop_assume!(c_in != [0; 4] && c_out != [0; 4]);
        let groups = [1, 1, 2][groups];
        let k = 2 * half + 1;
        let conv = Case {
            images, size: [h, w], c_in: c_in.map(|c| c * groups), c_out: c_out.map(|c| c * groups),
            kernel: [k, k], stride, strided: false,
            padding: [half * dilation; 2], dilation: [dilation; 2], groups,
        };
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
