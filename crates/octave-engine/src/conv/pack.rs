//! Weights in the order in which the kernel reads them.
//!
//! A *panel* holds up to 32 output channels. Inside a panel come the *steps*:
//! one per source, block of 16 input channels and kernel tap, each a matrix of
//! 16 input channels × panel width. So the kernel reads weights strictly in
//! sequence, and one vector of them serves a whole tile of pixels.

use std::ops::Range;

use super::copy::{pack_block, unpack_panel};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared};
use crate::isa::Isa;
use crate::parallel;

/// Output channels of a full panel.
pub(crate) const PANEL: usize = 32;

/// Width of the panels of a layer. Small groups get narrow ones, which see
/// fewer channels of other groups, whose weights are zeros.
pub fn panel_width(c_out: usize, groups: usize) -> usize {
    if groups > 1 && c_out / groups < PANEL {
        BLOCK
    } else {
        PANEL
    }
}

/// The kernel of one source of a product.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Weights `[c_out, c_in / groups, kh, kw]`, contiguous; where
    /// `transposed`, those of the layer whose gradient is computed,
    /// `[c_in, c_out / groups, kh, kw]`.
    pub weight: &'a [f32],
    /// Channels that the product reads.
    pub c_in: usize,
    /// `[kh, kw]`.
    pub size: [usize; 2],
    /// Distance between taps, per axis.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Swap the roles of input and output channels and reverse the taps:
    /// the kernel of the gradient with respect to the input.
    pub transposed: bool,
}

impl<'a> Kernel<'a> {
    /// A square kernel of `k`×`k`, no dilation, one group.
    pub fn new(weight: &'a [f32], c_in: usize, k: usize) -> Self {
        Self {
            weight,
            c_in,
            size: [k, k],
            dilation: [1, 1],
            groups: 1,
            transposed: false,
        }
    }
}

/// One matrix of a panel: 16 input channels × panel width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub block: usize,
    pub tap: [usize; 2],
}

/// Where a panel lies.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// First output channel.
    pub first: usize,
    /// 32 or 16.
    pub width: usize,
    /// Offset of its weights, in floats.
    pub start: usize,
    /// Steps of each source, in the list of steps.
    pub steps: Vec<Range<usize>>,
}

/// What a packed kernel remembers of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceShape {
    /// Input channels.
    pub c_in: usize,
    /// `[kh, kw]`.
    pub size: [usize; 2],
    /// Distance between taps, per axis.
    pub dilation: [usize; 2],
    /// Groups of the convolution.
    pub groups: usize,
}

/// Kernels of all sources of a product, and its bias, packed.
#[derive(Clone, Default)]
pub struct PackedWeights {
    data: Buffer,
    bias: Buffer,
    c_out: usize,
    shapes: Vec<SourceShape>,
    panels: Vec<Panel>,
    steps: Vec<Step>,
}

impl PackedWeights {
    /// Packs the kernels of a product with `c_out` output channels.
    ///
    /// # Panics
    ///
    /// If the length of a weight or of the bias does not fit.
    pub fn new(isa: Isa, c_out: usize, kernels: &[Kernel<'_>], bias: Option<&[f32]>) -> Self {
        let mut packed = Self::default();
        packed.pack(isa, c_out, kernels, bias);
        packed
    }

    /// As [`new`](Self::new), reusing the memory of `self`.
    pub fn pack(&mut self, isa: Isa, c_out: usize, kernels: &[Kernel<'_>], bias: Option<&[f32]>) {
        let groups = kernels.iter().map(|k| k.groups).max().unwrap_or(1);
        self.pack_panels(isa, c_out, panel_width(c_out, groups), kernels, bias);
    }

    /// As [`pack`](Self::pack), with panels of the given width.
    pub fn pack_panels(
        &mut self,
        isa: Isa,
        c_out: usize,
        width: usize,
        kernels: &[Kernel<'_>],
        bias: Option<&[f32]>,
    ) {
        self.plan(c_out, width, kernels);
        self.bias.resize(c_out.next_multiple_of(PANEL));
        let padded = self.bias.as_mut_slice();
        padded.fill(0.0);
        if let Some(bias) = bias {
            assert_eq!(bias.len(), c_out, "elements of the bias");
            padded[..c_out].copy_from_slice(bias);
        }
        let data = Shared(self.data.as_mut_ptr());
        let (panels, steps) = (&self.panels, &self.steps);
        // One job per panel and block of input channels of a source.
        let mut jobs = Vec::new();
        for (p, panel) in panels.iter().enumerate() {
            let mut at = panel.start;
            for (k, range) in panel.steps.iter().enumerate() {
                let taps = kernels[k].size[0] * kernels[k].size[1];
                for s in range.clone().step_by(taps) {
                    jobs.push((p, k, steps[s].block, at));
                    at += taps * BLOCK * panel.width;
                }
            }
        }
        const BATCH: usize = 8;
        parallel::for_each(jobs.len().div_ceil(BATCH), |batch| {
            for &(p, k, block, at) in jobs.iter().skip(batch * BATCH).take(BATCH) {
                let taps = kernels[k].size[0] * kernels[k].size[1];
                let len = taps * BLOCK * panels[p].width;
                // SAFETY: `plan` sized the buffer so that these matrices lie
                // inside it, and no two jobs share one.
                let to = unsafe { std::slice::from_raw_parts_mut(data.get().add(at), len) };
                pack_block(isa, &kernels[k], c_out, &panels[p], block, to);
            }
        });
    }

    /// Lists panels and steps.
    fn plan(&mut self, c_out: usize, widest: usize, kernels: &[Kernel<'_>]) {
        self.c_out = c_out;
        self.shapes.clear();
        self.panels.clear();
        self.steps.clear();
        for k in kernels {
            let taps = k.size[0] * k.size[1];
            assert!(
                k.groups > 0 && k.c_in.is_multiple_of(k.groups) && c_out.is_multiple_of(k.groups),
                "{} groups do not divide {} input and {c_out} output channels",
                k.groups,
                k.c_in
            );
            assert_eq!(
                k.weight.len(),
                c_out * k.c_in / k.groups * taps,
                "weights of {} → {c_out} channels, {} groups, {taps} taps",
                k.c_in,
                k.groups
            );
            let (size, dilation) = (k.size, k.dilation);
            self.shapes.push(SourceShape {
                c_in: k.c_in,
                size,
                dilation,
                groups: k.groups,
            });
        }
        let mut at = 0;
        for first in (0..c_out).step_by(widest) {
            let width = (c_out - first).next_multiple_of(BLOCK).min(widest);
            let last = (first + width).min(c_out);
            let mut ranges = Vec::with_capacity(kernels.len());
            let shared = first > 0 && kernels.iter().all(|k| k.groups == 1);
            if shared {
                ranges.clone_from(&self.panels[0].steps);
            } else {
                for k in kernels {
                    let begin = self.steps.len();
                    // Input channels of the groups that this panel touches.
                    let (ins, outs) = (k.c_in / k.groups, c_out / k.groups);
                    let from = first / outs * ins;
                    let to = last.div_ceil(outs) * ins;
                    for block in from / BLOCK..to.div_ceil(BLOCK) {
                        for y in 0..k.size[0] {
                            for x in 0..k.size[1] {
                                self.steps.push(Step { block, tap: [y, x] });
                            }
                        }
                    }
                    ranges.push(begin..self.steps.len());
                }
            }
            let count: usize = ranges.iter().map(Range::len).sum();
            self.panels.push(Panel {
                first,
                width,
                start: at,
                steps: ranges,
            });
            at += count * BLOCK * width;
        }
        self.data.resize(at);
    }

    /// Makes the panels and steps of `kernel`, with zeros in place of weights:
    /// a place to sum their gradient.
    pub(crate) fn zeros(&mut self, c_out: usize, kernel: &Kernel<'_>) {
        self.plan(c_out, panel_width(c_out, kernel.groups), &[*kernel]);
        self.data.as_mut_slice().fill(0.0);
    }

    /// Copies the packed weights of a single kernel, not transposed, back to
    /// `[c_out, c_in / groups, kh, kw]`.
    pub(crate) fn unpack(&self, isa: Isa, weight: &mut [f32]) {
        let [shape] = self.shapes[..] else {
            panic!("one kernel, not {}", self.shapes.len())
        };
        let taps = shape.size[0] * shape.size[1];
        let ins = shape.c_in / shape.groups;
        assert_eq!(
            weight.len(),
            self.c_out * ins * taps,
            "elements of the weight"
        );
        let to = Shared(weight.as_mut_ptr());
        parallel::for_each(self.panels.len(), |p| {
            let panel = &self.panels[p];
            let rows = (self.c_out - panel.first).min(panel.width);
            // SAFETY: the output channels of a panel are this job's alone.
            let to = unsafe {
                let first = to.get().add(panel.first * ins * taps);
                std::slice::from_raw_parts_mut(first, rows * ins * taps)
            };
            unpack_panel(isa, self, &shape, panel, to);
        });
    }

    pub(crate) fn data_mut_ptr(&mut self) -> *mut f32 {
        self.data.as_mut_ptr()
    }

    /// Output channels.
    pub fn c_out(&self) -> usize {
        self.c_out
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        self.data.as_slice().len() * 4
    }

    /// What is remembered of each source.
    pub fn shapes(&self) -> &[SourceShape] {
        &self.shapes
    }

    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn data(&self) -> &[f32] {
        self.data.as_slice()
    }

    /// The bias, padded with zeros to full panels.
    pub(crate) fn bias(&self) -> &[f32] {
        self.bias.as_slice()
    }
}
