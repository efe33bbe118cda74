//! Which parameters are decayed, slowed down or held still.

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLrScheduler,
    module::{Flag, Module, ModuleVisitor, Param, ParamGroup, ParamId},
    optim::ModuleOptimizer,
    tensor::Tensor,
};

use crate::{
    classifier::Classifier,
    paths::{Place, lies_in},
    recipe::Recipe,
    schedule::Schedule,
};

/// Holds the parts in `freeze` still: no gradients, and norms that use their statistics as they
/// are.
pub(crate) fn freeze<M: Module>(model: M, parts: &[String]) -> M {
    let ids = ids(&model, |path, _| {
        parts.iter().any(|part| lies_in(path, part))
    });
    model.freeze_group(ParamGroup::from_ids(ids))
}

/// The optimizer, which decays no norm and no bias unless the recipe says so.
pub(crate) fn optimizer<C: Classifier>(recipe: &Recipe<C>, model: &C::Network) -> ModuleOptimizer {
    if recipe.decay_norms {
        return recipe.optimizer.init(None);
    }
    // Norms and biases are the parameters of one axis.
    let ids = ids(model, |_, rank| rank == 1);
    recipe.optimizer.init(Some(ParamGroup::from_ids(ids)))
}

/// The learning rates from update `step` on: the schedule, times a factor in the parts that have
/// one. Of several that contain a parameter, the longest name counts.
pub(crate) fn schedule<C: Classifier>(
    recipe: &Recipe<C>,
    model: &C::Network,
    schedule: Schedule,
    step: usize,
) -> ModuleLrScheduler {
    let scheduler = ModuleLrScheduler::new(schedule.clone().at(step));
    let mut parts: Vec<_> = recipe.layer_lr.iter().collect();
    parts.sort_by_key(|(part, _)| part.len());
    parts
        .into_iter()
        .fold(scheduler, |scheduler, (part, &factor)| {
            let ids = ids(model, |path, _| lies_in(path, part));
            let schedule = schedule.clone().times(factor).at(step);
            scheduler.with_group(ParamGroup::from_ids(ids), schedule)
        })
}

/// The parameters for which `wanted` holds, by path and number of axes; switches have none.
fn ids(model: &impl Module, wanted: impl Fn(&str, usize) -> bool) -> Vec<ParamId> {
    let mut ids = Ids {
        wanted,
        place: Place::default(),
        ids: Vec::new(),
    };
    model.visit(&mut ids);
    ids.ids
}

struct Ids<F> {
    wanted: F,
    place: Place,
    ids: Vec<ParamId>,
}

impl<F: Fn(&str, usize) -> bool> Ids<F> {
    fn visit(&mut self, id: ParamId, rank: usize) {
        if (self.wanted)(&self.place.path(), rank) {
            self.ids.push(id);
        }
    }
}

impl<F: Fn(&str, usize) -> bool> ModuleVisitor for Ids<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visit(param.id, D);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.visit(flag.id, 0);
    }
}
