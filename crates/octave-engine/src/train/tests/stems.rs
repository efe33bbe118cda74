//! First layers, whose inputs are read as planes.

use super::super::strided::batches;
use super::super::{Gradients, Workspace};
use super::case::{Case, Data};
use super::reference::reference;
use super::{by_level, engine, operands};
use crate::isa::Isa;
use crate::naive::close;

fn stem(images: usize, size: [usize; 2], kernel: usize) -> Case {
    Case {
        images,
        size,
        c_in: [3, 0],
        c_out: [40, 0],
        kernel: [kernel; 2],
        stride: 2,
        strided: true,
        padding: [kernel / 2; 2],
        ..Case::small()
    }
}

#[test]
fn a_batch_larger_than_the_cache_is_cut_and_summed() {
    let conv = stem(5, [300, 290], 3);
    assert_eq!(batches(&conv.conv().unwrap()).next(), Some(0..2));
    check_stem(&conv, 5);
}

#[test]
fn stem_gradients_without_input_gradient() {
    check_stem(&stem(2, [30, 37], 7), 11);
}

#[test]
fn small_stems_match_plain_loops() {
    check_stem(&stem(2, [5, 6], 3), 2);
}

fn check_stem(conv: &Case, seed: u64) {
    let data = Data::new(conv, seed);
    let (want, scale) = (reference(conv, &data), reference(conv, &data.abs()));
    for isa in Isa::available() {
        let forward = engine(isa, conv, &data, &mut Workspace::default());
        close(&forward.y[0], &want.y[0], &scale.y[0]).unwrap_or_else(|e| panic!("{isa:?}: {e}"));
        let mut dw = vec![f32::NAN; data.w[0].len()];
        let geometry = conv.conv().unwrap();
        let to = Gradients {
            kernels: vec![Some(&mut dw)],
            ..Default::default()
        };
        let mut ws = Workspace::default();
        let dy = by_level([Some(data.dy[0].as_slice())].into_iter());
        geometry.backward(isa, &operands(&geometry, &data), dy, to, &mut ws);
        close(&dw, &want.dw[0], &scale.dw[0]).unwrap_or_else(|e| panic!("{isa:?}: {e}"));
    }
}
