use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

/// Exponential moving average of the weights and of the norms' statistics.
///
/// After update `n` (from 1), `average ← d · average + (1 − d) · weights` with
/// `d = min(decay, n / (n + 9))`: the first averages would else be mostly the random start.
#[derive(Debug, Clone)]
pub(crate) struct Ema<M> {
    decay: f64,
    model: M,
}

impl<M: Module> Ema<M> {
    /// An average that begins with `model`, which has no gradients.
    pub(crate) fn new(decay: f64, model: M) -> Self {
        Self { decay, model }
    }

    /// The averaged network.
    pub(crate) fn model(&self) -> &M {
        &self.model
    }

    /// Takes in the weights after update `number`, counted from 1.
    pub(super) fn update(&mut self, weights: &M, number: usize) {
        let number = number as f64;
        let mut tensors = Tensors(GradientsParams::new());
        weights.visit(&mut tensors);
        // A copy of its own: mapping writes the norms' statistics in place.
        let mut average = Average {
            decay: self.decay.min(number / (number + 9.0)),
            weights: tensors.0,
            ids: 0,
        };
        self.model = self.model.valid().map(&mut average);
    }
}

/// Tensors of any rank by their place in the network. What Burn calls gradients is such a
/// container; ids will not do, since those of statistics change when a network is loaded.
struct Tensors(GradientsParams);

impl ModuleVisitor for Tensors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let place = self.0.len() as u64;
        self.0.register(place.into(), param.val());
    }
}

struct Average {
    decay: f64,
    weights: GradientsParams,
    ids: u64,
}

impl ModuleMapper for Average {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = self.ids;
        self.ids += 1;
        match self.weights.remove::<D>(place.into()) {
            // In this form a frozen weight stays as it is to the last bit.
            Some(weights) => {
                param.map(|average| average.clone() + (weights - average) * (1.0 - self.decay))
            }
            None => param,
        }
    }
}
