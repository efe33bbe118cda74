use octave_plan::{Downsample, Exchange, Layer, Upsample};

use super::super::tests::Case;
use super::*;

#[test]
fn what_has_no_kernel_says_why() {
    let fine = Case::small();
    let vanilla = Case {
        c_in: [4, 0],
        c_out: [4, 0],
        ..fine.clone()
    };
    assert!(fine.conv().is_ok() && vanilla.conv().is_ok());
    #[rustfmt::skip]
    let cases = [
        (Case { stride: 3, ..fine.clone() }, "stride 3"),
        (Case { strided: true, stride: 2, ..fine.clone() }, "strided convolutions between several frequencies"),
        (Case { padding: [0, 1], ..fine.clone() }, "padding [(0, 0), (1, 1)], which does not keep the size"),
        (Case { padding: [3, 3], ..vanilla.clone() }, "padding [(3, 3), (3, 3)]"),
        (Case { strided: true, stride: 2, padding: [2, 2], ..vanilla.clone() }, "padding or dilation of a strided convolution"),
        (Case { strided: true, stride: 2, dilation: [2, 1], ..vanilla.clone() }, "padding or dilation of a strided convolution"),
        (Case { size: [2, 9], padding: [0, 0], ..vanilla.clone() }, "empty maps"),
        (Case { images: 0, ..fine.clone() }, "empty maps"),
        (Case { groups: 3, ..fine.clone() }, "shapes that differ"),
    ];
    for (case, reason) in cases {
        assert_eq!(case.conv().unwrap_err().to_string(), reason);
    }
    let refused = |change: fn(&mut Layer<2>)| {
        let mut layer = fine.plan().layer;
        change(&mut layer);
        OctConv::new(Plan::new(layer, Exchange::Both), 1, [8, 9]).unwrap_err()
    };
    assert_eq!(
        refused(|l| l.downsample = Downsample::Max),
        Refusal::Downsample
    );
    assert_eq!(
        refused(|l| l.upsample = Upsample::Bilinear),
        Refusal::Upsample
    );
    assert_eq!(refused(|l| l.input = vec![4; 5]), Refusal::Frequencies);
    assert_eq!(
        refused(|l| l.octave_axes = [true, false]),
        Refusal::Frequencies
    );
    let sided = |l: &mut Layer<2>| l.padding = Padding::Explicit([(0, 2), (1, 1)]);
    assert!(matches!(refused(sided), Refusal::Padding { .. }));
}

/// Sizes whose products overflow are refused, not computed with.
#[test]
fn what_cannot_be_addressed_is_refused() {
    let fine = Case::small();
    const LARGE: usize = 1 << 30;
    #[rustfmt::skip]
    let cases = [
        Case { images: usize::MAX, ..fine.clone() },
        Case { size: [LARGE, LARGE], ..fine.clone() },
        Case { size: [usize::MAX, 1], ..fine.clone() },
        Case { c_in: [LARGE, 0], c_out: [LARGE, 0], ..fine.clone() },
        Case { c_in: [usize::MAX, 0], ..fine.clone() },
        Case { dilation: [LARGE, 1], padding: [LARGE, 1], size: [1, LARGE], ..fine.clone() },
        Case { kernel: [usize::MAX, 3], ..fine.clone() },
        Case { dilation: [usize::MAX, 1], ..fine.clone() },
    ];
    for case in cases {
        assert_eq!(case.conv(), Err(Refusal::TooLarge), "{case:?}");
    }
}
