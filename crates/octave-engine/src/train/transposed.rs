//! The transposed layer: the adjoint of a convolution, with the same kernels.
//!
//! What it computes is what a convolution computes of the gradient of its input, and what goes back
//! through it is a convolution. So there is nothing new to compute here.

use octave_plan::Path;

use super::backward::{Pass, bias_grad, pooled};
use super::operands::{Gradients, LEVELS, Operands};
use super::{OctConv, Workspace};
use crate::isa::Isa;

impl OctConv {
    /// Whether [`transpose`](Self::transpose) computes the adjoint of this layer: it is not depthwise,
    /// has stride 1 or pools, and a path leads from every level of its input and to every one of its
    /// output.
    pub fn transposes(&self) -> bool {
        let plan = self.plan();
        let all = |channels: &[usize], end: fn(&Path) -> usize| {
            let mut levels = (0..channels.len()).filter(|&level| channels[level] > 0);
            levels.all(|level| plan.paths.iter().any(|path| end(path) == level))
        };
        let ends = all(&plan.input, |path| path.from) && all(&plan.output, |path| path.to);
        !plan.is_depthwise() && self.stride() == 1 && ends
    }

    /// Computes the adjoint of the layer: from maps of its outputs, the `inputs` of the operands, to
    /// maps of its inputs, plus the biases, which are those of the maps that are computed.
    ///
    /// # Panics
    ///
    /// If the layer is not one that [`transposes`](Self::transposes), or if lengths do not fit.
    pub fn transpose(
        &self,
        isa: Isa,
        operands: &Operands<'_>,
        to: [Option<&mut [f32]>; LEVELS],
        ws: &mut Workspace,
    ) {
        assert!(self.transposes(), "the adjoint of {:?}", self.plan());
        self.check_kernels(&operands.kernels);
        self.check_outputs(&operands.inputs);
        // A pixel of the bias is not to be shared out among those that it is spread over.
        let spread = |level| *pooled(self, level).start() > 0;
        let mut biases = operands.biases;
        let mut later = [None; LEVELS];
        for level in 0..LEVELS {
            if spread(level) {
                later[level] = biases[level].take();
            }
        }
        let mut pass = Pass {
            conv: self,
            operands,
            outputs: operands.inputs,
            inputs: to,
            kernels: self.plan().paths.iter().map(|_| None).collect(),
            biases,
        };
        pass.run(isa, ws);
        for (y, bias) in pass.inputs.into_iter().zip(later) {
            if let (Some(y), Some(bias)) = (y, bias) {
                add_bias(y, self.images(), bias);
            }
        }
    }

    /// Computes all wanted gradients of [`transpose`](Self::transpose), given those of the maps that it
    /// computes, by level.
    ///
    /// # Panics
    ///
    /// If one is missing, or if lengths do not fit.
    pub fn transpose_backward(
        &self,
        isa: Isa,
        operands: &Operands<'_>,
        results: [Option<&[f32]>; LEVELS],
        mut to: Gradients<'_>,
        ws: &mut Workspace,
    ) {
        for (dy, db) in results.iter().zip(&mut to.biases) {
            if let (Some(dy), Some(db)) = (dy, db.take()) {
                bias_grad(dy, self.images(), db);
            }
        }
        let adjoint = Operands {
            inputs: results,
            kernels: operands.kernels.clone(),
            biases: [None; LEVELS],
        };
        if to.kernels.iter().any(Option::is_some) {
            let kernels = Gradients {
                kernels: to.kernels,
                ..Gradients::default()
            };
            self.backward(isa, &adjoint, operands.inputs, kernels, ws);
        }
        if to.inputs.iter().any(Option::is_some) {
            self.forward(isa, &adjoint, to.inputs, ws);
        }
    }
}

fn add_bias(y: &mut [f32], images: usize, bias: &[f32]) {
    let plane = y.len() / (images * bias.len()).max(1);
    for (plane, bias) in y.chunks_mut(plane.max(1)).zip(bias.iter().cycle()) {
        plane.iter_mut().for_each(|y| *y += bias);
    }
}
