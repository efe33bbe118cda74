//! Depthwise layers: every channel has a kernel of its own, so nothing is summed over channels.
//!
//! A job computes sixteen channels of one image from plane to plane, and what it makes in between
//! stays in the cache of its core.

use std::cell::RefCell;

use super::{Gradients, LEVELS, OctConv, Operands};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::conv::{DepthwiseWeights, depthwise_plane, tap_sums};
use crate::isa::Isa;
use crate::layout::{Rows, from_planes, to_planes};
use crate::map::BlockedMap;
use crate::parallel;
use crate::pool::{average_rows, unpool_rows};

/// Memory of a thread.
#[derive(Default)]
struct Scratch {
    /// The input, and the gradient of the output, with borders.
    maps: [BlockedMap; 2],
    /// Before a pooling, behind a convolution, and behind the spreading of that.
    before: Buffer,
    result: Buffer,
    spread: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One group of channels of a layer.
struct Group<'a> {
    x: &'a [f32],
    kernel: &'a [f32],
    images: usize,
    channels: usize,
    /// Height and width of the input, of what the convolution reads, and of the output.
    size: [usize; 2],
    read: [usize; 2],
    out: [usize; 2],
    pooled: bool,
    kernel_size: [usize; 2],
    dilation: [usize; 2],
    stride: usize,
    padding: [usize; 2],
    back_padding: [usize; 2],
}

/// The groups of a layer, with their levels and the numbers of their paths.
fn groups<'a>(
    conv: &'a OctConv,
    operands: &'a Operands<'a>,
) -> impl Iterator<Item = (usize, usize, Group<'a>)> {
    let plan = conv.plan();
    plan.paths.iter().enumerate().map(|(i, path)| {
        let ([channels, h, w], [_, oh, ow]) = (conv.input(path.from), conv.output(path.to));
        let read = match path.pool {
            0 => [h, w],
            _ => [h.div_ceil(2), w.div_ceil(2)],
        };
        let group = Group {
            x: operands.input(path.from),
            kernel: operands.kernels[i],
            images: conv.images(),
            channels,
            size: [h, w],
            read,
            out: [oh, ow],
            pooled: path.pool > 0,
            kernel_size: plan.kernel_size,
            dilation: plan.dilation,
            stride: path.stride,
            padding: conv.padding(),
            back_padding: conv.back_padding(),
        };
        (path.from, i, group)
    })
}

/// What [`OctConv::forward`] computes.
pub(super) fn forward(
    isa: Isa,
    conv: &OctConv,
    operands: &Operands<'_>,
    mut outputs: [Option<&mut [f32]>; LEVELS],
) {
    let mut passes = Vec::with_capacity(LEVELS);
    for (level, _, group) in groups(conv, operands) {
        let Some(y) = outputs[level].take() else {
            continue;
        };
        assert_eq!(
            y.len(),
            group.floats(group.out),
            "elements of output {level}"
        );
        let weights = group.pack(group.kernel, operands.biases[level]);
        passes.push((group, weights, Shared(y.as_mut_ptr())));
    }
    let planes: Vec<_> = passes.iter().map(|(group, ..)| group.planes()).collect();
    for_each_plane(&planes, |pass, plane, scratch| {
        let (group, weights, y) = &passes[pass];
        // SAFETY: every plane of the output is one job's.
        unsafe { group.forward(isa, weights, plane, y.get(), scratch) };
    });
}

/// What [`OctConv::backward`] computes but for the biases.
pub(super) fn backward(
    isa: Isa,
    conv: &OctConv,
    operands: &Operands<'_>,
    outputs: [Option<&[f32]>; LEVELS],
    to: &mut Gradients<'_>,
) {
    let mut passes = Vec::with_capacity(LEVELS);
    let mut sums = Vec::with_capacity(LEVELS);
    for (level, i, group) in groups(conv, operands) {
        let Some(dy) = outputs[level] else { continue };
        let dx = to.inputs[level].take();
        if let Some(dx) = &dx {
            let floats = group.floats(group.size);
            assert_eq!(
                dx.len(),
                floats,
                "elements of the gradient of input {level}"
            );
        }
        let dw = to.kernels.get_mut(i).and_then(Option::take);
        let mut space = Buffer::default();
        if dw.is_some() {
            space.resize(group.planes() * group.taps() * BLOCK);
        }
        passes.push(Pass {
            dy,
            dx: dx.map(|dx| Shared(dx.as_mut_ptr())),
            sums: dw.is_some().then(|| Shared(space.as_mut_ptr())),
            flipped: group.pack(&group.flipped(), None),
            group,
        });
        sums.push((dw, space));
    }
    let planes: Vec<_> = passes.iter().map(|pass| pass.group.planes()).collect();
    for_each_plane(&planes, |pass, plane, scratch| {
        // SAFETY: every plane of a gradient, and its sums, are one job's.
        unsafe { passes[pass].run(isa, plane, scratch) };
    });
    for (pass, (dw, space)) in passes.iter().zip(sums) {
        if let Some(dw) = dw {
            pass.group.add_images(space.as_slice(), dw);
        }
    }
}

/// Runs jobs for all planes of several passes in one parallel region.
fn for_each_plane(planes: &[usize], job: impl Fn(usize, usize, &mut Scratch) + Sync) {
    parallel::for_each(planes.iter().sum(), |mut plane| {
        let mut pass = 0;
        while plane >= planes[pass] {
            plane -= planes[pass];
            pass += 1;
        }
        SCRATCH.with_borrow_mut(|scratch| job(pass, plane, scratch));
    });
}

impl Group<'_> {
    fn blocks(&self) -> usize {
        self.channels.div_ceil(BLOCK)
    }

    /// Sixteen channels of an image each.
    fn planes(&self) -> usize {
        self.images * self.blocks()
    }

    fn taps(&self) -> usize {
        self.kernel_size.into_iter().product()
    }

    /// Elements of a tensor of this group with maps of the given size.
    fn floats(&self, [h, w]: [usize; 2]) -> usize {
        self.images * self.channels * h * w
    }

    fn pack(&self, kernel: &[f32], bias: Option<&[f32]>) -> DepthwiseWeights {
        DepthwiseWeights::new(kernel, self.channels, self.kernel_size, self.dilation, bias)
    }

    /// The kernels of the transposed convolution.
    fn flipped(&self) -> Vec<f32> {
        let kernels = self.kernel.chunks_exact(self.taps());
        kernels
            .flat_map(|taps| taps.iter().rev().copied())
            .collect()
    }

    /// The shape of a tensor of this group, and the image and the block of a plane.
    fn place(&self, plane: usize, [h, w]: [usize; 2]) -> ([usize; 4], [usize; 2]) {
        let dims = [self.images, self.channels, h, w];
        (dims, [plane / self.blocks(), plane % self.blocks()])
    }

    /// Brings in a plane of a tensor of this group, with maps of the given size.
    ///
    /// # Safety
    ///
    /// `to` must be valid for the plane, which nobody else may access.
    unsafe fn bring(
        &self,
        isa: Isa,
        tensor: &[f32],
        plane: usize,
        size: [usize; 2],
        to: Rows<*mut f32>,
    ) {
        let (dims, place) = self.place(plane, size);
        // SAFETY: the tensors have the lengths of the layer; contract.
        unsafe { from_planes(isa, tensor.as_ptr(), dims, place, to) };
    }

    /// Brings in what the convolution reads of a plane.
    fn take(&self, isa: Isa, plane: usize, map: &mut BlockedMap, before: &mut Buffer) {
        let ([h, w], [rh, rw]) = (self.size, self.read);
        let border = self.padding.into_iter().max().unwrap_or(0);
        map.reset([1, BLOCK, rh, rw], border);
        let to = map.planes_mut();
        let to = Rows {
            at: to.plane(0, 0),
            row: to.row,
        };
        if !self.pooled {
            // SAFETY: the map has this size.
            unsafe { self.bring(isa, self.x, plane, self.size, to) };
            return;
        }
        before.resize(h * w * BLOCK);
        let (at, row) = (before.as_mut_ptr(), w * BLOCK);
        // SAFETY: as above, and the buffer has room for the plane.
        unsafe {
            self.bring(isa, self.x, plane, self.size, Rows { at, row });
            let at = at.cast_const();
            average_rows(isa, Rows { at, row }, self.size, to, false);
        }
    }

    /// Where the first tap of the first pixel reads, and the distance of the rows that follow.
    fn taps_of(map: &BlockedMap, padding: [usize; 2], stride: usize) -> Rows<*const f32> {
        let row = map.row_stride();
        let corner = padding[0] * row + padding[1] * BLOCK;
        Rows {
            at: map.origin_ptr().wrapping_sub(corner),
            row: stride * row,
        }
    }

    /// # Safety
    ///
    /// Nobody else may access this plane of the output.
    unsafe fn forward(
        &self,
        isa: Isa,
        weights: &DepthwiseWeights,
        plane: usize,
        y: *mut f32,
        scratch: &mut Scratch,
    ) {
        let Scratch {
            maps: [x, _],
            before,
            result,
            ..
        } = scratch;
        self.take(isa, plane, x, before);
        let (dims, place) = self.place(plane, self.out);
        let row = self.out[1] * BLOCK;
        result.resize(self.out[0] * row);
        let at = result.as_mut_ptr();
        // SAFETY: contract; `OctConv` lets no convolution through that reads past the border of
        // its padding, and the buffer has the size of the output.
        unsafe {
            let from = Self::taps_of(x, self.padding, self.stride);
            let offsets = weights.offsets(x.row_stride());
            let channels = weights.block(place[1], &offsets, self.stride);
            depthwise_plane(isa, &channels, from, Rows { at, row }, self.out);
            let at = at.cast_const();
            to_planes(isa, Rows { at, row }, y, dims, place);
        }
    }

    /// The gradients of the kernels: the sums of all images, in their order.
    fn add_images(&self, sums: &[f32], dw: &mut [f32]) {
        let taps = self.taps();
        assert_eq!(
            dw.len(),
            self.channels * taps,
            "elements of a kernel's gradient"
        );
        let image = self.blocks() * taps * BLOCK;
        for (i, dw) in dw.iter_mut().enumerate() {
            let (channel, tap) = (i / taps, i % taps);
            let at = (channel / BLOCK * taps + tap) * BLOCK + channel % BLOCK;
            *dw = sums.iter().skip(at).step_by(image).sum();
        }
    }
}

/// The way back through a group.
struct Pass<'a> {
    group: Group<'a>,
    dy: &'a [f32],
    /// Where the gradient of the input goes, if it is wanted.
    dx: Option<Shared<*mut f32>>,
    /// Sums of the gradients of the kernels, `[image][block][tap][16]`, if they are wanted.
    sums: Option<Shared<*mut f32>>,
    flipped: DepthwiseWeights,
}

impl Pass<'_> {
    /// # Safety
    ///
    /// Nobody else may access the gradient of this plane of the input, and its sums.
    unsafe fn run(&self, isa: Isa, plane: usize, scratch: &mut Scratch) {
        let group = &self.group;
        self.take_gradient(isa, plane, scratch);
        if let Some(sums) = self.sums {
            let Scratch {
                maps: [x, dy],
                before,
                ..
            } = scratch;
            group.take(isa, plane, x, before);
            let taps = group.taps();
            // SAFETY: contract; the taps stay within the border, as in the forward pass.
            unsafe {
                let sums = sums.get().add(plane * taps * BLOCK);
                let from = Group::taps_of(x, group.padding, group.stride);
                let offsets = self.flipped.offsets(x.row_stride());
                let pixel = group.stride * BLOCK;
                let dy = Rows {
                    at: dy.origin_ptr(),
                    row: group.stride * dy.row_stride(),
                };
                tap_sums(isa, from, &offsets, pixel, (dy, pixel), group.out, sums);
            }
        }
        if let Some(dx) = self.dx {
            // SAFETY: contract.
            unsafe { self.input_gradient(isa, plane, dx.get(), scratch) };
        }
    }

    /// Brings in the gradient of a plane of the output, with zeros between the pixels of a stride,
    /// and with the border that the transposed convolution reads.
    fn take_gradient(&self, isa: Isa, plane: usize, scratch: &mut Scratch) {
        let group = &self.group;
        let Scratch {
            maps: [_, map],
            result,
            ..
        } = scratch;
        let [oh, ow] = group.out;
        let apart = [0, 1].map(|a| (group.out[a] - 1) * group.stride + 1);
        let [h, w] = [0, 1].map(|a| apart[a].max(group.read[a]));
        let border = (group.kernel_size.iter().zip(group.dilation))
            .map(|(taps, dilation)| (taps - 1) * dilation)
            .max()
            .unwrap_or(0);
        map.reset([1, BLOCK, h, w], border);
        let (to, row) = (map.planes_mut().plane(0, 0), map.row_stride());
        if group.stride == 1 && [oh, ow] == [h, w] {
            // SAFETY: the map has this size.
            unsafe { group.bring(isa, self.dy, plane, group.out, Rows { at: to, row }) };
            return;
        }
        result.resize(oh * ow * BLOCK);
        let compact = Rows {
            at: result.as_mut_ptr(),
            row: ow * BLOCK,
        };
        // SAFETY: the buffer has room for the plane.
        unsafe { group.bring(isa, self.dy, plane, group.out, compact) };
        for y in 0..h {
            // SAFETY: row `y` of the map, which nobody else holds.
            let line = unsafe { std::slice::from_raw_parts_mut(to.add(y * row), w * BLOCK) };
            line.fill(0.0);
            if y % group.stride != 0 || y / group.stride >= oh {
                continue;
            }
            let pixels = line.chunks_exact_mut(BLOCK).step_by(group.stride);
            let from = &result.as_slice()[y / group.stride * ow * BLOCK..][..ow * BLOCK];
            for (to, from) in pixels.zip(from.chunks_exact(BLOCK)) {
                to.copy_from_slice(from);
            }
        }
    }

    /// # Safety
    ///
    /// Nobody else may access this plane of `dx`.
    unsafe fn input_gradient(&self, isa: Isa, plane: usize, dx: *mut f32, scratch: &mut Scratch) {
        let group = &self.group;
        let Scratch {
            maps: [_, dy],
            result,
            spread,
            ..
        } = scratch;
        let ([h, w], [rh, rw]) = (group.size, group.read);
        let (dims, place) = group.place(plane, group.size);
        result.resize(rh * rw * BLOCK);
        let (at, row) = (result.as_mut_ptr(), rw * BLOCK);
        // SAFETY: contract; the map has the border that the transposed convolution reads, and the
        // buffers have the sizes of what is written to them.
        unsafe {
            let offsets = self.flipped.offsets(dy.row_stride());
            let channels = self.flipped.block(place[1], &offsets, 1);
            let from = Group::taps_of(dy, group.back_padding, 1);
            depthwise_plane(isa, &channels, from, Rows { at, row }, group.read);
            let mut wide = Rows {
                at: at.cast_const(),
                row,
            };
            if group.pooled {
                spread.resize(h * w * BLOCK);
                unpool_rows(isa, Rows { at, row }, [h, w], spread.as_mut_ptr());
                wide = Rows {
                    at: spread.as_ptr(),
                    row: w * BLOCK,
                };
            }
            to_planes(isa, wide, dx, dims, place);
        }
    }
}
