//! From layers to operations.

use burn::{
    nn::{BatchNorm, PaddingConfig2d, conv::Conv2d},
    tensor::{DType, Device, Tensor},
};

use super::builder::{
    Epilogue, Id, NetworkBuilder, Node, OctMap, Op, Reading, Size, SizeId, keeps_size,
};
use crate::{Downsample, OctBatchNorm, OctConv2d, Upsample, conv::Affine, ops::uses_engine};
use octave_engine::{
    Isa,
    affine::AffineWeights,
    conv::{Activation, DepthwiseWeights, Kernel, PackedWeights, StemWeights, panel_width},
};
use octave_plan::Padding;

/// The elements of a tensor; `None` unless it is f32 on Flex, outside of autodiff.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Option<Vec<f32>> {
    let device: Device = tensor.device();
    let served = tensor.dtype() == DType::F32 && uses_engine(&device) && !device.is_autodiff();
    served.then(|| tensor.try_into_vec_as().ok()).flatten()
}

/// A convolution that adds to an output group.
struct Path {
    reading: Reading,
    weight: Vec<f32>,
    c_in: usize,
    kernel: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

/// An output group on its way: what is summed at its resolution and, upsampled, at half of it.
#[derive(Default)]
struct Group {
    fine: Vec<Path>,
    coarse: Vec<Path>,
    bias: Vec<f32>,
}

/// Packs kernels in panels of the given width.
fn pack(channels: usize, width: usize, paths: &[Path], bias: Option<&[f32]>) -> PackedWeights {
    let kernels: Vec<_> = paths
        .iter()
        .map(|path| Kernel {
            weight: &path.weight,
            c_in: path.c_in,
            size: path.kernel,
            dilation: path.dilation,
            groups: path.groups,
            transposed: false,
        })
        .collect();
    let mut packed = PackedWeights::default();
    packed.pack_panels(Isa::best(), channels, width, &kernels, bias);
    packed
}

fn readings(paths: Vec<Path>) -> Vec<Reading> {
    paths.into_iter().map(|path| path.reading).collect()
}

impl NetworkBuilder {
    /// The first layer, which reads the images: a convolution, an activation and, if `max_pool`,
    /// 3×3 max pooling with stride 2 and padding 1.
    pub fn stem(
        &mut self,
        conv: &Conv2d,
        activation: Activation,
        max_pool: bool,
    ) -> Option<OctMap> {
        let [channels, c_in, ..] = conv.weight.dims();
        let padding = symmetric(&conv.padding, conv.kernel_size, conv.stride)?;
        let stride = conv.stride[0];
        if conv.groups != 1 || conv.dilation != [1, 1] || !matches!(conv.stride, [1, 1] | [2, 2]) {
            return None;
        }
        let weight = values(conv.weight.val())?;
        let bias = match &conv.bias {
            Some(bias) => Some(values(bias.val())?),
            None => None,
        };
        let image = self.size(Size::Image);
        let mut size = self.conv_size(image, conv.kernel_size, stride, padding);
        if max_pool {
            size = self.size(Size::Half(size));
        }
        let to = self.map(channels, size);
        self.ops.push(Op::Stem {
            weights: StemWeights::new(&weight, channels, c_in, conv.kernel_size, bias.as_deref()),
            stride,
            padding,
            activation,
            max_pool,
            to,
        });
        Some(plain(to, size))
    }

    /// A vanilla convolution of a map without a low group.
    pub fn conv2d(&mut self, x: OctMap, conv: &Conv2d, epilogue: Epilogue<'_>) -> Option<OctMap> {
        self.conv(x, &OctConv2d::from_conv2d(conv, 0.0, 0.0).ok()?, epilogue)
    }

    /// An octave convolution, and whatever its epilogue adds.
    pub fn conv(&mut self, x: OctMap, layer: &OctConv2d, epilogue: Epilogue<'_>) -> Option<OctMap> {
        if layer.is_depthwise() {
            return self.depthwise(x, layer, epilogue);
        }
        let mut groups = [Group::default(), Group::default()];
        let size = self.paths(x, layer, &mut groups)?;
        if let Some((x, projection)) = epilogue.projection {
            let same = projection.plan.output == layer.plan.output
                && projection.plan.groups == layer.plan.groups;
            if projection.is_depthwise() || !same {
                return None;
            }
            if self.paths(x, projection, &mut groups)? != size {
                return None;
            }
        }
        let residual = epilogue.residual.map(|map| (map.size, [map.high, map.low]));
        if residual.is_some_and(|(of, _)| of != size) {
            return None;
        }
        let half = self.size(Size::Half(size));
        let [high, low] = groups;
        let mut product = |group: Group, channels: usize, size: SizeId, index: usize| {
            (channels > 0).then(|| {
                // The fine and the coarse sum are computed panel by panel.
                let width = panel_width(channels, layer.plan.groups);
                let weights = pack(channels, width, &group.fine, Some(&group.bias));
                let coarse = pack(channels, width, &group.coarse, None);
                let to = self.map(channels, size);
                let coarse_sources = readings(group.coarse);
                self.ops.push(Op::Product(Box::new(Node {
                    weights,
                    sources: readings(group.fine),
                    coarse: (!coarse_sources.is_empty()).then_some((coarse, coarse_sources)),
                    residual: residual.and_then(|(_, maps)| maps[index]),
                    activation: epilogue.activation,
                    to,
                    pooled: None,
                })));
                to
            })
        };
        Some(OctMap {
            high: product(high, layer.plan.output[0], size, 0),
            low: product(low, layer.plan.output[1], half, 1),
            size,
        })
    }

    /// Adds the paths and biases of a layer to its output groups, and tells the full resolution of
    /// its output.
    fn paths(
        &mut self,
        x: OctMap,
        layer: &OctConv2d,
        [to_high, to_low]: &mut [Group; 2],
    ) -> Option<SizeId> {
        let options = &layer.plan;
        let kernels = [&layer.h2h, &layer.h2l, &layer.l2h, &layer.l2l];
        let alone = kernels[1..].iter().all(|kernel| kernel.is_none());
        let resamples =
            options.downsample == Downsample::Average && options.upsample == Upsample::Nearest;
        let strided = options.strided && options.stride == 2;
        if (strided || !resamples) && !alone {
            return None;
        }
        let (padding, extent) = layer_padding(layer)?;
        if !keeps_size(extent, padding) && !alone {
            return None;
        }

        // With stride 2 both inputs are pooled first, but for L→H, whose input already has the
        // resolution of its output.
        let pools = options.pools();
        let (mut high, mut low) = (x.high, x.low);
        let mut size = x.size;
        if pools {
            size = self.size(Size::Half(size));
            high = layer
                .h2h
                .as_ref()
                .or(layer.h2l.as_ref())
                .and(high)
                .map(|map| self.pool(map));
            low = layer.l2l.as_ref().and(low).map(|map| self.pool(map));
        }
        let path = |net: &mut Self, kernel: &Option<_>, map: Option<Id>, stride: usize| {
            let Some(kernel): &Option<burn::module::Param<Tensor<4>>> = kernel else {
                return Some(None);
            };
            let map = map?;
            let c_in = kernel.dims()[1] * layer.plan.groups;
            if net.maps[map].channels != c_in {
                return None;
            }
            Some(Some(Path {
                reading: net.read(map, stride, padding),
                weight: values(kernel.val())?,
                c_in,
                kernel: layer.plan.kernel_size,
                dilation: options.dilation,
                groups: layer.plan.groups,
            }))
        };
        let stride = if strided { 2 } else { 1 };
        let h2h = path(self, &layer.h2h, high, stride)?;
        let l2h = path(self, &layer.l2h, x.low, 1)?;
        let l2l = path(self, &layer.l2l, low, 1)?;
        let pooled = layer.h2l.as_ref().and(high).map(|map| self.pool(map));
        let h2l = path(self, &layer.h2l, pooled, 1)?;
        to_high.fine.extend(h2h);
        if options.stride == 2 {
            to_high.fine.extend(l2h);
        } else {
            to_high.coarse.extend(l2h);
        }
        to_low.fine.extend(h2l);
        to_low.fine.extend(l2l);

        for (group, bias, channels) in [
            (to_high, &layer.bias_high, layer.plan.output[0]),
            (to_low, &layer.bias_low, layer.plan.output[1]),
        ] {
            group.bias.resize(channels, 0.0);
            if let Some(bias) = bias {
                let bias = values(bias.val())?;
                group
                    .bias
                    .iter_mut()
                    .zip(bias)
                    .for_each(|(sum, b)| *sum += b);
            }
        }
        Some(self.conv_size(size, extent, stride, padding))
    }

    fn depthwise(
        &mut self,
        x: OctMap,
        layer: &OctConv2d,
        epilogue: Epilogue<'_>,
    ) -> Option<OctMap> {
        if epilogue.residual.is_some() || epilogue.projection.is_some() {
            return None;
        }
        let (padding, extent) = layer_padding(layer)?;
        let strided = layer.plan.strided && layer.plan.stride == 2;
        if !keeps_size(extent, padding) || (strided && layer.l2l.is_some()) {
            return None;
        }
        let stride = if strided { 2 } else { 1 };
        let mut size = x.size;
        if layer.plan.stride == 2 {
            size = self.size(Size::Half(size));
        }
        let half = self.size(Size::Half(size));
        let mut group = |kernel: &Option<burn::module::Param<Tensor<4>>>,
                         bias: &Option<burn::module::Param<Tensor<1>>>,
                         map: Option<Id>,
                         size: SizeId| {
            let Some(kernel) = kernel else {
                return Some(None);
            };
            let mut from = map?;
            if layer.plan.pools() {
                from = self.pool(from);
            }
            let channels = self.maps[from].channels;
            let weight = values(kernel.val())?;
            let bias = match bias {
                Some(bias) => Some(values(bias.val())?),
                None => None,
            };
            let dilation = layer.plan.dilation;
            let weights = DepthwiseWeights::new(
                &weight,
                channels,
                layer.plan.kernel_size,
                dilation,
                bias.as_deref(),
            );
            self.read(from, stride, padding);
            let to = self.map(channels, size);
            self.ops.push(Op::Depthwise {
                weights,
                from,
                stride,
                padding,
                activation: epilogue.activation,
                to,
                pooled: None,
            });
            Some(Some(to))
        };
        Some(OctMap {
            high: group(&layer.h2h, &layer.bias_high, x.high, size)?,
            low: group(&layer.l2l, &layer.bias_low, x.low, half)?,
            size,
        })
    }

    /// A batch norm that could not be folded, with its running statistics, and an activation.
    pub fn batch_norm(
        &mut self,
        x: OctMap,
        norm: &OctBatchNorm,
        activation: Activation,
    ) -> Option<OctMap> {
        Some(OctMap {
            high: self.affine(x.high, norm.high.as_ref(), activation)?,
            low: self.affine(x.low, norm.low.as_ref(), activation)?,
            size: x.size,
        })
    }

    /// The same of a vanilla norm.
    pub fn batch_norm2d(
        &mut self,
        x: OctMap,
        norm: &BatchNorm,
        activation: Activation,
    ) -> Option<OctMap> {
        if x.low.is_some() {
            return None;
        }
        Some(OctMap {
            high: self.affine(x.high, Some(norm), activation)?,
            ..x
        })
    }

    fn affine(
        &mut self,
        from: Option<Id>,
        norm: Option<&BatchNorm>,
        activation: Activation,
    ) -> Option<Option<Id>> {
        let (Some(from), Some(norm)) = (from, norm) else {
            // A norm and a map are both there or neither is.
            return (from.is_none() && norm.is_none()).then_some(None);
        };
        let Affine { scale, shift } = Affine::new(norm);
        let weights = AffineWeights::new(&values(scale)?, &values(shift)?);
        let map = self.maps[from];
        let to = self.map(map.channels, map.size);
        self.ops.push(Op::Affine {
            weights,
            activation,
            from,
            to,
            pooled: None,
        });
        Some(Some(to))
    }

    /// 3×3 max pooling with stride 2 and padding 1 of a map without a low group.
    pub fn max_pool(&mut self, x: OctMap) -> Option<OctMap> {
        let (from, None) = (x.high?, x.low) else {
            return None;
        };
        let size = self.size(Size::Half(x.size));
        let to = self.map(self.maps[from].channels, size);
        self.ops.push(Op::MaxPool { from, to });
        Some(plain(to, size))
    }
}

fn plain(high: Id, size: SizeId) -> OctMap {
    OctMap {
        high: Some(high),
        low: None,
        size,
    }
}

/// Padding at the top and at the left, if that at the end is the same; and the extent of the
/// kernel.
fn layer_padding(layer: &OctConv2d) -> Option<([usize; 2], [usize; 2])> {
    let options = &layer.plan;
    let extent = options.extent();
    // `same` with a strided convolution depends on the size and may pad at the end only.
    let strided_same = options.padding == Padding::Same && options.strided && options.stride == 2;
    let padding = options.padding_at_stride_1();
    let symmetric = padding.iter().all(|(begin, end)| begin == end);
    let served = symmetric && !(strided_same && extent != [1, 1]);
    served.then(|| (padding.map(|(begin, _)| begin), extent))
}

/// The same for a vanilla convolution without dilation.
fn symmetric(
    padding: &PaddingConfig2d,
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Option<[usize; 2]> {
    match *padding {
        PaddingConfig2d::Valid => Some([0, 0]),
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => {
            Some([top, left])
        }
        PaddingConfig2d::Same if stride == [1, 1] && kernel.iter().all(|k| k % 2 == 1) => {
            Some(kernel.map(|k| k / 2))
        }
        _ => None,
    }
}
