//! Weights between `[c_out, c_in / groups, kh, kw]` and their packed order, a
//! block of input channels of a panel at a time.

use super::panel::{Kernel, Panel, SourceShape, Step};
use crate::BLOCK;
use crate::isa::{Isa, simd_kernel};
use crate::simd::Simd;

/// Packs all taps of one block of input channels for one panel.
pub(super) fn pack_block(
    isa: Isa,
    k: &Kernel<'_>,
    c_out: usize,
    panel: &Panel,
    block: usize,
    to: &mut [f32],
) {
    let taps = k.size[0] * k.size[1];
    let (ins, outs) = (k.c_in / k.groups, c_out / k.groups);
    let width = panel.width;
    let channels = (c_out - panel.first).min(width);
    let inputs = (k.c_in - block * BLOCK).min(BLOCK);
    let first_in = block * BLOCK;
    if k.groups == 1 && inputs == BLOCK && channels == width {
        let done = if k.transposed {
            pack_whole_transposed(isa, k, c_out, panel, first_in, to)
        } else {
            pack_whole(isa, k, panel, first_in, to);
            true
        };
        if done {
            return;
        }
    }
    if k.groups > 1 || inputs < BLOCK || channels < width {
        to.fill(0.0);
    }
    for o in panel.first..panel.first + channels {
        let group = o / outs;
        // Inputs of this block that belong to the group.
        let begin = first_in.max(group * ins);
        let end = (first_in + inputs).min((group + 1) * ins);
        for i in begin..end {
            let lane = (i - first_in) * width + o - panel.first;
            if k.transposed {
                let from = (i * outs + o - group * outs) * taps;
                let from = &k.weight[from..from + taps];
                for (t, v) in from.iter().enumerate() {
                    to[(taps - 1 - t) * BLOCK * width + lane] = *v;
                }
            } else {
                let from = (o * ins + i - group * ins) * taps;
                let from = &k.weight[from..from + taps];
                for (t, v) in from.iter().enumerate() {
                    to[t * BLOCK * width + lane] = *v;
                }
            }
        }
    }
}

/// A whole block of a kernel with one group. For each output channel, inputs
/// and taps are contiguous: 16·taps floats, transposed 16 at a time.
fn pack_whole(isa: Isa, k: &Kernel<'_>, panel: &Panel, first_in: usize, to: &mut [f32]) {
    let (taps, width) = (k.size[0] * k.size[1], panel.width);
    for lane in (0..width).step_by(BLOCK) {
        for t in 0..taps {
            let rows = std::array::from_fn(|o| {
                let at = ((panel.first + lane + o) * k.c_in + first_in) * taps + t * BLOCK;
                k.weight[at..at + BLOCK].as_ptr()
            });
            let columns = std::array::from_fn(|j| {
                let f = t * BLOCK + j;
                to[(f % taps * BLOCK + f / taps) * width + lane..][..BLOCK].as_mut_ptr()
            });
            // SAFETY: all slices have 16 floats, those of `to` are disjoint.
            unsafe { transpose(isa, &rows, &columns) };
        }
    }
}

/// The same for a transposed kernel: for each input channel, output channels
/// are `taps` floats apart. Returns false where the kernel has too many taps.
fn pack_whole_transposed(
    isa: Isa,
    k: &Kernel<'_>,
    c_out: usize,
    panel: &Panel,
    first_in: usize,
    to: &mut [f32],
) -> bool {
    let (taps, width) = (k.size[0] * k.size[1], panel.width);
    if taps > BLOCK {
        return false;
    }
    let mut waste = [0.0f32; BLOCK];
    for i in 0..BLOCK {
        let from = &k.weight[((first_in + i) * c_out + panel.first) * taps..];
        if taps == 1 {
            to[i * width..(i + 1) * width].copy_from_slice(&from[..width]);
            continue;
        }
        for lane in (0..width).step_by(BLOCK) {
            let from = &from[lane * taps..];
            if from.len() < (BLOCK - 1) * taps + BLOCK {
                // The end of the tensor: no 16 floats to read.
                for (f, v) in from[..BLOCK * taps].iter().enumerate() {
                    to[((taps - 1 - f % taps) * BLOCK + i) * width + lane + f / taps] = *v;
                }
                continue;
            }
            let rows = std::array::from_fn(|o| from[o * taps..][..BLOCK].as_ptr());
            let columns = std::array::from_fn(|t| {
                if t < taps {
                    let at = ((taps - 1 - t) * BLOCK + i) * width + lane;
                    to[at..at + BLOCK].as_mut_ptr()
                } else {
                    waste.as_mut_ptr()
                }
            });
            // SAFETY: all slices have 16 floats; those of `to` are disjoint,
            // and nobody reads `waste`.
            unsafe { transpose(isa, &rows, &columns) };
        }
    }
    true
}

/// Copies a panel, given by its steps and their weights, to its rows of
/// `[c_out, c_in / groups, kh, kw]`.
pub(super) fn unpack_panel(
    isa: Isa,
    c_out: usize,
    shape: &SourceShape,
    panel: &Panel,
    (steps, weights): (&[Step], &[f32]),
    to: &mut [f32],
) {
    let taps = shape.size[0] * shape.size[1];
    let (ins, outs) = (shape.c_in / shape.groups, c_out / shape.groups);
    let (width, matrix) = (panel.width, BLOCK * panel.width);
    let rows = to.len() / (ins * taps);
    for (s, step) in steps.iter().step_by(taps).enumerate() {
        let from = &weights[s * taps * matrix..][..taps * matrix];
        let first_in = step.block * BLOCK;
        let inputs = (shape.c_in - first_in).min(BLOCK);
        if shape.groups == 1 && inputs == BLOCK && rows == width {
            for lane in (0..width).step_by(BLOCK) {
                for t in 0..taps {
                    // As in `pack_whole`, the other way round.
                    let lines = std::array::from_fn(|j| {
                        let f = t * BLOCK + j;
                        from[(f % taps * BLOCK + f / taps) * width + lane..][..BLOCK].as_ptr()
                    });
                    let at = first_in * taps + t * BLOCK;
                    let columns = std::array::from_fn(|o| {
                        to[(lane + o) * ins * taps + at..][..BLOCK].as_mut_ptr()
                    });
                    // SAFETY: all slices have 16 floats; the columns are rows
                    // of different output channels.
                    unsafe { transpose(isa, &lines, &columns) };
                }
            }
            continue;
        }
        for o in 0..rows {
            let group = (panel.first + o) / outs;
            let begin = first_in.max(group * ins);
            let end = (first_in + inputs).min((group + 1) * ins);
            for i in begin..end {
                let lane = (i - first_in) * width + o;
                let at = (o * ins + i - group * ins) * taps;
                for (t, v) in to[at..at + taps].iter_mut().enumerate() {
                    *v = from[t * matrix + lane];
                }
            }
        }
    }
}

simd_kernel! {
    /// Transposes 16×16 floats.
    ///
    /// # Safety
    ///
    /// As [`Simd::transpose16`].
    unsafe fn transpose(from: &[*const f32; 16], to: &[*mut f32; 16]) = transpose_with
}

#[inline(always)]
unsafe fn transpose_with<S: Simd>(from: &[*const f32; 16], to: &[*mut f32; 16]) {
    // SAFETY: contract of `transpose`.
    unsafe { S::transpose16(from, to) }
}
