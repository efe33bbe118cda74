//! Gradients of an octave convolution.
//!
//! The gradient of an input is again a sum of products with fine and coarse
//! parts, so the kernels of the forward pass compute it, with transposed
//! kernels; the spreading is their epilogue. Input gradients and weight
//! gradients of a few images share one parallel region.

use std::ops::{Range, RangeInclusive};

use super::forward::wanted;
use super::intake::{Intake, intake};
use super::operands::{Gradients, HALVINGS, LEVELS, Operands, images_of};
use super::weight_grad::{Reading, WeightGrad};
use super::{OctConv, Workspace, depthwise, strided};
use crate::BLOCK;
use crate::conv::{Coarse, Kernel, Output, PackedWeights, Product, Source, panel_width, run_with};
use crate::isa::Isa;
use crate::map::BlockedMap;

impl OctConv {
    /// Computes all wanted gradients, given those of the outputs by level. An
    /// output without one is left out, with the paths that lead to it: their
    /// gradients are not written.
    ///
    /// # Panics
    ///
    /// If a tensor that a wanted gradient needs is missing, or lengths do not
    /// fit.
    pub fn backward(
        &self,
        isa: Isa,
        operands: &Operands<'_>,
        outputs: [Option<&[f32]>; LEVELS],
        mut to: Gradients<'_>,
        ws: &mut Workspace,
    ) {
        self.check(operands);
        self.check_outputs(&outputs);
        for (level, dy) in outputs.iter().enumerate() {
            let Some(dy) = dy else { continue };
            if let Some(db) = to.biases[level].take() {
                assert_eq!(db.len(), self.output(level)[0], "gradient of bias {level}");
                bias_grad(dy, self.images(), db);
            }
        }
        if self.plan().is_depthwise() {
            depthwise::backward(isa, self, operands, outputs, &mut to);
            return;
        }
        let (conv, kept) = self.only(outputs.map(|dy| dy.is_some()));
        if kept.is_empty() {
            return;
        }
        to.kernels.resize_with(self.plan().paths.len(), || None);
        let kernels = kept.iter().map(|&i| operands.kernels[i]).collect();
        let mut pass = Pass {
            conv: &conv,
            operands: &Operands {
                inputs: operands.inputs,
                kernels,
                biases: [None; LEVELS],
            },
            outputs,
            inputs: to.inputs,
            biases: [None; LEVELS],
            kernels: kept.iter().map(|&i| to.kernels[i].take()).collect(),
        };
        if strided::is_stem(&conv) && pass.inputs[0].is_none() {
            if let Some(dw) = pass.kernels[0].take() {
                let dy = outputs[0].expect("the output of a stem is high");
                strided::stem_backward(isa, &conv, operands.input(0), dy, dw, &mut ws.stem);
            }
            return;
        }
        pass.run(isa, ws);
    }

    /// Checks the lengths of the gradients of the outputs.
    pub(super) fn check_outputs(&self, outputs: &[Option<&[f32]>; LEVELS]) {
        for (level, dy) in outputs.iter().enumerate() {
            let Some(dy) = dy else { continue };
            let floats: usize = self.output(level).into_iter().product();
            assert_eq!(
                dy.len(),
                self.images() * floats,
                "gradient of output {level}"
            );
        }
    }
}

/// A backward pass over the paths that are reached.
pub(super) struct Pass<'a> {
    pub conv: &'a OctConv,
    pub operands: &'a Operands<'a>,
    /// Gradients of the outputs.
    pub outputs: [Option<&'a [f32]>; LEVELS],
    /// Where the gradients of the inputs and of the kernels go.
    pub inputs: [Option<&'a mut [f32]>; LEVELS],
    pub kernels: Vec<Option<&'a mut [f32]>>,
    /// Added to the sums behind the gradients of the inputs, before these are spread.
    pub biases: [Option<&'a [f32]>; LEVELS],
}

impl Pass<'_> {
    pub(super) fn run(&mut self, isa: Isa, ws: &mut Workspace) {
        let conv = self.conv;
        for from in (0..LEVELS).filter(|&from| self.inputs[from].is_some()) {
            self.pack(isa, from, ws);
        }
        let paths = &conv.plan().paths;
        ws.grads
            .resize_with(paths.len().max(ws.grads.len()), Default::default);
        // Inputs are only needed for weight gradients.
        let wanted: Vec<usize> = (0..paths.len())
            .filter(|&i| self.kernels[i].is_some())
            .collect();
        for &i in &wanted {
            let kernel = self.kernel(i, false);
            ws.grads[i].zeros(isa, conv.plan().output[paths[i].to], &kernel);
        }
        for range in conv.batches(conv.input_floats() + conv.output_floats()) {
            let mut tensors = conv.intake_inputs(self.operands, &wanted, &mut ws.x);
            tensors.extend(self.intake_outputs(&mut ws.dy));
            intake(isa, tensors, &range);
            self.batch(isa, &wanted, &range, ws);
        }
        for (grad, dw) in ws.grads.iter().zip(&mut self.kernels) {
            if let Some(dw) = dw {
                grad.unpack(isa, dw);
            }
        }
    }

    /// Computes the input gradients of a range of images, and adds to those of
    /// the `wanted` kernels.
    fn batch(&mut self, isa: Isa, wanted: &[usize], range: &Range<usize>, ws: &mut Workspace) {
        let (conv, operands) = (self.conv, self.operands);
        let Workspace {
            x,
            dy,
            packed,
            grads,
            stem,
        } = ws;
        let packed = &*packed;
        let mut grads: Vec<_> = grads.iter_mut().map(Some).collect();
        let grads: Vec<_> = wanted
            .iter()
            .map(|&i| {
                let path = &conv.plan().paths[i];
                let x = &x[path.from][path.pool + path.down];
                let reading = Reading {
                    stride: path.stride,
                    padding: conv.padding(),
                };
                let sums = grads[i].take().expect("each kernel comes once");
                WeightGrad::new(sums, x, reading, &dy[path.to][path.up])
            })
            .collect();
        let jobs: usize = grads.iter().map(WeightGrad::jobs).sum();
        let weight_job = |mut job: usize| {
            for grad in &grads {
                if job < grad.jobs() {
                    // SAFETY: every job of a region comes once.
                    return unsafe { grad.run(isa, job) };
                }
                job -= grad.jobs();
            }
        };
        let mut parts = self.inputs.each_mut().map(|dx| {
            let dx = dx.as_deref_mut()?;
            let at = images_of(dx, conv.images(), range);
            Some(&mut dx[at])
        });
        if conv.stride() == 2
            && let Some(dx) = parts[0].take()
        {
            let input = strided::InputGrad {
                weight: operands.kernels[0],
                dy: &dy[0][0],
                dx,
            };
            strided::input_grad(isa, conv, input, stem, (jobs, weight_job));
            return;
        }
        let parts = parts.into_iter().enumerate();
        let products = parts.filter_map(|(from, dx)| {
            let dx = dx?;
            Some(product(conv, packed, dy, from, range.len(), dx))
        });
        run_with(isa, products.collect(), jobs, weight_job);
    }

    fn kernel(&self, path: usize, transposed: bool) -> Kernel<'_> {
        let plan = self.conv.plan();
        let reads = match transposed {
            true => plan.output[plan.paths[path].to],
            false => plan.input[plan.paths[path].from],
        };
        self.conv
            .kernel(self.operands.kernels[path], reads, transposed)
    }

    /// Packs the transposed kernels of the paths that read a level.
    fn pack(&self, isa: Isa, from: usize, ws: &mut Workspace) {
        if self.conv.stride() == 2 {
            return;
        }
        let plan = self.conv.plan();
        let channels = plan.input[from];
        let width = panel_width(isa, channels, plan.groups);
        let depths = pooled(self.conv, from);
        for pooled in depths.clone() {
            let paths = self
                .conv
                .paths(|path| (path.from, path.pool + path.down) == (from, pooled));
            let kernels: Vec<_> = paths
                .into_iter()
                .map(|(i, _)| self.kernel(i, true))
                .collect();
            let bias = self.biases[from].filter(|_| pooled == *depths.start());
            ws.packed[from][pooled].pack_panels(isa, channels, width, &kernels, bias);
        }
    }

    /// The output gradients to bring in, in the forms that the paths read.
    fn intake_outputs<'b>(&self, maps: &'b mut [[BlockedMap; HALVINGS]; LEVELS]) -> Vec<Intake<'b>>
    where
        Self: 'b,
    {
        let conv = self.conv;
        let [kernel_height, kernel_width] = conv.plan().kernel_size;
        let pad = match conv.stride() {
            1 => conv.border(),
            _ => conv.border().max(kernel_height).max(kernel_width),
        };
        let mut tensors = Vec::with_capacity(LEVELS);
        for (level, maps) in maps.iter_mut().enumerate() {
            let into = || conv.plan().into_group(level);
            if let (Some(from), true) = (self.outputs[level], into().next().is_some()) {
                tensors.push(Intake {
                    from,
                    dims: conv.output(level),
                    pad,
                    maps: wanted(maps, |n| into().any(|path| path.up == n)),
                    sum: true,
                });
            }
        }
        tensors
    }
}

/// How often the maps are pooled that the paths from a level read. What is pooled
/// more often is summed at that resolution first.
pub(super) fn pooled(conv: &OctConv, from: usize) -> RangeInclusive<usize> {
    let paths = conv.paths(|path| path.from == from).into_iter();
    let pooled = paths.map(|(_, path)| path.pool + path.down);
    let most = pooled.clone().max().unwrap_or(0);
    pooled.min().unwrap_or(0).min(1)..=most
}

/// The gradient of `n` images of the input at a level.
fn product<'a>(
    conv: &OctConv,
    packed: &'a [[PackedWeights; HALVINGS]; LEVELS],
    dy: &'a [[BlockedMap; HALVINGS]; LEVELS],
    from: usize,
    n: usize,
    dx: &'a mut [f32],
) -> Product<'a> {
    let (least, most) = pooled(conv, from).into_inner();
    let sources = |pooled: usize| -> Vec<Source<'a>> {
        let paths = conv.paths(|path| (path.from, path.pool + path.down) == (from, pooled));
        let source = |(_, path): (usize, &octave_plan::Path)| Source {
            padding: conv.back_padding(),
            ..Source::new(&dy[path.to][path.up], 0)
        };
        paths.into_iter().map(source).collect()
    };
    let [_, h, w] = conv.input(from);
    let (size, output) = match least {
        0 => ([n, h, w], Output::Planar(dx)),
        _ => (
            [n, h.div_ceil(2), w.div_ceil(2)],
            Output::Unpooled(dx, [h, w]),
        ),
    };
    let packed = &packed[from];
    let mut product = Product::new(&packed[least], sources(least), size, output);
    let coarse = (least + 1..=most).map(|pooled| Coarse {
        weights: &packed[pooled],
        sources: sources(pooled),
        spread: true,
    });
    product.coarse = coarse.collect();
    product
}

/// `db[c] = Σ dy[n][c][pixel]`.
pub(super) fn bias_grad(dy: &[f32], images: usize, db: &mut [f32]) {
    let channels = db.len();
    let plane = dy.len() / (images * channels).max(1);
    for (c, out) in db.iter_mut().enumerate() {
        let mut total = 0.0f64;
        for i in 0..images {
            let at = (i * channels + c) * plane;
            let mut lanes = [0.0f32; BLOCK];
            let chunks = dy[at..at + plane].chunks_exact(BLOCK);
            let rest = chunks.remainder();
            for chunk in chunks {
                for (l, v) in lanes.iter_mut().zip(chunk) {
                    *l += v;
                }
            }
            total += lanes.iter().chain(rest).map(|v| f64::from(*v)).sum::<f64>();
        }
        *out = total as f32;
    }
}
