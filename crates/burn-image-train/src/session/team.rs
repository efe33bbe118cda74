//! Several devices that train as one.
//!
//! Each batch is cut into as many parts as there are devices. The loss of a part counts by its share
//! of the batch, so the sum of the devices' gradients is the gradient of the whole batch. One thread
//! queues the parts one after another, and the devices compute them at the same time.

use burn::{
    lr_scheduler::module_lr_scheduler::ModuleLearningRate,
    module::{Module, ModuleVisitor, Param},
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor},
    train::TrainOutput,
};
use rand::Rng;

use super::{
    collective::all_reduce,
    half::{halved, widened},
    statistics::Statistics,
};
use crate::{
    batch::{self, Classified, TrainBatch},
    classifier::Classifier,
    device::Strategy,
    error::TrainError,
    precision::Precision,
};

/// The devices that help the first one.
pub(super) struct Team<C: Classifier> {
    strategy: Strategy,
    members: Vec<Member<C::Network>>,
}

struct Member<M> {
    device: Device,
    model: M,
    /// Where every device makes the step.
    optimizer: Option<ModuleOptimizer>,
    /// Of the last batch.
    share: f64,
}

impl<C: Classifier> Team<C> {
    /// `devices` beside that of `model`, with the same weights.
    pub(super) fn new(
        strategy: Strategy,
        devices: &[Device],
        model: &C::Network,
        optimizer: &ModuleOptimizer,
    ) -> Self {
        let member = |device: &Device| Member {
            device: device.clone(),
            model: copy(model, device),
            optimizer: (strategy == Strategy::Ddp).then(|| optimizer.clone()),
            share: 0.0,
        };
        Self {
            strategy,
            members: devices.iter().map(member).collect(),
        }
    }

    /// Number of devices, with the first.
    pub(super) fn size(&self) -> usize {
        1 + self.members.len()
    }

    /// What a batch gives: the gradients on each device, the first device's first, and what
    /// `model`, on the first device, and the others' make of the images, on the first device.
    pub(super) fn step(
        &mut self,
        model: &C::Network,
        precision: Precision,
        batch: TrainBatch,
        rng: &mut impl Rng,
    ) -> Result<(Vec<GradientsParams>, Classified), TrainError> {
        let mut parts = batch.split(self.size()).into_iter();
        let mut outputs = Vec::with_capacity(self.size());
        if let Some(part) = parts.next() {
            outputs.push(queue::<C>(model, precision, part)?);
        }
        for member in &mut self.members {
            member.share = 0.0;
            // A batch of fewer images than devices leaves some without.
            if let Some(part) = parts.next() {
                member.share = part.share;
                member.device.seed(rng.next_u64());
                outputs.push(queue::<C>(
                    &member.model,
                    precision,
                    part.on(&member.device),
                )?);
            }
        }
        let (gradients, items): (Vec<_>, Vec<_>) = (outputs.into_iter())
            .map(|TrainOutput { grads, item }| (grads, item))
            .unzip();
        Ok((gradients, Classified::join(items)))
    }

    /// The sum of the devices' gradients, for each device that makes the step.
    pub(super) fn sum(
        &self,
        model: &C::Network,
        mut gradients: Vec<GradientsParams>,
    ) -> Vec<GradientsParams> {
        if self.members.is_empty() {
            return gradients;
        }
        let mut sum = Sum {
            strategy: self.strategy,
            devices: self.members.iter().map(|member| &member.device).collect(),
            sums: match self.strategy {
                Strategy::Multi => vec![GradientsParams::new()],
                Strategy::Ddp => gradients.iter().map(|_| GradientsParams::new()).collect(),
            },
            gradients: &mut gradients,
        };
        model.visit(&mut sum);
        sum.sums
    }

    /// Brings all to the same weights and statistics after the first device has made the step that
    /// led to `model`; `gradients` are those of the others that make it themselves.
    pub(super) fn follow(
        &mut self,
        model: C::Network,
        rate: &ModuleLearningRate,
        gradients: impl Iterator<Item = GradientsParams>,
    ) -> C::Network {
        if self.members.is_empty() {
            return model;
        }
        let others = self.members.iter();
        let others = others.map(|member| (Statistics::of(&member.model), member.share));
        let mean = Statistics::of(&model).mean(others);
        let model = mean.put_into(model);
        for (member, gradients) in self.members.iter_mut().zip(gradients) {
            if let Some(optimizer) = &mut member.optimizer {
                let stepped = optimizer.step(rate.clone(), member.model.clone(), gradients);
                member.model = mean.put_into(stepped);
            }
        }
        for member in &mut self.members {
            if member.optimizer.is_none() {
                member.model = copy(&model, &member.device);
            }
        }
        model
    }

    /// The others' networks as they are, without gradients.
    pub(super) fn snapshot(&self) -> Vec<C::Network> {
        let models = self.members.iter().map(|member| member.model.valid());
        models.collect()
    }

    /// Puts back what [`snapshot`](Self::snapshot) took.
    pub(super) fn restore(&mut self, models: Vec<C::Network>) {
        for (member, model) in self.members.iter_mut().zip(models) {
            member.model = model.train();
        }
    }
}

/// A network of its own on another device. Clones alone would share the norms' statistics.
fn copy<M: Module>(model: &M, device: &Device) -> M {
    model
        .valid()
        .fork(&device.clone().without_autodiff())
        .train()
}

/// Queues a step, and lets the device begin with it. The gradients are in 32 bits, and those of the
/// loss before it is scaled.
pub(super) fn queue<C: Classifier>(
    model: &C::Network,
    precision: Precision,
    mut batch: TrainBatch,
) -> Result<TrainOutput<Classified>, TrainError> {
    let scale = batch.loss_scale;
    let mut output = match precision.half() {
        Some(half) => {
            batch.images = batch.images.cast(half);
            batch::step::<C>(&halved::<C>(model, half), batch)
        }
        None => batch::step::<C>(model, batch),
    };
    if precision != Precision::F32 || scale != 1.0 {
        output.grads = widened(model, output.grads, scale);
    }
    let begun = output.item.loss.device().flush();
    begun.map_err(TrainError::stopped)?;
    Ok(output)
}

struct Sum<'a> {
    strategy: Strategy,
    /// All but the first.
    devices: Vec<&'a Device>,
    gradients: &'a mut [GradientsParams],
    sums: Vec<GradientsParams>,
}

impl ModuleVisitor for Sum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradients = self.gradients.iter_mut();
        let mut parts = gradients.map(|gradients| gradients.remove::<D>(param.id));
        let Some(first) = parts.next().flatten() else {
            return; // Held still.
        };
        let sums = match self.strategy {
            Strategy::Multi => {
                let device = first.device();
                let others = parts.flatten().map(|part| part.to_device(&device));
                vec![others.fold(first, |sum, part| sum + part)]
            }
            Strategy::Ddp => {
                let shape = first.shape();
                let others = parts.zip(&self.devices).map(|(part, device)| {
                    // A device that had no images still takes part.
                    let device = (*device).clone().without_autodiff();
                    part.unwrap_or_else(|| Tensor::zeros(shape.clone(), &device))
                });
                all_reduce([first].into_iter().chain(others).collect())
            }
        };
        for (all, sum) in self.sums.iter_mut().zip(sums) {
            all.register(param.id, sum);
        }
    }
}
