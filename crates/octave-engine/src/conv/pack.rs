//! Weights in the order in which the kernel reads them; see
//! [`panel`](super::panel).

use std::ops::Range;

use super::copy::{pack_block, unpack_panel};
use super::panel::{Kernel, PANEL, Panel, SourceShape, Step, panel_width};
use crate::BLOCK;
use crate::buffer::{Buffer, Shared, floats};
use crate::isa::Isa;
use crate::parallel;

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
        self.pack_panels(isa, c_out, panel_width(isa, c_out, groups), kernels, bias);
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
        self.shapes.extend(kernels.iter().map(|k| k.check(c_out)));
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
            floats(
                "packed weights",
                &[count, c_out.div_ceil(widest), BLOCK, widest],
            );
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
    pub(crate) fn zeros(&mut self, isa: Isa, c_out: usize, kernel: &Kernel<'_>) {
        self.plan(c_out, panel_width(isa, c_out, kernel.groups), &[*kernel]);
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
            let steps = &self.steps[panel.steps[0].clone()];
            let from = &self.data.as_slice()[panel.start..];
            unpack_panel(isa, self.c_out, &shape, panel, (steps, from), to);
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
