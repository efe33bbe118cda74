//! The bridge from Burn's Flex backend to the CPU engine, forward and backward.
//!
//! A backend extension with one operation: an *output group* of an octave convolution, that is
//! Y^H or Y^L with the one or two paths that lead to it. Two operations make a layer. Burn's
//! autodiff knows operations with one result, and an operation for each group keeps either usable
//! without the other.

pub(super) mod norm;

use std::cell::RefCell;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, DispatchDevice, ExtensionType, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::{DType, Device, Shape, Tensor},
};

use super::{OctConvOptions, OctKernels};
use crate::{
    Downsample, OctFeatures, Upsample,
    engine::{
        Isa,
        train::{self, OctConv, OctWeights, Workspace, octconv2d_backward, octconv2d_forward},
    },
    features::half,
};

thread_local! {
    /// Memory of the engine between calls. The calling thread owns it; the threads that help
    /// work on parts of it.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Computes an octave convolution by the engine; `geometry` is that of the operands.
pub(super) fn octconv2d(
    features: OctFeatures,
    kernels: OctKernels,
    geometry: &OctConv,
) -> OctFeatures {
    let [out_high, out_low] = geometry.out_sizes();
    let [channels_high, channels_low] = geometry.c_out;
    let (high, low) = features.into_parts();
    let group = |from_high, from_low, bias, low_output: bool| {
        let operands = Operands {
            high: high.clone().into(),
            low: low.clone().into(),
            from_high: Operand::from(from_high),
            from_low: Operand::from(from_low),
            bias: Operand::from(bias),
        };
        let group = Group::new(geometry, low_output);
        Tensor::from_dispatch(<burn::backend::Dispatch as OctBackend>::octconv2d_group(
            operands, group,
        ))
    };
    let y_high =
        (channels_high > 0).then(|| group(kernels.h2h, kernels.l2h, kernels.bias_high, false));
    let y_low = (channels_low > 0).then(|| group(kernels.h2l, kernels.l2l, kernels.bias_low, true));
    let full = if channels_high > 0 {
        out_high
    } else if geometry.stride == 2 {
        half(geometry.size)
    } else {
        geometry.size
    };
    debug_assert!(channels_low == 0 || half(full) == out_low);
    OctFeatures::try_new(y_high, y_low, full).unwrap_or_else(|e| panic!("{e}"))
}

/// What the engine is to compute, or `None` where it does not apply: on another backend, in
/// another precision than f32, or with options that only the composed form has.
pub(super) fn geometry(
    features: &OctFeatures,
    kernels: &OctKernels,
    options: &OctConvOptions,
) -> Option<OctConv> {
    let present = [&kernels.h2h, &kernels.h2l, &kernels.l2h, &kernels.l2l];
    let tensors = [features.high(), features.low()];
    let tensors = tensors.into_iter().chain(present.map(Option::as_ref));
    let biases = [&kernels.bias_high, &kernels.bias_low]
        .into_iter()
        .flatten();
    let f32_on_flex = tensors
        .flatten()
        .all(|x| x.dtype() == DType::F32 && is_flex(&x.device()))
        && biases.into_iter().all(|x| x.dtype() == DType::F32);
    let alone = kernels.h2l.is_none() && kernels.l2h.is_none() && kernels.l2l.is_none();
    let default_resampling =
        options.downsample == Downsample::Average && options.upsample == Upsample::Nearest;
    let strided = options.strided && options.stride == 2;
    if !f32_on_flex || !(alone || default_resampling) || (strided && !alone) {
        return None;
    }

    let [_, _, kernel_height, kernel_width] = present.into_iter().flatten().next()?.dims();
    let kernel = [kernel_height, kernel_width];
    let reach = [0, 1].map(|axis| (kernel[axis] - 1) * options.dilation[axis]);
    // `same` with a strided convolution depends on the size and may pad at the end only.
    let symmetric = options.padding.iter().all(|(begin, end)| begin == end);
    if !symmetric || (strided && options.same && reach != [0, 0]) {
        return None;
    }
    let padding = options.padding.map(|(begin, _)| begin);
    // A single path from or to the low group may have a padding that changes its size, and then
    // the full resolution is not that of the input.
    let keeps_size = [0, 1].iter().all(|&axis| 2 * padding[axis] == reach[axis]);
    if !(keeps_size || alone) {
        return None;
    }

    let [channels_high, channels_low] = features.channels();
    let out = |a: &Option<Tensor<4>>, b: &Option<Tensor<4>>| {
        a.as_ref()
            .or(b.as_ref())
            .map_or(0, |kernel| kernel.dims()[0])
    };
    // Groups are left to the composed form: where they are narrower than a channel block, the
    // engine multiplies zeros, which costs time and spreads a NaN to channels that never read it.
    let grouped = [
        (&kernels.h2h, channels_high),
        (&kernels.h2l, channels_high),
        (&kernels.l2h, channels_low),
        (&kernels.l2l, channels_low),
    ]
    .into_iter()
    .any(|(kernel, channels)| {
        kernel
            .as_ref()
            .is_some_and(|kernel| kernel.dims()[1] != channels)
    });
    let batch = features.high().or(features.low())?.dims()[0];
    let geometry = OctConv {
        images: batch,
        size: features.size(),
        c_in: [channels_high, channels_low],
        c_out: [
            out(&kernels.h2h, &kernels.l2h),
            out(&kernels.l2l, &kernels.h2l),
        ],
        kernel,
        stride: options.stride,
        strided,
        padding,
        dilation: options.dilation,
        groups: 1,
    };
    let paths = present.map(Option::is_some);
    let supported = geometry.unsupported(paths).is_none();
    (!grouped && batch > 0 && supported).then_some(geometry)
}

fn is_flex(device: &Device) -> bool {
    matches!(
        device.clone().without_autodiff().as_dispatch(),
        DispatchDevice::Flex(_)
    )
}

/// A tensor that may be missing.
#[derive(ExtensionType)]
pub enum Operand<B: Backend> {
    /// It is there.
    Given(FloatTensor<B>),
    /// It is not.
    Absent,
}

impl<const D: usize> From<Option<Tensor<D>>> for Operand<burn::backend::Dispatch> {
    fn from(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Self::Absent, |tensor| Self::Given(tensor.into_dispatch()))
    }
}

impl<B: Backend> Operand<B> {
    fn get(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

/// What an output group is computed from.
#[derive(ExtensionType)]
pub struct Operands<B: Backend> {
    /// X^H.
    #[extension_type]
    pub high: Operand<B>,
    /// X^L.
    #[extension_type]
    pub low: Operand<B>,
    /// Kernel of the path from X^H.
    #[extension_type]
    pub from_high: Operand<B>,
    /// Kernel of the path from X^L.
    #[extension_type]
    pub from_low: Operand<B>,
    /// Bias of the group.
    #[extension_type]
    pub bias: Operand<B>,
}

impl<B: Backend> Operands<B> {
    /// X^H, X^L, the two kernels and the bias.
    fn into_array(self) -> [Option<FloatTensor<B>>; 5] {
        let Self {
            high,
            low,
            from_high,
            from_low,
            bias,
        } = self;
        [high, low, from_high, from_low, bias].map(Operand::get)
    }
}

/// One output group of an octave convolution.
#[derive(Debug, Clone)]
pub struct Group {
    conv: OctConv,
    /// Whether it is Y^L.
    low: bool,
}

impl Group {
    fn new(conv: &OctConv, low: bool) -> Self {
        let mut conv = conv.clone();
        conv.c_out[usize::from(!low)] = 0;
        Self { conv, low }
    }

    fn output_shape(&self) -> Shape {
        let group = usize::from(self.low);
        let [height, width] = self.conv.out_sizes()[group];
        Shape::from([self.conv.images, self.conv.c_out[group], height, width])
    }

    fn weights<'a>(
        &self,
        from_high: Option<&'a [f32]>,
        from_low: Option<&'a [f32]>,
        bias: Option<&'a [f32]>,
    ) -> OctWeights<'a> {
        if self.low {
            OctWeights {
                hl: from_high,
                ll: from_low,
                bias_l: bias,
                ..OctWeights::default()
            }
        } else {
            OctWeights {
                hh: from_high,
                lh: from_low,
                bias_h: bias,
                ..OctWeights::default()
            }
        }
    }

    fn forward(&self, operands: &[Option<FlexTensor>; 5]) -> FlexTensor {
        let [high, low, from_high, from_low, bias] = operands.each_ref().map(slice);
        let weights = self.weights(from_high, from_low, bias);
        let mut output = FlexTensor::empty(self.output_shape(), DType::F32);
        let y = Some(output.storage_mut::<f32>());
        let (y_high, y_low) = if self.low { (None, y) } else { (y, None) };
        WORKSPACE.with_borrow_mut(|workspace| {
            octconv2d_forward(
                Isa::best(),
                &self.conv,
                high,
                low,
                &weights,
                y_high,
                y_low,
                workspace,
            );
        });
        output
    }

    /// The gradients of those operands that are `wanted`.
    fn backward(
        &self,
        operands: &[Option<FlexTensor>; 5],
        wanted: [bool; 5],
        output_gradient: &FlexTensor,
    ) -> [Option<FlexTensor>; 5] {
        let [high, low, from_high, from_low, bias] = operands.each_ref().map(slice);
        let weights = self.weights(from_high, from_low, bias);
        let dy = output_gradient.storage::<f32>();
        let (dy_high, dy_low) = if self.low {
            (None, Some(dy))
        } else {
            (Some(dy), None)
        };
        // An input that no path reads gets no gradient from this group.
        let read = [from_high.is_some(), from_low.is_some(), true, true, true];
        let mut gradients: [Option<FlexTensor>; 5] = std::array::from_fn(|i| {
            let operand = operands[i].as_ref().filter(|_| wanted[i] && read[i])?;
            Some(FlexTensor::empty(operand.shape(), DType::F32))
        });
        let [x_h, x_l, w_high, w_low, b] = gradients
            .each_mut()
            .map(|g| g.as_mut().map(|g| g.storage_mut::<f32>()));
        let to = if self.low {
            train::Gradients {
                x_h,
                x_l,
                hl: w_high,
                ll: w_low,
                bias_l: b,
                ..Default::default()
            }
        } else {
            train::Gradients {
                x_h,
                x_l,
                hh: w_high,
                lh: w_low,
                bias_h: b,
                ..Default::default()
            }
        };
        WORKSPACE.with_borrow_mut(|workspace| {
            octconv2d_backward(
                Isa::best(),
                &self.conv,
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
}

fn slice(tensor: &Option<FlexTensor>) -> Option<&[f32]> {
    tensor.as_ref().map(|tensor| tensor.storage::<f32>())
}

/// The operation that a backend with an engine provides.
#[backend_extension(Autodiff, Flex)]
pub trait OctBackend: Backend {
    /// Computes an output group of an octave convolution.
    fn octconv2d_group(
        #[extension_type] operands: Operands<Self>,
        group: Group,
    ) -> FloatTensor<Self>;
}

impl OctBackend for Flex {
    fn octconv2d_group(operands: Operands<Self>, group: Group) -> FloatTensor<Self> {
        group.forward(&contiguous(operands.into_array()))
    }
}

/// The engine reads whole buffers, so views are copied.
fn contiguous(operands: [Option<FlexTensor>; 5]) -> [Option<FlexTensor>; 5] {
    operands.map(|tensor| tensor.map(|tensor| tensor.to_contiguous()))
}

impl<C: CheckpointStrategy> OctBackend for Autodiff<Flex, C> {
    fn octconv2d_group(operands: Operands<Self>, group: Group) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct GroupBackward;

        impl Backward<Flex, 5> for GroupBackward {
            type State = ([Option<FlexTensor>; 5], Group);

            fn backward(
                self,
                ops: Ops<Self::State, 5>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (operands, group) = ops.state;
                let wanted = ops.parents.each_ref().map(Option::is_some);
                let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
                let gradients = group.backward(&operands, wanted, &gradient);
                for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
                    if let (Some(parent), Some(gradient)) = (parent, gradient) {
                        grads.register::<Flex>(parent.id, gradient);
                    }
                }
            }
        }

        let operands = operands.into_array();
        // An operation has a fixed number of parents; a constant stands for what is missing.
        let given = operands
            .iter()
            .flatten()
            .next()
            .expect("a group has an input");
        let constant = Self::from_inner(given.primitive().clone());
        let nodes = operands
            .each_ref()
            .map(|tensor| tensor.as_ref().unwrap_or(&constant).node());
        let values =
            contiguous(operands.map(|tensor| tensor.map(|tensor| tensor.into_primitive())));
        let output = group.forward(&values);
        match GroupBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((values, group), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}
