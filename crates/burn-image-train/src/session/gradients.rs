use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{GradientsAccumulator, GradientsParams},
    tensor::Tensor,
};

use super::team::Team;
use crate::{classifier::Classifier, error::TrainError, tensors::host};

/// The gradients of one update: the mean over some batches, clipped. As long as they are gathered,
/// every device keeps those of its parts of the batches.
pub(super) struct Gradients<C: Classifier> {
    sums: Vec<GradientsAccumulator<C::Network>>,
    batches: usize,
}

impl<C: Classifier> Gradients<C> {
    /// No gradients yet, of so many devices.
    pub(super) fn new(devices: usize) -> Self {
        Self {
            sums: (0..devices).map(|_| GradientsAccumulator::new()).collect(),
            batches: 0,
        }
    }

    /// Takes in the gradients of one batch, of which each device has its share.
    pub(super) fn add(&mut self, model: &C::Network, gradients: Vec<GradientsParams>) {
        for (sum, gradients) in self.sums.iter_mut().zip(gradients) {
            sum.accumulate(model, gradients);
        }
        self.batches += 1;
    }

    /// The mean of what was added, no longer than `clip_norm`, for each device that makes the
    /// step; none if nothing was added. Begins anew.
    pub(super) fn take(
        &mut self,
        model: &C::Network,
        team: &Team<C>,
        clip_norm: Option<f64>,
    ) -> Result<Option<Vec<GradientsParams>>, TrainError> {
        let batches = std::mem::take(&mut self.batches);
        if batches == 0 {
            return Ok(None);
        }
        let sums = self.sums.iter_mut().map(GradientsAccumulator::grads);
        let mut gradients = team.sum(model, sums.collect());
        let mut factor = 1.0 / batches as f64;
        if let Some(longest) = clip_norm {
            let norm = norm(model, &gradients[0])? * factor;
            if norm > longest {
                factor *= longest / norm;
            }
        }
        if factor != 1.0 {
            for gradients in &mut gradients {
                model.visit(&mut Scale { factor, gradients });
            }
        }
        Ok(Some(gradients))
    }
}

/// Length of all gradients as one vector.
fn norm(model: &impl Module, gradients: &GradientsParams) -> Result<f64, TrainError> {
    let mut squares = Squares {
        gradients,
        sum: Vec::new(),
    };
    model.visit(&mut squares);
    if squares.sum.is_empty() {
        return Ok(0.0);
    }
    let squares = host(Tensor::cat(squares.sum, 0))?;
    Ok(squares.into_iter().map(f64::from).sum::<f64>().sqrt())
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum.push(gradient.powf_scalar(2.0).sum());
        }
    }
}

struct Scale<'a> {
    factor: f64,
    gradients: &'a mut GradientsParams,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}
