//! First layers: few input channels, read as NCHW.
//!
//! A block of 16 input channels would be mostly zeros here, so the kernel
//! broadcasts from planes instead: its inner loop runs over the taps of a
//! kernel row. Each job copies the rows that it reads into a padded scratch,
//! and, where the layer is followed by the 3×3 max pooling, keeps only three
//! rows of its result at a time: the full-size map is never written.

use std::cell::RefCell;

use super::Activation;
use super::pack::PANEL;
use super::tile::{MAX_SOURCES, Run, Tile, TileShape, tile_fn};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::isa::Isa;
use crate::map::BlockedMap;
use crate::parallel;
use crate::pool::max_row;

/// Weights and bias of a stem, packed as `[c_out/32][c_in][kh][kw][32]`.
#[derive(Clone, Default)]
pub struct StemWeights {
    data: Buffer,
    bias: Buffer,
    c_in: usize,
    c_out: usize,
    size: [usize; 2],
}

impl StemWeights {
    /// Packs `weight` of shape `[c_out, c_in, kh, kw]`.
    ///
    /// # Panics
    ///
    /// If the length of the weight or of the bias does not fit.
    pub fn new(
        weight: &[f32],
        c_out: usize,
        c_in: usize,
        size: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Self {
        let mut packed = Self::default();
        packed.pack(weight, c_out, c_in, size, bias);
        packed
    }

    /// Channels that it reads.
    pub fn c_in(&self) -> usize {
        self.c_in
    }

    /// Kernel size `[kh, kw]`.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// As [`new`](Self::new), reusing the memory of `self`.
    pub fn pack(
        &mut self,
        weight: &[f32],
        c_out: usize,
        c_in: usize,
        size: [usize; 2],
        bias: Option<&[f32]>,
    ) {
        let taps = c_in * size[0] * size[1];
        assert_eq!(
            weight.len(),
            c_out * taps,
            "weights of {c_in} → {c_out} channels, kernel {size:?}"
        );
        (self.c_in, self.c_out, self.size) = (c_in, c_out, size);
        let padded = c_out.next_multiple_of(PANEL);
        self.bias.resize(padded);
        self.bias.as_mut_slice().fill(0.0);
        if let Some(bias) = bias {
            self.bias.as_mut_slice()[..c_out].copy_from_slice(bias);
        }
        self.data.resize(padded * taps);
        let data = self.data.as_mut_slice();
        data.fill(0.0);
        for (o, row) in weight.chunks_exact(taps.max(1)).enumerate() {
            for (t, v) in row.iter().enumerate() {
                data[(o / PANEL * taps + t) * PANEL + o % PANEL] = *v;
            }
        }
    }
}

/// A convolution from NCHW to a blocked map.
pub struct Stem<'a> {
    /// Weights and bias.
    pub weights: &'a StemWeights,
    /// Input `[n, c_in, h, w]`, contiguous.
    pub input: &'a [f32],
    /// `[n, h, w]` of the input.
    pub size: [usize; 3],
    /// 1 or 2.
    pub stride: usize,
    /// Pixels added on all sides, per axis.
    pub padding: [usize; 2],
    /// Applied to the convolution.
    pub activation: Activation,
    /// Follow with 3×3 max pooling, stride 2, padding 1.
    pub max_pool: bool,
}

#[derive(Default)]
struct Scratch {
    input: Buffer,
    rows: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Stem<'_> {
    /// Height and width of the convolution's result, before pooling.
    fn conv_size(&self) -> [usize; 2] {
        [0, 1].map(|a| {
            let padded = self.size[1 + a] + 2 * self.padding[a];
            assert!(
                padded >= self.weights.size[a],
                "a kernel larger than its input"
            );
            (padded - self.weights.size[a]) / self.stride + 1
        })
    }

    /// Shape of the result, `[n, c_out, h, w]`.
    pub fn out_dims(&self) -> [usize; 4] {
        let [h, w] = self.conv_size();
        let [h, w] = if self.max_pool {
            [h.div_ceil(2), w.div_ceil(2)]
        } else {
            [h, w]
        };
        [self.size[0], self.weights.c_out, h, w]
    }

    /// Computes the layer into `to`, whose shape must be
    /// [`out_dims`](Self::out_dims).
    pub fn run(&self, isa: Isa, to: &mut BlockedMap) {
        let [n, h, w] = self.size;
        let c_in = self.weights.c_in;
        assert_eq!(self.input.len(), n * c_in * h * w, "elements of the input");
        assert_eq!(to.dims(), self.out_dims(), "shape of the output");
        assert!(matches!(self.stride, 1 | 2), "stride {}", self.stride);
        let out_h = to.dims()[2];
        let chunk = if self.max_pool { 7 } else { 8 };
        let chunks = out_h.div_ceil(chunk);
        let (image, block, row) = (to.image_stride(), to.block_stride(), to.row_stride());
        let origin = Shared(to.origin_mut_ptr());
        parallel::for_each(n * chunks, |job| {
            let (i, first) = (job / chunks, job % chunks * chunk);
            let last = (first + chunk).min(out_h);
            SCRATCH.with_borrow_mut(|scratch| {
                // SAFETY: rows `first..last` of image `i`, of all blocks, are
                // this job's; the shape of the map was checked.
                unsafe {
                    let to = origin.get().add(i * image);
                    self.compute(isa, i, first, last, to, block, row, scratch);
                }
            });
        });
    }

    /// Rows `first..last` of the output of image `i`.
    ///
    /// # Safety
    ///
    /// `to` must be pixel (0, 0) of that image, and the rows nobody else's.
    #[allow(clippy::too_many_arguments)]
    unsafe fn compute(
        &self,
        isa: Isa,
        i: usize,
        first: usize,
        last: usize,
        to: *mut f32,
        block: usize,
        row: usize,
        scratch: &mut Scratch,
    ) {
        let [conv_h, conv_w] = self.conv_size();
        // Rows of the convolution that are needed.
        let (begin, end) = if self.max_pool {
            ((2 * first).saturating_sub(1), (2 * last).min(conv_h))
        } else {
            (first, last)
        };
        let patch = self.copy_rows(i, begin, end, &mut scratch.input);
        let c_out = self.weights.c_out;
        let ring = conv_w * BLOCK;
        scratch.rows.resize(3 * 2 * ring);
        let rows = scratch.rows.as_mut_ptr();
        for (p, channel) in (0..c_out).step_by(PANEL).enumerate() {
            let blocks = (c_out - channel).div_ceil(BLOCK).min(PANEL / BLOCK);
            let mut done = begin;
            for y in first..last {
                if !self.max_pool {
                    // SAFETY: row `y` is this job's.
                    unsafe {
                        let out = to.add(2 * p * block + y * row);
                        self.row(isa, &patch, p, blocks, y - begin, out, block);
                    }
                    continue;
                }
                let lines = (2 * y).saturating_sub(1)..(2 * y + 2).min(conv_h);
                while done < lines.end {
                    // SAFETY: the ring holds three rows of two blocks.
                    unsafe {
                        let out = rows.add(done % 3 * ring);
                        self.row(isa, &patch, p, blocks, done - begin, out, 3 * ring);
                    }
                    done += 1;
                }
                for b in 0..blocks {
                    // SAFETY: the last three rows are in the ring; row `y` of
                    // block `2p + b` is this job's.
                    unsafe {
                        let line = |y: usize| rows.add((b * 3 + y % 3) * ring).cast_const();
                        let middle = (lines.start + 1).min(lines.end - 1);
                        let sources = [line(lines.start), line(middle), line(lines.end - 1)];
                        max_row(isa, &sources, conv_w, to.add((2 * p + b) * block + y * row));
                    }
                }
            }
        }
    }

    /// Copies the input rows under the rows `begin..end` of the result,
    /// padded with zeros.
    fn copy_rows<'a>(&self, i: usize, begin: usize, end: usize, to: &'a mut Buffer) -> Patch<'a> {
        let [_, h, w] = self.size;
        let [kh, kw] = self.weights.size;
        let [conv_h, conv_w] = self.conv_size();
        debug_assert!(begin < end && end <= conv_h);
        let rows = (end - begin - 1) * self.stride + kh;
        let width = (conv_w - 1) * self.stride + kw;
        let c_in = self.weights.c_in;
        to.resize(c_in * rows * width);
        let patch = to.as_mut_slice();
        let left = self.padding[1];
        let count = w.min(width - left.min(width));
        for c in 0..c_in {
            for r in 0..rows {
                let line = &mut patch[(c * rows + r) * width..][..width];
                let y = (begin * self.stride + r).wrapping_sub(self.padding[0]);
                if y < h {
                    line[..left].fill(0.0);
                    let from = ((i * c_in + c) * h + y) * w;
                    line[left..left + count].copy_from_slice(&self.input[from..from + count]);
                    line[left + count..].fill(0.0);
                } else {
                    line.fill(0.0);
                }
            }
        }
        let offsets = (0..c_in * kh)
            .map(|s| ((s / kh * rows + s % kh) * width) as u32)
            .collect();
        Patch {
            data: to.as_slice(),
            width,
            offsets,
        }
    }

    /// One row of a panel, `y` rows below the top of the patch.
    ///
    /// # Safety
    ///
    /// `out` must be writable for `blocks` rows of the result, `out_block`
    /// floats apart.
    #[allow(clippy::too_many_arguments)]
    unsafe fn row(
        &self,
        isa: Isa,
        patch: &Patch<'_>,
        panel: usize,
        blocks: usize,
        y: usize,
        out: *mut f32,
        out_block: usize,
    ) {
        let [kh, kw] = self.weights.size;
        let [_, conv_w] = self.conv_size();
        let c_in = self.weights.c_in;
        let shape = TileShape::new(isa, blocks * BLOCK);
        let segments = conv_w.div_ceil(shape.pixels);
        let (base, longer) = (conv_w / segments, conv_w % segments);
        let weights = &self.weights.data.as_slice()[panel * c_in * kh * kw * PANEL..];
        let bias = &self.weights.bias.as_slice()[panel * PANEL..];
        for channel in (0..blocks * BLOCK).step_by(shape.channels) {
            let mut x = 0;
            for segment in 0..segments {
                let pixels = base + usize::from(segment < longer);
                let from = &patch.data[y * self.stride * patch.width + x * self.stride..];
                let mut runs = [Run::NONE; MAX_SOURCES];
                runs[0] = Run {
                    rows: [from.as_ptr(); 2],
                    offsets: patch.offsets.as_ptr(),
                    steps: patch.offsets.len(),
                    stride: self.stride,
                    inner: kw,
                };
                let none = [std::ptr::null(); 2];
                let tile = Tile {
                    runs,
                    used: 1,
                    weights: weights[channel..].as_ptr(),
                    panel: PANEL,
                    bias: bias[channel..].as_ptr(),
                    out: [out.wrapping_add(channel / BLOCK * out_block + x * BLOCK); 2],
                    out_block,
                    residual: none,
                    residual_block: 0,
                    coarse: none,
                    coarse_block: 0,
                    phase: 0,
                    bounds: self.activation.bounds(),
                };
                // SAFETY: the patch was cut for these rows; the output is the
                // caller's.
                unsafe { tile_fn(isa, blocks * BLOCK, true, 1, pixels)(&tile) };
                x += pixels;
            }
        }
    }
}

/// Padded input rows of a job.
struct Patch<'a> {
    data: &'a [f32],
    width: usize,
    /// Of each channel and kernel row.
    offsets: Vec<u32>,
}
