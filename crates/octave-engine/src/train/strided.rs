//! Vanilla layers with a stride, and stems.
//!
//! The input gradient of a strided convolution falls apart into four
//! convolutions of stride 1, one per parity of row and column: each uses the
//! taps that can reach such a pixel, so nothing is multiplied by zeros that
//! were inserted. The stem reads its few channels as planes.

use std::cell::RefCell;
use std::ops::Range;

use super::OctConv;
use super::operands::{Operands, images_of};
use super::weight_grad::{PlanarRow, WeightGrad};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::conv::{
    Activation, Kernel, Output, PackedWeights, Product, Source, Stem, StemWeights, panel_width,
    run_with,
};
use crate::isa::Isa;
use crate::layout::{Rows, from_nchw, to_nchw, to_planes};
use crate::map::BlockedMap;
use crate::parallel;

thread_local! {
    /// A plane of sixteen channels.
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// Memory of these layers.
#[derive(Default)]
pub(super) struct StemSpace {
    weights: StemWeights,
    map: BlockedMap,
    planes: Buffer,
    sums: Buffer,
    kernels: [Vec<f32>; 4],
    phases: [PackedWeights; 4],
    maps: [BlockedMap; 4],
}

/// Whether the kernels for planar inputs serve this layer.
pub(super) fn is_stem(conv: &OctConv) -> bool {
    let plan = conv.plan();
    let [path] = &plan.paths[..] else {
        return false;
    };
    [path.from, path.to, path.pool] == [0; 3]
        && plan.input[0] <= 4
        && plan.groups == 1
        && plan.dilation == [1, 1]
}

/// The ranges of images to work on at a time, by the size of the output.
pub(super) fn batches(conv: &OctConv) -> impl Iterator<Item = Range<usize>> + use<> {
    conv.batches(conv.output(0).into_iter().product())
}

pub(super) fn stem_forward(
    isa: Isa,
    conv: &OctConv,
    operands: &Operands<'_>,
    y: &mut [f32],
    space: &mut StemSpace,
) {
    let (x, [c_in, h, w], [c_out, ..]) = (operands.input(0), conv.input(0), conv.output(0));
    let (kernel, bias) = (operands.kernels[0], operands.biases[0]);
    space
        .weights
        .pack(kernel, c_out, c_in, conv.plan().kernel_size, bias);
    for range in batches(conv) {
        let stem = Stem {
            weights: &space.weights,
            input: &x[images_of(x, conv.images(), &range)],
            size: [range.len(), h, w],
            stride: conv.stride(),
            padding: conv.padding(),
            activation: Activation::Identity,
            max_pool: false,
        };
        space.map.reset(stem.out_dims(), 0);
        stem.run(isa, &mut space.map);
        let at = images_of(y, conv.images(), &range);
        to_nchw(isa, &space.map, &mut y[at]);
    }
}

/// Weight gradient of a stem: the taps of a kernel row take the place of input
/// channels, as they lie side by side.
pub(super) fn stem_backward(
    isa: Isa,
    conv: &OctConv,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    space: &mut StemSpace,
) {
    // Taps of a row in the sums: a multiple of every tile.
    let [kh, kw] = conv.plan().kernel_size;
    let slots = kw.next_multiple_of(8);
    let ([c_in, h, w], [c_out, oh, ow]) = (conv.input(0), conv.output(0));
    let stride = conv.stride();
    let panels = c_out.div_ceil(2 * BLOCK);
    let row_len = slots * 2 * BLOCK;
    space.sums.resize(panels * c_in * kh * row_len);
    space.sums.as_mut_slice().fill(0.0);
    // Planes padded to what the last pixel's last slot reads.
    let (ph, pw) = ((oh - 1) * stride + kh, (ow - 1) * stride + slots);
    for range in batches(conv) {
        let n = range.len();
        space.map.reset([n, c_out, oh, ow], 0);
        from_nchw(
            isa,
            &dy[images_of(dy, conv.images(), &range)],
            &mut space.map,
        );
        space.planes.resize(n * c_in * ph * pw);
        let planes = space.planes.as_mut_slice();
        planes.fill(0.0);
        let from = &x[images_of(x, conv.images(), &range)];
        let [top, left] = conv.padding();
        let count = w.min(pw - left);
        for (plane, from) in planes
            .chunks_exact_mut(ph * pw)
            .zip(from.chunks_exact(h * w))
        {
            for (y, line) in from.chunks_exact(w).enumerate().take(ph - top) {
                plane[(y + top) * pw + left..][..count].copy_from_slice(&line[..count]);
            }
        }
        let (planes, map) = (&space.planes, &space.map);
        let sums = Shared(space.sums.as_mut_ptr());
        parallel::for_each(panels * c_in * kh, |job| {
            let (p, c, ky) = (job / (c_in * kh), job / kh % c_in, job % kh);
            let width = (c_out - p * 2 * BLOCK)
                .next_multiple_of(BLOCK)
                .min(2 * BLOCK);
            let row = PlanarRow {
                x: planes.as_slice()[(c * ph + ky) * pw..].as_ptr(),
                taps: slots,
                image: c_in * ph * pw,
                row: stride * pw,
                pixel: stride,
            };
            // SAFETY: the planes were padded for all slots of all pixels; each
            // job has its own rows of sums.
            unsafe {
                let acc = sums.get().add(job * row_len);
                WeightGrad::planar_row(isa, row, map, (p, width), acc);
            }
        });
    }
    let sums = space.sums.as_slice();
    assert_eq!(dw.len(), c_out * c_in * kh * kw, "elements of the weight");
    for (i, v) in dw.iter_mut().enumerate() {
        let (o, row, kx) = (i / (c_in * kh * kw), i / kw % (c_in * kh), i % kw);
        let (p, lane) = (o / (2 * BLOCK), o % (2 * BLOCK));
        *v = sums[(p * c_in * kh + row) * row_len + kx * 2 * BLOCK + lane];
    }
}

/// Taps of one axis that reach pixels of parity `a`: the first, how many, and
/// the padding of the convolution over them.
fn taps(kernel: usize, padding: usize, a: usize) -> (usize, usize, usize) {
    let first = (a + padding) % 2;
    let count = (kernel + 1 - first) / 2;
    let shift = (a + padding - first) / 2;
    assert!(
        count == 0 || shift < count,
        "padding {padding} of a strided convolution with kernel {kernel}"
    );
    (first, count, count.saturating_sub(1 + shift))
}

/// What the input gradient of a strided convolution is computed from, and where it goes.
pub(super) struct InputGrad<'a> {
    pub weight: &'a [f32],
    pub dy: &'a BlockedMap,
    pub dx: &'a mut [f32],
}

/// Input gradient of a convolution of stride 2, in one region with a number
/// of further jobs.
pub(super) fn input_grad(
    isa: Isa,
    conv: &OctConv,
    InputGrad { weight, dy, dx }: InputGrad<'_>,
    space: &mut StemSpace,
    (others, other): (usize, impl Fn(usize) + Sync),
) {
    let ([c_in, h, w], [c_out, ..]) = (conv.input(0), conv.output(0));
    let (kernel_size, groups) = (conv.plan().kernel_size, conv.plan().groups);
    let [kh, kw] = kernel_size;
    let n = dy.dims()[0];
    let axes = |phase: usize| {
        let parity = [phase / 2, phase % 2];
        (
            parity,
            [0, 1].map(|a| taps(kernel_size[a], conv.padding()[a], parity[a])),
        )
    };
    parallel::for_each_mut(&mut space.kernels, |phase, kernel| {
        let (_, [y, x]) = axes(phase);
        let rows = (0..y.1).map(|j| (y.0 + 2 * j) * kw);
        let taps: Vec<usize> = rows
            .flat_map(|row| (0..x.1).map(move |i| row + x.0 + 2 * i))
            .collect();
        let planes = weight.chunks_exact(kh * kw);
        kernel.resize(planes.len() * taps.len(), 0.0);
        // A phase that no tap reaches has no kernel, however many channels there are.
        for (kernel, plane) in kernel.chunks_exact_mut(taps.len().max(1)).zip(planes) {
            for (value, &tap) in kernel.iter_mut().zip(&taps) {
                *value = plane[tap];
            }
        }
    });
    let mut products = Vec::with_capacity(4);
    let parts = space
        .kernels
        .iter()
        .zip(&mut space.phases)
        .zip(&mut space.maps);
    for (phase, ((kernel, packed), map)) in parts.enumerate() {
        let (parity, [y, x]) = axes(phase);
        let any = y.1 * x.1 > 0;
        let list = [Kernel {
            weight: kernel,
            c_in: c_out,
            size: [y.1, x.1],
            dilation: [1, 1],
            groups,
            transposed: true,
        }];
        let width = panel_width(isa, c_in, groups);
        packed.pack_panels(isa, c_in, width, if any { &list } else { &[] }, None);
        let size = [(h + 1 - parity[0]) / 2, (w + 1 - parity[1]) / 2];
        map.reset([n, c_in, size[0], size[1]], 0);
        let source = Source {
            padding: [y.2, x.2],
            ..Source::new(dy, 0)
        };
        let sources = if any { vec![source] } else { vec![] };
        products.push(Product::new(
            packed,
            sources,
            [n, size[0], size[1]],
            Output::Map(map, 0),
        ));
    }
    run_with(isa, products, others, other);
    interleave(isa, &space.maps, [n, c_in, h, w], dx);
}

/// Joins the maps of the four parities of row and column.
fn interleave(isa: Isa, maps: &[BlockedMap; 4], dims: [usize; 4], to: &mut [f32]) {
    let [n, c, h, w] = dims;
    assert_eq!(to.len(), n * c * h * w, "elements of the input's gradient");
    let blocks = maps[0].blocks();
    let to = Shared(to.as_mut_ptr());
    parallel::for_each(n * blocks, |job| {
        let (image, b) = (job / blocks, job % blocks);
        SCRATCH.with_borrow_mut(|plane| {
            plane.resize(h * w * BLOCK);
            for (y, row) in plane.as_mut_slice().chunks_exact_mut(w * BLOCK).enumerate() {
                for (x, pixel) in row.chunks_exact_mut(BLOCK).enumerate() {
                    let map = &maps[y % 2 * 2 + x % 2];
                    let at = image * map.image_stride()
                        + b * map.block_stride()
                        + y / 2 * map.row_stride()
                        + x / 2 * BLOCK;
                    pixel.copy_from_slice(&map.as_slice()[at..at + BLOCK]);
                }
            }
            let (at, row) = (plane.as_ptr(), w * BLOCK);
            // SAFETY: these planes are this job's.
            unsafe { to_planes(isa, Rows { at, row }, to.get(), dims, [image, b]) };
        });
    });
}
