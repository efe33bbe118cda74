//! Octave convolution by the engine, forward and backward: one operation for a whole layer.
//!
//! Burn's autodiff knows operations with one result, and a layer has two. So a layer is three
//! nodes of the graph: one that reads all operands, and behind it one for each output group. A
//! group's node only hands its gradient on; when all groups that the loss depends on have done
//! so, autodiff comes to the layer's node, which computes all gradients at once. That way the
//! input is brought into the engine's layout once, and its gradient is not summed through memory.

use std::sync::{Arc, Mutex};

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
    train::{self, OctConv, Workspace},
};
use octave_plan::{Path, Plan};

use super::tensor::{contiguous, zeros};
use crate::ops::backend::{Geometry, Operand, Operands, Outputs};

/// Memory of the engine between calls.
static WORKSPACES: Spares<Workspace> = Spares::new();

/// Something of each operand that is there.
#[derive(Debug, Clone)]
struct Each<T> {
    /// By level.
    inputs: [Option<T>; 2],
    /// By the level that is read, and by the one that is added to.
    kernels: [[Option<T>; 2]; 2],
    /// By level of the output.
    biases: [Option<T>; 2],
}

impl<T> Each<T> {
    fn from_array(operands: [Option<T>; 8]) -> Self {
        let [high, low, h2h, h2l, l2h, l2l, bias_high, bias_low] = operands;
        Self {
            inputs: [high, low],
            kernels: [[h2h, h2l], [l2h, l2l]],
            biases: [bias_high, bias_low],
        }
    }

    /// The order of the parents of a node.
    fn into_array(self) -> [Option<T>; 8] {
        let ([high, low], [bias_high, bias_low]) = (self.inputs, self.biases);
        let [[h2h, h2l], [l2h, l2l]] = self.kernels;
        [high, low, h2h, h2l, l2h, l2l, bias_high, bias_low]
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

fn arrange<B: Backend>(operands: Operands<B>) -> [Option<FloatTensor<B>>; 8] {
    let Operands {
        high,
        low,
        h2h,
        h2l,
        l2h,
        l2l,
        bias_high,
        bias_low,
    } = operands;
    [high, low, h2h, h2l, l2h, l2l, bias_high, bias_low].map(Operand::get)
}

fn engine(geometry: Geometry) -> OctConv {
    let Geometry { plan, images, size } = geometry;
    OctConv::new(plan, images, size).unwrap_or_else(|e| panic!("the engine cannot compute {e}"))
}

fn forward(conv: &OctConv, operands: &Each<FlexTensor>) -> [Option<FlexTensor>; 2] {
    let mut outputs = [0, 1].map(|level| {
        let [channels, height, width] = conv.output(level);
        let shape = Shape::from([conv.images(), channels, height, width]);
        (channels > 0).then(|| zeros(shape))
    });
    let operands = operands.slices(conv.plan());
    let to = outputs.each_mut().map(slice_mut);
    WORKSPACES.lend(|workspace| conv.forward(Isa::best(), &operands, to, workspace));
    outputs
}

/// The gradients of those operands that are `wanted` and that the given output gradients reach.
fn backward(
    conv: &OctConv,
    operands: &Each<FlexTensor>,
    wanted: &Each<()>,
    output_gradients: &[Option<FlexTensor>; 2],
) -> Each<FlexTensor> {
    let plan = conv.plan();
    let given = output_gradients.each_ref().map(Option::is_some);
    let reached = |level| {
        let mut paths = plan.paths.iter();
        paths.any(|path| path.from == level && given[path.to])
    };
    let fresh = |operand: &Option<FlexTensor>, wanted: &Option<()>, reached: bool| {
        let operand = operand.as_ref().filter(|_| wanted.is_some() && reached)?;
        Some(zeros(operand.shape()))
    };
    let levels = [0, 1];
    let mut gradients = Each {
        inputs: levels.map(|i| fresh(&operands.inputs[i], &wanted.inputs[i], reached(i))),
        kernels: levels.map(|from| {
            levels.map(|to| {
                let (kernel, wanted) = (&operands.kernels[from][to], &wanted.kernels[from][to]);
                fresh(kernel, wanted, given[to])
            })
        }),
        biases: levels.map(|i| fresh(&operands.biases[i], &wanted.biases[i], given[i])),
    };
    let mut kernels = gradients
        .kernels
        .each_mut()
        .map(|to| to.each_mut().map(slice_mut));
    let kernels = plan
        .paths
        .iter()
        .map(|path| kernels[path.from][path.to].take());
    let to = train::Gradients {
        inputs: gradients.inputs.each_mut().map(slice_mut),
        kernels: kernels.collect(),
        biases: gradients.biases.each_mut().map(slice_mut),
    };
    let outputs = output_gradients.each_ref().map(slice);
    let operands = operands.slices(plan);
    WORKSPACES.lend(|workspace| conv.backward(Isa::best(), &operands, outputs, to, workspace));
    gradients
}

pub(super) fn octconv2d(operands: Operands<Flex>, geometry: Geometry) -> Outputs<Flex> {
    let operands = arrange(operands).map(|tensor| tensor.map(contiguous));
    let [high, low] = forward(&engine(geometry), &Each::from_array(operands)).map(Operand::new);
    Outputs { high, low }
}

/// Where the groups of a layer leave their gradients for the layer.
type Inbox = Arc<Mutex<[Option<FlexTensor>; 2]>>;

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

impl Backward<Flex, 8> for LayerBackward {
    type State = (Each<FlexTensor>, OctConv, Inbox);

    fn backward(
        self,
        ops: Ops<Self::State, 8>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (operands, conv, inbox) = ops.state;
        grads.consume::<Flex>(&ops.node);
        // Not locked any more while the engine works, and this thread may run other tasks.
        let output_gradients = inbox
            .lock()
            .expect("no group panics with the lock")
            .each_mut()
            .map(Option::take);
        let tracked = |parent: &Option<_>| parent.as_ref().map(|_| ());
        let wanted = Each::from_array(ops.parents.each_ref().map(tracked));
        let gradients = backward(&conv, &operands, &wanted, &output_gradients);
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
) -> Outputs<Autodiff<Flex, C>> {
    let operands = arrange(operands);
    // An operation has a fixed number of parents; a constant stands for what is missing.
    let constant = Autodiff::<Flex, C>::from_inner(token());
    let nodes = operands
        .each_ref()
        .map(|tensor| tensor.as_ref().unwrap_or(&constant).node());
    let values = operands.map(|tensor| tensor.map(|tensor| contiguous(tensor.into_primitive())));
    let (values, conv) = (Each::from_array(values), engine(geometry));
    let outputs = forward(&conv, &values);

    let inbox = Inbox::default();
    let layer = match LayerBackward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((values, conv, inbox.clone()), token()),
        OpsKind::UnTracked(prepared) => prepared.finish(token()),
    };
    let group = |output, group| {
        let node = [layer.node()];
        match GroupBackward.prepare::<C>(node).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((inbox.clone(), group), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    };
    let [high, low] = outputs;
    Outputs {
        high: Operand::new(high.map(|y| group(y, 0))),
        low: Operand::new(low.map(|y| group(y, 1))),
    }
}
