//! First layers: few input channels, read as NCHW.
//!
//! A block of 16 input channels would be mostly zeros here, so the kernel
//! broadcasts from planes instead: its inner loop runs over the taps of a
//! kernel row. Each job copies the rows that it reads into a padded scratch,
//! and, where the layer is followed by the 3×3 max pooling, keeps only three
//! rows of its result at a time: the full-size map is never written.

use std::cell::RefCell;
use std::ops::Range;

use super::Activation;
use super::panel::{PANEL, check_taps};
use super::tile::{MAX_SOURCES, Part, Run, Tile, TileShape, tile_fn};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared, floats};
use crate::isa::Isa;
use crate::layout::Rows;
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
        check_taps(size, [1, 1]);
        let taps = floats("a kernel", &[c_in, size[0], size[1]]);
        assert_eq!(
            weight.len(),
            floats("a kernel", &[c_out, taps, PANEL]) / PANEL,
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
        assert!(matches!(self.stride, 1 | 2), "stride {}", self.stride);
        [0, 1].map(|a| {
            let padding = floats("a padding", &[self.padding[a], 2]);
            let padded = self.size[1 + a].saturating_add(padding);
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
        assert_eq!(
            self.input.len(),
            floats("an input", &[n, c_in, h, w]),
            "elements of the input"
        );
        assert_eq!(to.dims(), self.out_dims(), "shape of the output");
        let out_h = to.dims()[2];
        let chunk = if self.max_pool { 7 } else { 8 };
        let chunks = out_h.div_ceil(chunk);
        let image = to.image_stride();
        let (block, row) = (to.block_stride(), to.row_stride());
        let origin = Shared(to.origin_mut_ptr());
        parallel::for_each(n * chunks, |job| {
            let (i, first) = (job / chunks, job % chunks * chunk);
            let rows = first..(first + chunk).min(out_h);
            SCRATCH.with_borrow_mut(|scratch| {
                // SAFETY: these rows of image `i`, of all blocks, are this
                // job's; the shape of the map was checked.
                unsafe {
                    let at = origin.get().add(i * image);
                    self.compute(isa, i, rows, (Rows { at, row }, block), scratch);
                }
            });
        });
    }

    /// The `rows` of the output of image `i`.
    ///
    /// # Safety
    ///
    /// `to` must be the rows of that image, their blocks `block` floats apart,
    /// and those rows nobody else's.
    unsafe fn compute(
        &self,
        isa: Isa,
        i: usize,
        rows: Range<usize>,
        (to, block): (Rows<*mut f32>, usize),
        scratch: &mut Scratch,
    ) {
        let [conv_h, conv_w] = self.conv_size();
        // Rows of the convolution that are needed.
        let needed = if self.max_pool {
            (2 * rows.start).saturating_sub(1)..(2 * rows.end).min(conv_h)
        } else {
            rows.clone()
        };
        let begin = needed.start;
        let patch = self.copy_rows(i, needed, &mut scratch.input);
        let ring = conv_w * BLOCK;
        scratch.rows.resize(3 * 2 * ring);
        let lines = scratch.rows.as_mut_ptr();
        for channel in (0..self.weights.c_out).step_by(PANEL) {
            let panel = Panel {
                channel,
                blocks: (self.weights.c_out - channel)
                    .div_ceil(BLOCK)
                    .min(PANEL / BLOCK),
            };
            // SAFETY: these rows of this panel are this job's.
            let out = |y: usize| unsafe { to.at.add(channel / BLOCK * block + y * to.row) };
            if !self.max_pool {
                for y in rows.clone() {
                    // SAFETY: as above.
                    unsafe { self.row(isa, &patch, &panel, y - begin, (out(y), block)) };
                }
                continue;
            }
            let mut done = begin;
            for y in rows.clone() {
                let under = (2 * y).saturating_sub(1)..(2 * y + 2).min(conv_h);
                while done < under.end {
                    // SAFETY: the ring holds three rows of two blocks.
                    unsafe {
                        let line = (lines.add(done % 3 * ring), 3 * ring);
                        self.row(isa, &patch, &panel, done - begin, line);
                    }
                    done += 1;
                }
                let middle = (under.start + 1).min(under.end - 1);
                for b in 0..panel.blocks {
                    // SAFETY: the last three rows are in the ring; row `y` of
                    // block `b` of the panel is this job's.
                    unsafe {
                        let line = |y: usize| lines.add((b * 3 + y % 3) * ring).cast_const();
                        let sources = [under.start, middle, under.end - 1].map(line);
                        max_row(isa, &sources, conv_w, out(y).add(b * block));
                    }
                }
            }
        }
    }

    /// Copies the input rows under the rows `of` the convolution's result,
    /// padded with zeros.
    fn copy_rows<'a>(&self, i: usize, of: Range<usize>, to: &'a mut Buffer) -> Patch<'a> {
        let [_, h, w] = self.size;
        let [kh, kw] = self.weights.size;
        let [conv_h, conv_w] = self.conv_size();
        debug_assert!(of.start < of.end && of.end <= conv_h);
        let rows = (of.len() - 1) * self.stride + kh;
        let width = (conv_w - 1) * self.stride + kw;
        let c_in = self.weights.c_in;
        let size = floats("the rows under a job", &[c_in, rows, width]);
        assert!(u32::try_from(size).is_ok(), "rows of {size} floats");
        to.resize(size);
        let patch = to.as_mut_slice();
        let left = self.padding[1];
        let count = w.min(width - left.min(width));
        for c in 0..c_in {
            for r in 0..rows {
                let line = &mut patch[(c * rows + r) * width..][..width];
                let y = (of.start * self.stride + r).wrapping_sub(self.padding[0]);
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
    /// `out` must be writable for a row of each block of the panel,
    /// `out_block` floats apart.
    unsafe fn row(
        &self,
        isa: Isa,
        patch: &Patch<'_>,
        panel: &Panel,
        y: usize,
        (out, out_block): (*mut f32, usize),
    ) {
        let [kh, kw] = self.weights.size;
        let [_, conv_w] = self.conv_size();
        let c_in = self.weights.c_in;
        let width = panel.blocks * BLOCK;
        let shape = TileShape::new(isa, width);
        let segments = conv_w.div_ceil(shape.pixels);
        let (base, longer) = (conv_w / segments, conv_w % segments);
        let weights = &self.weights.data.as_slice()[panel.channel * c_in * kh * kw..];
        let bias = &self.weights.bias.as_slice()[panel.channel..];
        for channel in (0..width).step_by(shape.channels) {
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
                    part: Part::WHOLE,
                };
                // SAFETY: the patch was cut for these rows; the output is the
                // caller's.
                unsafe { tile_fn(isa, width, true, 1, pixels)(&tile) };
                x += pixels;
            }
        }
    }
}

/// Output channels that are computed together.
struct Panel {
    /// The first one.
    channel: usize,
    blocks: usize,
}

/// Padded input rows of a job.
struct Patch<'a> {
    data: &'a [f32],
    width: usize,
    /// Of each channel and kernel row.
    offsets: Vec<u32>,
}
