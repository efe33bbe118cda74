//! Octave convolution by the engine, forward and backward: one operation for a whole layer.
//!
//! Burn's autodiff knows operations with one result, and a layer has two. So a layer is three
//! nodes of the graph: one that reads all operands, and behind it one for each output group. A
//! group's node only hands its gradient on; when all groups that the loss depends on have done
//! so, autodiff comes to the layer's node, which computes all gradients at once. That way the
//! input is brought into the engine's layout once, and its gradient is not summed through memory.

use std::{
    array,
    sync::{Arc, Mutex},
};

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::Shape,
};
use octave_engine::{
    Isa, Spares,
    train::{self, LEVELS, OctConv, Workspace},
};
use octave_plan::{Path, Plan};

use super::tensor::{contiguous, unwritten, zeros};
use crate::ops::backend::{Geometry, Levels, Operands};

/// Memory of the engine between calls.
pub(super) static WORKSPACES: Spares<Workspace> = Spares::new();

/// The most operands that a layer has: inputs and biases, and kernels from each level to each.
const OPERANDS: usize = LEVELS * (LEVELS + 2);

/// Something of each operand that is there.
#[derive(Debug, Clone)]
struct Each<T> {
    /// By level.
    inputs: [Option<T>; LEVELS],
    /// By the level that is read, and by the one that is added to.
    kernels: [[Option<T>; LEVELS]; LEVELS],
    /// By level of the output.
    biases: [Option<T>; LEVELS],
}

impl<T> Each<T> {
    fn from_array(operands: [Option<T>; OPERANDS]) -> Self {
        let mut operands = operands.into_iter();
        let mut levels = || array::from_fn(|_| operands.next().flatten());
        Self {
            inputs: levels(),
            kernels: array::from_fn(|_| levels()),
            biases: levels(),
        }
    }

    /// The order of the parents of a node.
    fn into_array(self) -> [Option<T>; OPERANDS] {
        let kernels = self.kernels.into_iter().flatten();
        let mut operands = self.inputs.into_iter().chain(kernels).chain(self.biases);
        array::from_fn(|_| operands.next().flatten())
    }

    fn kernel(&self, path: &Path) -> Option<&T> {
        self.kernels[path.from][path.to].as_ref()
    }
}

impl Each<FlexTensor> {
    fn slices(&self, plan: &Plan<2>) -> train::Operands<'_> {
        let kernel = |path| self.kernel(path).expect("the kernel of a path").storage();
        train::Operands {
            inputs: self.inputs.each_ref().map(slice),
            kernels: plan.paths.iter().map(kernel).collect(),
            biases: self.biases.each_ref().map(slice),
        }
    }
}

fn slice(tensor: &Option<FlexTensor>) -> Option<&[f32]> {
    tensor.as_ref().map(FlexTensor::storage)
}

fn slice_mut(tensor: &mut Option<FlexTensor>) -> Option<&mut [f32]> {
    tensor.as_mut().map(FlexTensor::storage_mut)
}

fn arrange<B: Backend>(operands: Operands<B>) -> [Option<FloatTensor<B>>; OPERANDS] {
    let kernels = [
        operands.from_full,
        operands.from_half,
        operands.from_quarter,
        operands.from_eighth,
    ];
    let each = Each {
        inputs: operands.inputs.get(),
        kernels: kernels.map(Levels::get),
        biases: operands.biases.get(),
    };
    each.into_array()
}

/// A layer, and whether it is transposed.
#[derive(Debug, Clone)]
struct Layer {
    conv: OctConv,
    transposed: bool,
}

impl Layer {
    fn new(geometry: Geometry) -> Self {
        let Geometry {
            plan,
            images,
            size,
            transposed,
        } = geometry;
        let conv = OctConv::new(plan, images, size);
        Self {
            conv: conv.unwrap_or_else(|e| panic!("the engine cannot compute {e}")),
            transposed,
        }
    }

    /// The levels that a path of the plan reads and adds to, given those that the convolution's does.
    fn ends(&self, from: usize, to: usize) -> [usize; 2] {
        match self.transposed {
            false => [from, to],
            true => [to, from],
        }
    }

    /// The shape of the result at a level, if there is one.
    fn result(&self, level: usize) -> Option<Shape> {
        let [channels, height, width] = match self.transposed {
            false => self.conv.output(level),
            true => self.conv.input(level),
        };
        let shape = Shape::from([self.conv.images(), channels, height, width]);
        (channels > 0).then_some(shape)
    }

    fn forward(&self, operands: &Each<FlexTensor>) -> [Option<FlexTensor>; LEVELS] {
        let mut outputs = array::from_fn(|level| self.result(level).map(unwritten));
        let operands = operands.slices(self.conv.plan());
        let to = outputs.each_mut().map(slice_mut);
        WORKSPACES.lend(|workspace| match self.transposed {
            false => self.conv.forward(Isa::best(), &operands, to, workspace),
            true => self.conv.transpose(Isa::best(), &operands, to, workspace),
        });
        outputs
    }

    /// Where those gradients go that are `wanted` and that the given output gradients reach.
    fn fresh(
        &self,
        operands: &Each<FlexTensor>,
        wanted: &Each<()>,
        given: [bool; LEVELS],
    ) -> Each<FlexTensor> {
        let fresh = |operand: &Option<FlexTensor>, wanted: &Option<()>, reached: bool| {
            let operand = operand.as_ref().filter(|_| wanted.is_some() && reached)?;
            Some(unwritten(operand.shape()))
        };
        let reached = |level| {
            let mut paths = self.conv.plan().paths.iter();
            paths.any(|path| {
                let [from, to] = self.ends(path.from, path.to);
                from == level && given[to]
            })
        };
        let kernel = |from: usize, to: usize| {
            let [_, end] = self.ends(from, to);
            let (kernel, wanted) = (&operands.kernels[from][to], &wanted.kernels[from][to]);
            fresh(kernel, wanted, given[end])
        };
        Each {
            inputs: array::from_fn(|i| fresh(&operands.inputs[i], &wanted.inputs[i], reached(i))),
            kernels: array::from_fn(|from| array::from_fn(|to| kernel(from, to))),
            biases: array::from_fn(|i| fresh(&operands.biases[i], &wanted.biases[i], given[i])),
        }
    }

    /// The gradients of those operands that are `wanted` and that the given output gradients reach.
    fn backward(
        &self,
        operands: &Each<FlexTensor>,
        wanted: &Each<()>,
        mut output_gradients: [Option<FlexTensor>; LEVELS],
    ) -> Each<FlexTensor> {
        let plan = self.conv.plan();
        let given = output_gradients.each_ref().map(Option::is_some);
        let mut gradients = self.fresh(operands, wanted, given);
        let kernels = gradients.kernels.each_mut();
        let mut kernels = kernels.map(|to| to.each_mut().map(slice_mut));
        let paths = plan.paths.iter();
        let to = train::Gradients {
            inputs: gradients.inputs.each_mut().map(slice_mut),
            kernels: paths
                .map(|path| kernels[path.from][path.to].take())
                .collect(),
            biases: gradients.biases.each_mut().map(slice_mut),
        };
        let operands = operands.slices(plan);
        if self.transposed {
            // The convolution that goes back reads all levels.
            for (level, gradient) in output_gradients.iter_mut().enumerate() {
                *gradient = gradient.take().or_else(|| self.result(level).map(zeros));
            }
        }
        let outputs = output_gradients.each_ref().map(slice);
        WORKSPACES.lend(|workspace| match self.transposed {
            false => self
                .conv
                .backward(Isa::best(), &operands, outputs, to, workspace),
            true => {
                let isa = Isa::best();
                self.conv
                    .transpose_backward(isa, &operands, outputs, to, workspace);
            }
        });
        gradients
    }
}

pub(super) fn octconv2d(operands: Operands<Flex>, geometry: Geometry) -> Levels<Flex> {
    let operands = arrange(operands).map(|tensor| tensor.map(contiguous));
    Levels::new(Layer::new(geometry).forward(&Each::from_array(operands)))
}

/// Where the groups of a layer leave their gradients for the layer.
type Inbox = Arc<Mutex<[Option<FlexTensor>; LEVELS]>>;

/// Hands the gradient of group `usize` on to the layer.
#[derive(Debug)]
struct GroupBackward;

impl Backward<Flex, 1> for GroupBackward {
    type State = (Inbox, usize);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (inbox, group) = ops.state;
        let gradient = contiguous(grads.consume::<Flex>(&ops.node));
        inbox.lock().expect("no group panics with the lock")[group] = Some(gradient);
        let [layer] = ops.parents;
        if let Some(layer) = layer {
            grads.register::<Flex>(layer.id, token());
        }
    }
}

/// What the layer's node has in place of a value and a gradient.
fn token() -> FlexTensor {
    zeros(Shape::from([1]))
}

#[derive(Debug)]
struct LayerBackward;

impl Backward<Flex, OPERANDS> for LayerBackward {
    type State = (Each<FlexTensor>, Layer, Inbox);

    fn backward(
        self,
        ops: Ops<Self::State, OPERANDS>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (operands, layer, inbox) = ops.state;
        grads.consume::<Flex>(&ops.node);
        // Not locked any more while the engine works, and this thread may run other tasks.
        let output_gradients = inbox
            .lock()
            .expect("no group panics with the lock")
            .each_mut()
            .map(Option::take);
        let tracked = |parent: &Option<_>| parent.as_ref().map(|_| ());
        let wanted = Each::from_array(ops.parents.each_ref().map(tracked));
        let gradients = layer.backward(&operands, &wanted, output_gradients);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients.into_array()) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

pub(super) fn tracked_octconv2d<C: CheckpointStrategy>(
    operands: Operands<Autodiff<Flex, C>>,
    geometry: Geometry,
) -> Levels<Autodiff<Flex, C>> {
    let operands = arrange(operands);
    // An operation has a fixed number of parents; a constant stands for what is missing.
    let constant = Autodiff::<Flex, C>::from_inner(token());
    let nodes = operands
        .each_ref()
        .map(|tensor| tensor.as_ref().unwrap_or(&constant).node());
    let values = operands.map(|tensor| tensor.map(|tensor| contiguous(tensor.into_primitive())));
    let (values, layer) = (Each::from_array(values), Layer::new(geometry));
    let outputs = layer.forward(&values);

    let inbox = Inbox::default();
    let layer = match LayerBackward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((values, layer, inbox.clone()), token()),
        OpsKind::UnTracked(prepared) => prepared.finish(token()),
    };
    let mut groups = 0..;
    let group = |output: Option<FlexTensor>| {
        let (group, output) = (groups.next()?, output?);
        let node = [layer.node()];
        Some(
            match GroupBackward.prepare::<C>(node).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish((inbox.clone(), group), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            },
        )
    };
    Levels::new(outputs.map(group))
}
