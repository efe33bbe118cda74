//! Shapes whose products overflow are refused by their numbers, before anything is computed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::BlockedMap;
use crate::isa::Isa;

/// One float more than memory can hold; its products overflow.
const HUGE: usize = 1 << (usize::BITS - 3);

const TOO_MANY: &str = "more floats than memory can hold";

/// What `work` panics with.
fn refusal<T>(work: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(work)) else {
        panic!("not refused")
    };
    *payload.downcast().expect("a message with numbers")
}

#[track_caller]
fn assert_refused<T>(reason: &str, work: impl FnOnce() -> T) {
    let message = refusal(work);
    assert!(message.contains(reason), "{message}, not {reason}");
}

/// A kernel's size and dilation whose extent, or whose number of taps, overflows.
const EXTENTS: [([usize; 2], [usize; 2]); 6] = [
    ([HUGE, 1], [1, 1]),
    ([1, HUGE], [1, 1]),
    ([usize::MAX, usize::MAX], [1, 1]),
    ([1 << (usize::BITS / 2); 2], [1, 1]),
    ([3, 3], [HUGE, 1]),
    ([3, 3], [1, usize::MAX]),
];

#[test]
fn huge_depthwise_kernels_are_refused() {
    for (size, dilation) in EXTENTS {
        for channels in [0, 1] {
            assert_refused(TOO_MANY, || {
                DepthwiseWeights::new(&[], channels, size, dilation, None)
            });
        }
    }
    for channels in [HUGE, usize::MAX] {
        assert_refused(TOO_MANY, || {
            DepthwiseWeights::new(&[], channels, [1, 1], [1, 1], None)
        });
    }
}

#[test]
fn huge_kernels_are_refused() {
    let isa = Isa::portable();
    for (size, dilation) in EXTENTS {
        for (c_out, c_in) in [(0, 1), (1, 0), (1, 1)] {
            let kernel = Kernel {
                size,
                dilation,
                ..Kernel::new(&[], c_in, 1)
            };
            assert_refused(TOO_MANY, || PackedWeights::new(isa, c_out, &[kernel], None));
        }
    }
    for (c_out, c_in) in [(HUGE, 1), (HUGE, 0), (1, HUGE)] {
        let kernel = Kernel::new(&[], c_in, 1);
        assert_refused(TOO_MANY, || PackedWeights::new(isa, c_out, &[kernel], None));
    }
}

#[test]
fn huge_stems_are_refused() {
    for (size, _) in EXTENTS.into_iter().filter(|(_, d)| *d == [1, 1]) {
        for (c_out, c_in) in [(0, 1), (1, 0), (1, 1)] {
            assert_refused(TOO_MANY, || StemWeights::new(&[], c_out, c_in, size, None));
        }
    }
    for (c_out, c_in) in [(HUGE, 1), (1, HUGE), (0, HUGE)] {
        assert_refused(TOO_MANY, || {
            StemWeights::new(&[], c_out, c_in, [1, 1], None)
        });
    }
    let weights = StemWeights::new(&[1.0], 1, 1, [1, 1], None);
    let stem = |size, padding| Stem {
        weights: &weights,
        input: &[],
        size,
        stride: 1,
        padding,
        activation: Activation::Identity,
        max_pool: false,
    };
    let mut to = BlockedMap::default();
    for size in [[1, HUGE, 1], [HUGE, 1, 1], [0, HUGE, HUGE]] {
        assert_refused(TOO_MANY, || {
            stem(size, [0, 0]).run(Isa::portable(), &mut to)
        });
    }
    assert_refused(TOO_MANY, || stem([1, 1, 1], [usize::MAX, 0]).out_dims());
}

/// Extents that can be addressed, but not within the map.
#[test]
fn what_reaches_past_the_border_is_refused() {
    let isa = Isa::portable();
    let map = BlockedMap::zeros([1, 1, 4, 4], 1);
    let far = [1, 1 << (usize::BITS * 5 / 8)];
    let weights = DepthwiseWeights::new(&[0.0; 9], 1, [3, 3], far, None);
    let mut output = BlockedMap::zeros([1, 1, 4, 4], 0);
    assert_refused("reaches past a border of 1", || {
        let layer = Depthwise {
            weights: &weights,
            input: &map,
            stride: 1,
            padding: [1, 1],
            activation: Activation::Identity,
            output: &mut output,
            pooled: None,
        };
        depthwise(isa, vec![layer]);
    });
    let kernel = Kernel {
        dilation: far,
        ..Kernel::new(&[0.0; 9], 1, 3)
    };
    let weights = PackedWeights::new(isa, 1, &[kernel], None);
    assert_refused("reaches past a border of 1", || {
        let sources = vec![Source::new(&map, 1)];
        let output = Output::Map(&mut output, 0);
        run(
            isa,
            vec![Product::new(&weights, sources, [1, 4, 4], output)],
        );
    });
}
