//! Which parameters are decayed, slowed down or held still.

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLrScheduler,
    module::{Module, ModuleVisitor, Param, ParamGroup, ParamId},
    optim::ModuleOptimizer,
    tensor::Tensor,
};

use crate::{
    model::{ModelError, OctResNet, OctResNetConfig},
    train::{Recipe, Schedule},
};

/// Whether `name` is the part of a network at `part`, or lies in it.
fn lies_in(name: &str, part: &str) -> bool {
    let rest = name.strip_prefix(part);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The name of every part of a network: `layer1`, `layer1.0`, `layer1.0.conv1` …
pub(crate) fn layer_names(config: &OctResNetConfig) -> Result<Vec<String>, ModelError> {
    let mut names = Vec::new();
    for layer in config.layer_costs([64, 64])? {
        let dots = layer.name.match_indices('.').map(|(dot, _)| dot);
        let ends = dots.chain([layer.name.len()]);
        names.extend(ends.map(|end| layer.name[..end].to_string()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Holds the parts in `freeze` still: no gradients, and norms that use their statistics as they
/// are.
pub(crate) fn freeze(model: OctResNet, parts: &[String]) -> OctResNet {
    parts.iter().fold(model, |model, part| {
        // The name is one of the network's own; a dot in it stands for any character at worst.
        match ParamGroup::from_regex(format!(r"^{}(\.|$)", part.replace('.', r"\."))) {
            Ok(group) => model.freeze_group(group),
            Err(_) => model,
        }
    })
}

/// The optimizer, which decays no norm and no bias unless the recipe says so.
pub(crate) fn optimizer(recipe: &Recipe, model: &OctResNet) -> ModuleOptimizer {
    if recipe.decay_norms {
        return recipe.optimizer.init(None);
    }
    // Norms and biases are the parameters of one axis.
    let ids = ids(model, |_, rank| rank == 1);
    recipe.optimizer.init(Some(ParamGroup::from_ids(ids)))
}

/// The learning rates from update `step` on: the schedule, times a factor in the parts that have
/// one. Of several that contain a parameter, the longest name counts.
pub(crate) fn schedule(
    recipe: &Recipe,
    model: &OctResNet,
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

/// The parameters for which `wanted` holds, by path and number of axes.
fn ids(model: &OctResNet, wanted: impl Fn(&str, usize) -> bool) -> Vec<ParamId> {
    let mut ids = Ids {
        wanted,
        path: Vec::new(),
        ids: Vec::new(),
    };
    model.visit(&mut ids);
    ids.ids
}

struct Ids<F> {
    wanted: F,
    path: Vec<String>,
    ids: Vec<ParamId>,
}

impl<F: Fn(&str, usize) -> bool> ModuleVisitor for Ids<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if (self.wanted)(&self.path.join("."), D) {
            self.ids.push(param.id);
        }
    }
}
