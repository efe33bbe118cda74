//! Depthwise convolution: every channel has its own kernel.
//!
//! There is nothing to share between output channels, so the kernel walks a
//! row in strips of pixels and multiplies whole vectors of channels.

use super::Activation;
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::isa::{Isa, simd_kernel};
use crate::map::BlockedMap;
use crate::parallel;
use crate::pool::average_rows;
use crate::simd::Simd;

/// Kernels and bias, packed as `[⌈c/16⌉][kh][kw][16]`.
#[derive(Clone, Default)]
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
    /// If the length of the weight or of the bias does not fit.
    pub fn new(
        weight: &[f32],
        channels: usize,
        size: [usize; 2],
        dilation: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Self {
        let taps = size[0] * size[1];
        assert_eq!(
            weight.len(),
            channels * taps,
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
        let offsets = (0..k.size[0] * k.size[1])
            .map(|t| {
                let (y, x) = (t / k.size[1], t % k.size[1]);
                y * k.dilation[0] * layer.input.row_stride() + x * k.dilation[1] * BLOCK
            })
            .collect();
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
        prepared[layer].compute(isa, j);
    });
}

impl Prepared<'_> {
    fn compute(&self, isa: Isa, job: usize) {
        let Depthwise {
            weights: k, input, ..
        } = &self.layer;
        let output = &*self.layer.output;
        let (plane, part) = (job / self.chunks, job % self.chunks);
        let (i, b) = (plane / input.blocks(), plane % input.blocks());
        let [_, _, h, w] = output.dims();
        let (first, last) = (part * ROWS, ((part + 1) * ROWS).min(h));
        let taps = k.size[0] * k.size[1];
        let [top, left] = self.layer.padding;
        let from = input
            .origin_ptr()
            .wrapping_add(i * input.image_stride() + b * input.block_stride())
            .wrapping_sub(top * input.row_stride() + left * BLOCK);
        let to = self
            .out
            .get()
            .wrapping_add(i * output.image_stride() + b * output.block_stride());
        let weights = k.data.as_slice()[b * taps * BLOCK..].as_ptr();
        let bias = k.bias.as_slice()[b * BLOCK..].as_ptr();
        for y in first..last {
            // SAFETY: row `y` of this plane is this job's; the input was
            // checked to have the border that the taps reach into.
            unsafe {
                depthwise_row(
                    isa,
                    from.wrapping_add(y * self.layer.stride * input.row_stride()),
                    self.layer.stride * BLOCK,
                    weights,
                    bias,
                    &self.offsets,
                    to.wrapping_add(y * output.row_stride()),
                    w,
                    self.layer.activation.bounds(),
                );
            }
        }
        if let (Some(p), Some(map)) = (self.pooled, &self.layer.pooled) {
            let at = i * map.image_stride() + b * map.block_stride() + first / 2 * map.row_stride();
            // SAFETY: rows just written, and the pooled rows of this job.
            unsafe {
                let from = to.wrapping_add(first * output.row_stride());
                let to = p.get().wrapping_add(at);
                average_rows(
                    isa,
                    from,
                    output.row_stride(),
                    last - first,
                    w,
                    to,
                    map.row_stride(),
                    false,
                );
            }
        }
    }
}

simd_kernel! {
    /// One row of one channel block.
    ///
    /// # Safety
    ///
    /// `from` must be readable at `offset + pixel · x` for all offsets and
    /// x < w, `weights` for one block per offset, `to` writable for w pixels.
    unsafe fn depthwise_row(
        from: *const f32, pixel: usize, weights: *const f32, bias: *const f32,
        offsets: &[usize], to: *mut f32, w: usize, bounds: [f32; 2],
    ) = row_with
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn row_with<S: Simd>(
    from: *const f32,
    pixel: usize,
    weights: *const f32,
    bias: *const f32,
    offsets: &[usize],
    to: *mut f32,
    w: usize,
    bounds: [f32; 2],
) {
    for lane in (0..BLOCK).step_by(S::LANES) {
        let mut x = 0;
        // SAFETY: contract of `depthwise_row`; lanes stay inside the pixel.
        unsafe {
            let (from, weights, bias, to) = (
                from.add(lane),
                weights.add(lane),
                bias.add(lane),
                to.add(lane),
            );
            while x + 7 <= w {
                strip::<S, 7>(
                    from.add(x * pixel),
                    pixel,
                    weights,
                    bias,
                    offsets,
                    to.add(x * BLOCK),
                    bounds,
                );
                x += 7;
            }
            while x < w {
                strip::<S, 1>(
                    from.add(x * pixel),
                    pixel,
                    weights,
                    bias,
                    offsets,
                    to.add(x * BLOCK),
                    bounds,
                );
                x += 1;
            }
        }
    }
}

/// `Q` pixels × one vector of channels.
#[inline(always)]
unsafe fn strip<S: Simd, const Q: usize>(
    from: *const f32,
    pixel: usize,
    weights: *const f32,
    bias: *const f32,
    offsets: &[usize],
    to: *mut f32,
    bounds: [f32; 2],
) {
    // SAFETY: contract of `depthwise_row`.
    unsafe {
        let bias = S::load(bias);
        let mut acc = [bias; Q];
        for (t, &offset) in offsets.iter().enumerate() {
            let k = S::load(weights.add(t * BLOCK));
            for (q, a) in acc.iter_mut().enumerate() {
                *a = S::mul_add(S::load(from.add(offset + q * pixel)), k, *a);
            }
        }
        let [low, high] = [S::splat(&bounds[0]), S::splat(&bounds[1])];
        for (q, a) in acc.iter().enumerate() {
            S::store(to.add(q * BLOCK), S::at_most(S::at_least(*a, low), high));
        }
    }
}
