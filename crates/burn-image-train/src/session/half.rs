//! Steps in half precision: copies of the weights, and gradients back in 32 bits.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{FloatDType, Tensor},
};

use crate::{
    classifier::Classifier,
    error::TrainError,
    paths::Place,
    tensors::{full, host},
};

/// The network in `half` precision, but for what its kind keeps in 32 bits: that is shared with
/// `model`, running statistics too.
pub(super) fn halved<C: Classifier>(model: &C::Network, half: FloatDType) -> C::Network {
    model.clone().map(&mut Halve {
        half,
        place: Place::default(),
        stays: C::stays_in_32_bits,
    })
}

struct Halve {
    half: FloatDType,
    place: Place,
    stays: fn(&str) -> bool,
}

impl ModuleMapper for Halve {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if (self.stays)(&self.place.path()) {
            return param;
        }
        param.map(|tensor| {
            let learns = tensor.is_require_grad();
            let halved = tensor.without_autodiff().cast(self.half);
            Tensor::from_inner(halved).set_require_grad(learns)
        })
    }
}

/// The gradients of a halved network for `model`: in 32 bits, and divided by `scale`.
pub(super) fn widened(
    model: &impl Module,
    gradients: GradientsParams,
    scale: f64,
) -> GradientsParams {
    let mut widen = Widen { gradients, scale };
    model.visit(&mut widen);
    widen.gradients
}

struct Widen {
    gradients: GradientsParams,
    scale: f64,
}

impl ModuleVisitor for Widen {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients
                .register(param.id, full(gradient) / self.scale);
        }
    }
}

/// Whether all gradients, of each device, are numbers.
pub(super) fn all_finite(
    model: &impl Module,
    gradients: &[GradientsParams],
) -> Result<bool, TrainError> {
    struct Sums<'a>(&'a GradientsParams, Vec<Tensor<1>>);

    impl ModuleVisitor for Sums<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                // Times zero, so that no sum of numbers is too large.
                self.1.push((gradient * 0.0).sum());
            }
        }
    }

    for gradients in gradients {
        let mut sums = Sums(gradients, Vec::new());
        model.visit(&mut sums);
        if !sums.1.is_empty() && !host(Tensor::cat(sums.1, 0))?.iter().all(|s| s.is_finite()) {
            return Ok(false);
        }
    }
    Ok(true)
}
