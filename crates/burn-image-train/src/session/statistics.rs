use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::Tensor,
};

use crate::paths::Place;

/// Running means and variances of all norms, in the network's order.
pub(super) struct Statistics(Vec<Tensor<1>>);

impl Statistics {
    /// Those of a network.
    pub(super) fn of(model: &impl Module) -> Self {
        let mut collect = Collect(Place::default(), Vec::new());
        // Burn keeps the newest aside until this.
        model.valid().visit(&mut collect);
        Self(collect.1)
    }

    /// The mean of these and others by the others' shares; the rest is these one's share. Equal
    /// ones stay the same to the bit.
    pub(super) fn mean(&self, others: impl Iterator<Item = (Self, f64)>) -> Self {
        let mut mean = self.0.clone();
        for (other, share) in others {
            for ((mean, own), other) in mean.iter_mut().zip(&self.0).zip(other.0) {
                let difference = other.to_device(&own.device()) - own.clone();
                *mean = mean.clone() + difference * share;
            }
        }
        Self(mean)
    }

    /// The network with these instead of its own.
    pub(super) fn put_into<M: Module>(&self, model: M) -> M {
        model.map(&mut Put(Place::default(), self.0.iter()))
    }
}

struct Collect(Place, Vec<Tensor<1>>);

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.0.is_statistic() {
            self.1.push(param.val().reshape([-1]));
        }
    }
}

struct Put<'a>(Place, std::slice::Iter<'a, Tensor<1>>);

impl ModuleMapper for Put<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.0.is_statistic() {
            return param;
        }
        let Some(statistic) = self.1.next() else {
            return param;
        };
        param.map(|old| {
            let new = statistic.clone().reshape(old.dims());
            let new = new.to_device(&old.device());
            match old.is_autodiff() {
                true => Tensor::from_inner(new),
                false => new,
            }
        })
    }
}
