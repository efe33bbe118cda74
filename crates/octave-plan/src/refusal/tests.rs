use alloc::string::ToString;

use super::*;
use crate::{Exchange, Layer};

fn padding(channels: [[usize; 2]; 2], change: fn(&mut Layer<2>)) -> Result<[usize; 2], Refusal> {
    let [input, output] = channels;
    let mut layer = Layer::new(input, output, [3, 5]);
    change(&mut layer);
    Plan::new(layer, Exchange::Both).fused_padding()
}

const ALL: [[usize; 2]; 2] = [[4, 4], [4, 4]];
/// Only H→H.
const ALONE: [[usize; 2]; 2] = [[4, 0], [4, 0]];

fn strided(layer: &mut Layer<2>) {
    layer.stride = 2;
    layer.strided = true;
}

#[test]
fn layers_of_the_paper_are_fused() {
    assert_eq!(padding(ALL, |_| ()), Ok([1, 2]));
    assert_eq!(padding(ALL, |l| l.dilation = [3, 2]), Ok([3, 4]));
    assert_eq!(padding(ALL, |l| l.stride = 2), Ok([1, 2]));
    // Strided is only what has a stride.
    assert_eq!(padding(ALL, |l| l.strided = true), Ok([1, 2]));
}

#[test]
fn a_path_alone_may_have_a_padding_and_a_stride_of_its_own() {
    let valid = |l: &mut Layer<2>| l.padding = Padding::Explicit([(0, 0); 2]);
    assert_eq!(padding(ALONE, valid), Ok([0, 0]));
    let misaligned = Err(Refusal::Misaligned {
        padding: [(0, 0); 2],
    });
    assert_eq!(padding(ALL, valid), misaligned);
    assert_eq!(padding([[0, 4], [0, 4]], valid), misaligned);
    let explicit = |l: &mut Layer<2>| {
        strided(l);
        l.padding = Padding::Explicit([(1, 1), (2, 2)]);
    };
    assert_eq!(padding(ALONE, explicit), Ok([1, 2]));
    assert_eq!(padding(ALL, explicit), Err(Refusal::Strided));
    // Where it pads depends on the size, but for a kernel of one tap.
    assert_eq!(padding(ALONE, strided), Err(Refusal::StridedPadding));
    let pixelwise = |l: &mut Layer<2>| {
        strided(l);
        l.kernel_size = [1, 1];
    };
    assert_eq!(padding(ALONE, pixelwise), Ok([0, 0]));
}

#[test]
fn only_paths_that_exist_count() {
    let max = |l: &mut Layer<2>| l.downsample = Downsample::Max;
    let bilinear = |l: &mut Layer<2>| l.upsample = Upsample::Bilinear;
    assert_eq!(padding(ALL, max), Err(Refusal::Downsample));
    assert_eq!(padding(ALL, bilinear), Err(Refusal::Upsample));
    assert_eq!(padding([[4, 4], [4, 0]], max), Ok([1, 2]));
    assert_eq!(padding([[4, 0], [4, 4]], bilinear), Ok([1, 2]));
}

#[test]
fn what_has_no_kernel_says_why() {
    let stride = |l: &mut Layer<2>| l.stride = 3;
    assert_eq!(padding(ALL, stride).unwrap_err().to_string(), "stride 3");
    let sided = |l: &mut Layer<2>| l.padding = Padding::Explicit([(0, 2), (2, 2)]);
    let reason = padding(ALL, sided).unwrap_err().to_string();
    assert_eq!(reason, "padding [(0, 2), (2, 2)]");
    let one_axis = |l: &mut Layer<2>| l.octave_axes = [true, false];
    assert_eq!(padding(ALL, one_axis), Err(Refusal::Frequencies));
}

#[test]
fn a_stride_along_one_axis_has_no_kernel() {
    let one = |l: &mut Layer<2>| (l.stride, l.stride_axes) = (2, [false, true]);
    assert_eq!(padding(ALL, one), Err(Refusal::Stride { stride: 1 }));
    let none = |l: &mut Layer<2>| l.stride_axes = [false, true];
    assert_eq!(padding(ALL, none), Ok([1, 2]));
}
