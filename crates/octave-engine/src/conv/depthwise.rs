//! Depthwise convolution: every channel has its own kernel.
//!
//! There is nothing to share between output channels, so the kernel walks a
//! row in strips of pixels and multiplies whole vectors of channels.

use super::Activation;
use super::panel::check_taps;
use crate::BLOCK;
use crate::buffer::{Buffer, Shared, floats};
use crate::isa::{Isa, simd_kernel};
use crate::layout::Rows;
use crate::map::BlockedMap;
use crate::parallel;
use crate::pool::average_rows;
use crate::simd::Simd;

/// Kernels and bias, packed as `[⌈c/16⌉][kh][kw][16]`.
#[derive(Clone)]
pub struct DepthwiseWeights {
    data: Buffer,
    bias: Buffer,
    channels: usize,
    size: [usize; 2],
    dilation: [usize; 2],
}

impl DepthwiseWeights {
    /// Kernel size `[kh, kw]`.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Packs `weight` of shape `[c, 1, kh, kw]`.
    ///
    /// # Panics
    ///
    /// If the length of the weight or of the bias does not fit, or the kernel
    /// has no taps or an extent beyond all memory.
    pub fn new(
        weight: &[f32],
        channels: usize,
        size: [usize; 2],
        dilation: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Self {
        check_taps(size, dilation);
        let taps = floats("a kernel", &size);
        assert_eq!(
            weight.len(),
            floats("a kernel", &[channels, taps, BLOCK]) / BLOCK,
            "weights of {channels} channels, kernel {size:?}"
        );
        let padded = channels.next_multiple_of(BLOCK);
        let mut data = Buffer::zeros(padded * taps);
        for (c, kernel) in weight.chunks_exact(taps.max(1)).enumerate() {
            for (t, v) in kernel.iter().enumerate() {
                data.as_mut_slice()[(c / BLOCK * taps + t) * BLOCK + c % BLOCK] = *v;
            }
        }
        let mut padded_bias = Buffer::zeros(padded);
        if let Some(bias) = bias {
            padded_bias.as_mut_slice()[..channels].copy_from_slice(bias);
        }
        Self {
            data,
            bias: padded_bias,
            channels,
            size,
            dilation,
        }
    }

    /// How far each tap reads from the first one, in a map with rows of `row` floats.
    pub(crate) fn offsets(&self, row: usize) -> Vec<usize> {
        let [height, width] = self.size;
        let taps = (0..height).flat_map(|y| (0..width).map(move |x| [y, x]));
        taps.map(|[y, x]| y * self.dilation[0] * row + x * self.dilation[1] * BLOCK)
            .collect()
    }

    /// The kernels of a block of channels, for taps at these offsets.
    pub(crate) fn block<'a>(
        &'a self,
        block: usize,
        offsets: &'a [usize],
        stride: usize,
    ) -> Channels<'a> {
        Channels {
            weights: self.data.as_slice()[block * offsets.len() * BLOCK..].as_ptr(),
            bias: self.bias.as_slice()[block * BLOCK..].as_ptr(),
            offsets,
            pixel: stride * BLOCK,
            bounds: Activation::Identity.bounds(),
        }
    }
}

/// One depthwise layer of a region; see [`depthwise`].
pub struct Depthwise<'a> {
    /// Kernels and bias.
    pub weights: &'a DepthwiseWeights,
    /// Input; its border must be wide enough for the padding.
    pub input: &'a BlockedMap,
    /// 1 or 2.
    pub stride: usize,
    /// Pixels that the convolution adds at the top and at the left.
    pub padding: [usize; 2],
    /// Applied last.
    pub activation: Activation,
    /// The result.
    pub output: &'a mut BlockedMap,
    /// 2×2 averages of the result.
    pub pooled: Option<&'a mut BlockedMap>,
}

/// A layer with its addresses.
struct Prepared<'a> {
    layer: Depthwise<'a>,
    out: Shared<*mut f32>,
    pooled: Option<Shared<*mut f32>>,
    offsets: Vec<usize>,
    chunks: usize,
}

/// Output rows of a job; even, for pooling.
const ROWS: usize = 14;

/// Computes all layers (both frequency groups, say) in one parallel region.
///
/// # Panics
///
/// If shapes do not fit, or a border is too narrow for the padding.
pub fn depthwise(isa: Isa, layers: Vec<Depthwise<'_>>) {
    let mut prepared = Vec::with_capacity(layers.len());
    let mut jobs = Vec::new();
    for (index, mut layer) in layers.into_iter().enumerate() {
        let [n, c, h, w] = layer.input.dims();
        let [on, oc, oh, ow] = layer.output.dims();
        let k = layer.weights;
        assert_eq!(
            [n, c, c],
            [on, oc, k.channels],
            "images and channels of a depthwise layer"
        );
        assert!(matches!(layer.stride, 1 | 2), "stride {}", layer.stride);
        for (axis, (out, size)) in [(oh, h), (ow, w)].into_iter().enumerate() {
            let (before, pad) = (layer.padding[axis], layer.input.pad());
            let reach = (out.max(1) - 1) * layer.stride + (k.size[axis] - 1) * k.dilation[axis];
            assert!(
                before <= pad && reach < size + pad + before,
                "output size {out} from input size {size}: padding {before} reaches past a border of {pad}"
            );
        }
        if let Some(p) = &layer.pooled {
            assert_eq!(
                p.dims(),
                [n, c, oh.div_ceil(2), ow.div_ceil(2)],
                "shape of the pooled map"
            );
        }
        let offsets = k.offsets(layer.input.row_stride());
        let chunks = oh.div_ceil(ROWS);
        jobs.extend((0..n * layer.input.blocks() * chunks).map(|j| (index, j)));
        let out = Shared(layer.output.origin_mut_ptr());
        let pooled = layer.pooled.as_mut().map(|p| Shared(p.origin_mut_ptr()));
        prepared.push(Prepared {
            layer,
            out,
            pooled,
            offsets,
            chunks,
        });
    }
    parallel::for_each(jobs.len(), |job| {
        let (layer, j) = jobs[job];
        // SAFETY: shapes were checked above, and every job comes once.
        unsafe { prepared[layer].compute(isa, j) };
    });
}

impl Prepared<'_> {
    /// Computes some rows of one plane.
    ///
    /// # Safety
    ///
    /// Shapes must have been checked, and no other thread may do the same job.
    unsafe fn compute(&self, isa: Isa, job: usize) {
        let layer = &self.layer;
        let (weights, input, output) = (layer.weights, layer.input, &*layer.output);
        let (plane, part) = (job / self.chunks, job % self.chunks);
        let (i, b) = (plane / input.blocks(), plane % input.blocks());
        let [_, _, h, w] = output.dims();
        let (first, last) = (part * ROWS, ((part + 1) * ROWS).min(h));
        let [top, left] = layer.padding;
        let row = input.row_stride();
        let from = input
            .origin_ptr()
            .wrapping_add(i * input.image_stride() + b * input.block_stride())
            .wrapping_sub(top * row + left * BLOCK);
        let to = Rows {
            at: self
                .out
                .get()
                .wrapping_add(i * output.image_stride() + b * output.block_stride()),
            row: output.row_stride(),
        };
        let channels = Channels {
            bounds: layer.activation.bounds(),
            ..weights.block(b, &self.offsets, layer.stride)
        };
        // SAFETY: these rows of this plane are this job's; the input was
        // checked to have the border that the taps reach into.
        unsafe {
            let from = Rows {
                at: from.wrapping_add(first * layer.stride * row),
                row: layer.stride * row,
            };
            let to = Rows {
                at: to.at.add(first * to.row),
                ..to
            };
            depthwise_plane(isa, &channels, from, to, [last - first, w]);
        }
        if let (Some(p), Some(map)) = (self.pooled, &layer.pooled) {
            let at = i * map.image_stride() + b * map.block_stride() + first / 2 * map.row_stride();
            // SAFETY: rows just written, and the pooled rows of this job.
            unsafe {
                let from = Rows {
                    at: to.at.add(first * to.row).cast_const(),
                    row: to.row,
                };
                let to = Rows {
                    at: p.get().add(at),
                    row: map.row_stride(),
                };
                average_rows(isa, from, [last - first, w], to, false);
            }
        }
    }
}

/// What all rows of a channel block share.
pub(crate) struct Channels<'a> {
    /// One block per tap.
    weights: *const f32,
    bias: *const f32,
    /// Offset of each tap from the first one.
    offsets: &'a [usize],
    /// Floats of the input from one output pixel to the next.
    pixel: usize,
    bounds: [f32; 2],
}

simd_kernel! {
    /// Rows of pixels of one channel block; `size = [height, width]` of the result.
    ///
    /// # Safety
    ///
    /// Each row of `from` must be readable at `offset + pixel · x` for all
    /// offsets and x < width, the weights for one block per offset, the bias
    /// for one; `to` must be valid for its rows, which nobody else may access.
    pub(crate) unsafe fn depthwise_plane(
        channels: &Channels<'_>,
        from: Rows<*const f32>,
        to: Rows<*mut f32>,
        size: [usize; 2],
    ) = plane_with
}

#[inline(always)]
unsafe fn plane_with<S: Simd>(
    c: &Channels<'_>,
    from: Rows<*const f32>,
    to: Rows<*mut f32>,
    [height, width]: [usize; 2],
) {
    for y in 0..height {
        // SAFETY: contract of `depthwise_plane`.
        unsafe {
            let (from, to) = (from.at.wrapping_add(y * from.row), to.at.add(y * to.row));
            row_with::<S>(c, from, to, width);
        }
    }
}

#[inline(always)]
unsafe fn row_with<S: Simd>(c: &Channels<'_>, from: *const f32, to: *mut f32, w: usize) {
    for lane in (0..BLOCK).step_by(S::LANES) {
        let mut x = 0;
        // SAFETY: contract of `depthwise_plane`; lanes stay inside the pixel.
        unsafe {
            let (from, to) = (from.wrapping_add(lane), to.add(lane));
            while x + 7 <= w {
                strip::<S, 7>(c, lane, from.wrapping_add(x * c.pixel), to.add(x * BLOCK));
                x += 7;
            }
            while x < w {
                strip::<S, 1>(c, lane, from.wrapping_add(x * c.pixel), to.add(x * BLOCK));
                x += 1;
            }
        }
    }
}

/// `Q` pixels × one vector of channels.
#[inline(always)]
unsafe fn strip<S: Simd, const Q: usize>(
    c: &Channels<'_>,
    lane: usize,
    from: *const f32,
    to: *mut f32,
) {
    // SAFETY: contract of `depthwise_plane`.
    unsafe {
        let bias = S::load(c.bias.add(lane));
        let mut acc = [bias; Q];
        for (t, &offset) in c.offsets.iter().enumerate() {
            let k = S::load(c.weights.add(t * BLOCK + lane));
            for (q, a) in acc.iter_mut().enumerate() {
                *a = S::mul_add(S::load(from.add(offset + q * c.pixel)), k, *a);
            }
        }
        let [low, high] = [S::splat(&c.bounds[0]), S::splat(&c.bounds[1])];
        for (q, a) in acc.iter().enumerate() {
            S::store(to.add(q * BLOCK), S::at_most(S::at_least(*a, low), high));
        }
    }
}

simd_kernel! {
    /// The gradients of the kernels of one channel block: for each tap the sum
    /// of input times output gradient over all pixels of an output of
    /// `size = [height, width]`, to `sums`, one block per offset.
    ///
    /// # Safety
    ///
    /// Each row of `from` must be readable at `offset + pixel · x` for all
    /// offsets and x < width, each row of `dy.0` at `dy.1 · x`; `sums` must be
    /// valid for one block per offset, which nobody else may access.
    pub(crate) unsafe fn tap_sums(
        from: Rows<*const f32>,
        offsets: &[usize],
        pixel: usize,
        dy: (Rows<*const f32>, usize),
        size: [usize; 2],
        sums: *mut f32,
    ) = tap_sums_with
}

#[inline(always)]
unsafe fn tap_sums_with<S: Simd>(
    from: Rows<*const f32>,
    offsets: &[usize],
    pixel: usize,
    dy: (Rows<*const f32>, usize),
    size: [usize; 2],
    sums: *mut f32,
) {
    for lane in (0..BLOCK).step_by(S::LANES) {
        let at = |rows: Rows<*const f32>| Rows {
            at: rows.at.wrapping_add(lane),
            ..rows
        };
        let (from, dy) = (at(from), (at(dy.0), dy.1));
        let mut t = 0;
        while t < offsets.len() {
            let (rest, to) = (&offsets[t..], sums.wrapping_add(t * BLOCK + lane));
            // SAFETY: contract of `tap_sums`; lanes stay inside the pixel.
            t += unsafe {
                match rest.len() {
                    9.. => some_taps::<S, 9>(from, rest, pixel, dy, size, to),
                    5.. => some_taps::<S, 5>(from, rest, pixel, dy, size, to),
                    3.. => some_taps::<S, 3>(from, rest, pixel, dy, size, to),
                    _ => some_taps::<S, 1>(from, rest, pixel, dy, size, to),
                }
            };
        }
    }
}

/// The first `T` taps × one vector of channels; how many taps that are.
#[inline(always)]
unsafe fn some_taps<S: Simd, const T: usize>(
    from: Rows<*const f32>,
    offsets: &[usize],
    pixel: usize,
    (dy, dy_pixel): (Rows<*const f32>, usize),
    [height, width]: [usize; 2],
    sums: *mut f32,
) -> usize {
    // SAFETY: contract of `tap_sums`.
    unsafe {
        let mut acc = [S::zero(); T];
        for y in 0..height {
            let mut x = from.at.wrapping_add(y * from.row);
            let mut d = dy.at.wrapping_add(y * dy.row);
            for _ in 0..width {
                let gradient = S::load(d);
                for (a, &offset) in acc.iter_mut().zip(offsets) {
                    *a = S::mul_add(S::load(x.wrapping_add(offset)), gradient, *a);
                }
                x = x.wrapping_add(pixel);
                d = d.wrapping_add(dy_pixel);
            }
        }
        for (t, a) in acc.iter().enumerate() {
            S::store(sums.add(t * BLOCK), *a);
        }
    }
    T
}
