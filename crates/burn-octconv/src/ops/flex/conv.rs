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
        Autodiff, AutodiffBackend, Backend, ExtensionType, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
    },
    tensor::{Shape, Tensor},
};

use super::{Operand, contiguous, zeros};
use crate::{OctFeatures, features::half, ops::OctKernels};
use octave_engine::{
    Isa, Spares,
    train::{self, OctConv, OctWeights, Workspace, octconv2d_backward, octconv2d_forward},
};

/// Memory of the engine between calls.
static WORKSPACES: Spares<Workspace> = Spares::new();

/// Computes an octave convolution; `conv` is the geometry of the operands.
pub(in crate::ops) fn octconv2d(
    features: OctFeatures,
    kernels: OctKernels,
    conv: &OctConv,
) -> OctFeatures {
    let (high, low) = features.into_parts();
    let operands = Operands {
        high: Operand::from(high),
        low: Operand::from(low),
        h2h: Operand::from(kernels.h2h),
        h2l: Operand::from(kernels.h2l),
        l2h: Operand::from(kernels.l2h),
        l2l: Operand::from(kernels.l2l),
        bias_high: Operand::from(kernels.bias_high),
        bias_low: Operand::from(kernels.bias_low),
    };
    let outputs = <burn::backend::Dispatch as OctBackend>::octconv2d(operands, conv.clone());
    let [high, low] =
        [outputs.high, outputs.low].map(|group| group.get().map(Tensor::from_dispatch));
    let [out_high, out_low] = conv.out_sizes();
    let full = if high.is_some() {
        out_high
    } else if conv.stride == 2 {
        half(conv.size)
    } else {
        conv.size
    };
    debug_assert!(low.is_none() || half(full) == out_low);
    OctFeatures::try_new(high, low, full).unwrap_or_else(|e| panic!("{e}"))
}

/// What a layer is computed from.
#[derive(ExtensionType)]
pub struct Operands<B: Backend> {
    /// X^H.
    #[extension_type]
    pub high: Operand<B>,
    /// X^L.
    #[extension_type]
    pub low: Operand<B>,
    /// Kernel H→H.
    #[extension_type]
    pub h2h: Operand<B>,
    /// Kernel H→L.
    #[extension_type]
    pub h2l: Operand<B>,
    /// Kernel L→H.
    #[extension_type]
    pub l2h: Operand<B>,
    /// Kernel L→L.
    #[extension_type]
    pub l2l: Operand<B>,
    /// Bias of the high output.
    #[extension_type]
    pub bias_high: Operand<B>,
    /// Bias of the low output.
    #[extension_type]
    pub bias_low: Operand<B>,
}

/// Y^H and Y^L.
#[derive(ExtensionType)]
pub struct Outputs<B: Backend> {
    /// Y^H.
    #[extension_type]
    pub high: Operand<B>,
    /// Y^L.
    #[extension_type]
    pub low: Operand<B>,
}

/// X^H, X^L, the kernels H→H, H→L, L→H and L→L, and the biases of Y^H and Y^L.
type Values<T> = [Option<T>; 8];

impl<B: Backend> Operands<B> {
    fn into_array(self) -> Values<burn::backend::tensor::FloatTensor<B>> {
        let Self {
            high,
            low,
            h2h,
            h2l,
            l2h,
            l2l,
            bias_high,
            bias_low,
        } = self;
        [high, low, h2h, h2l, l2h, l2l, bias_high, bias_low].map(Operand::get)
    }
}

fn slices(operands: &Values<FlexTensor>) -> Values<&[f32]> {
    operands
        .each_ref()
        .map(|tensor| tensor.as_ref().map(|tensor| tensor.storage::<f32>()))
}

fn weights<'a>([_, _, hh, hl, lh, ll, bias_h, bias_l]: &Values<&'a [f32]>) -> OctWeights<'a> {
    OctWeights {
        hh: *hh,
        hl: *hl,
        lh: *lh,
        ll: *ll,
        bias_h: *bias_h,
        bias_l: *bias_l,
    }
}

fn forward(conv: &OctConv, operands: &Values<FlexTensor>) -> [Option<FlexTensor>; 2] {
    let operands = slices(operands);
    let mut outputs = [0, 1].map(|group| {
        let [height, width] = conv.out_sizes()[group];
        let shape = Shape::from([conv.images, conv.c_out[group], height, width]);
        (conv.c_out[group] > 0).then(|| zeros(shape))
    });
    let [y_high, y_low] = outputs
        .each_mut()
        .map(|y| y.as_mut().map(|y| y.storage_mut::<f32>()));
    WORKSPACES.lend(|workspace| {
        let weights = weights(&operands);
        let [high, low, ..] = operands;
        octconv2d_forward(
            Isa::best(),
            conv,
            high,
            low,
            &weights,
            y_high,
            y_low,
            workspace,
        );
    });
    outputs
}

/// The gradients of those operands that are `wanted` and that the given output gradients reach.
fn backward(
    conv: &OctConv,
    mut operands: Values<FlexTensor>,
    wanted: [bool; 8],
    output_gradients: [Option<FlexTensor>; 2],
) -> Values<FlexTensor> {
    // An output that the loss does not depend on is left out, with the paths that lead to it.
    let mut conv = conv.clone();
    let [high, low] = output_gradients.each_ref().map(Option::is_some);
    conv.c_out = [(high, 0), (low, 1)].map(|(given, g)| if given { conv.c_out[g] } else { 0 });
    for (path, given) in [
        (2, high),
        (3, low),
        (4, high),
        (5, low),
        (6, high),
        (7, low),
    ] {
        operands[path] = operands[path].take().filter(|_| given);
    }
    let exists = operands.each_ref().map(Option::is_some);
    let [_, _, h2h, h2l, l2h, l2l, ..] = exists;
    let reached = [h2h || h2l, l2h || l2l, true, true, true, true, true, true];

    let mut gradients: Values<FlexTensor> = std::array::from_fn(|i| {
        let operand = operands[i].as_ref().filter(|_| wanted[i] && reached[i])?;
        Some(zeros(operand.shape()))
    });
    let [x_h, x_l, hh, hl, lh, ll, bias_h, bias_l] = gradients
        .each_mut()
        .map(|g| g.as_mut().map(|g| g.storage_mut::<f32>()));
    let to = train::Gradients {
        x_h,
        x_l,
        hh,
        hl,
        lh,
        ll,
        bias_h,
        bias_l,
    };
    let [dy_high, dy_low] = output_gradients
        .each_ref()
        .map(|dy| dy.as_ref().map(|dy| dy.storage::<f32>()));
    let operands = slices(&operands);
    WORKSPACES.lend(|workspace| {
        let weights = weights(&operands);
        let [high, low, ..] = operands;
        octconv2d_backward(
            Isa::best(),
            &conv,
            high,
            low,
            &weights,
            dy_high,
            dy_low,
            to,
            workspace,
        );
    });
    gradients
}

/// The operation that a backend with an engine provides.
#[backend_extension(Autodiff, Flex)]
pub trait OctBackend: Backend {
    /// Computes the output groups of an octave convolution.
    fn octconv2d(#[extension_type] operands: Operands<Self>, conv: OctConv) -> Outputs<Self>;
}

impl OctBackend for Flex {
    fn octconv2d(operands: Operands<Self>, conv: OctConv) -> Outputs<Self> {
        let values = operands.into_array().map(|tensor| tensor.map(contiguous));
        let [high, low] = forward(&conv, &values).map(Operand::new);
        Outputs { high, low }
    }
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
    type State = (Values<FlexTensor>, OctConv, Inbox);

    fn backward(
        self,
        ops: Ops<Self::State, 8>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (operands, conv, inbox) = ops.state;
        grads.consume::<Flex>(&ops.node);
        let output_gradients = inbox
            .lock()
            .expect("no group panics with the lock")
            .each_mut()
            .map(Option::take);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = backward(&conv, operands, wanted, output_gradients);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> OctBackend for Autodiff<Flex, C> {
    fn octconv2d(operands: Operands<Self>, conv: OctConv) -> Outputs<Self> {
        let operands = operands.into_array();
        // An operation has a fixed number of parents; a constant stands for what is missing.
        let constant = Self::from_inner(token());
        let nodes = operands
            .each_ref()
            .map(|tensor| tensor.as_ref().unwrap_or(&constant).node());
        let values =
            operands.map(|tensor| tensor.map(|tensor| contiguous(tensor.into_primitive())));
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
}
