use alloc::vec::Vec;

use burn::{
    module::Param,
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::Tensor,
};

use super::{OctConv2d, OctConv2dConfig};
use crate::{ChannelSplit, OctConvError};

/// A rectangle of a vanilla kernel: output channels by input channels.
struct Block {
    output: (usize, usize),
    input: (usize, usize),
}

impl OctConv2d {
    /// Cuts a vanilla convolution in four.
    ///
    /// The *last* `⌊alpha · channels⌋` channels on each side become the low group; in a grouped
    /// convolution the last share of every group does, so that each group keeps channels of both
    /// frequencies. A depthwise convolution is cut like one without groups.
    ///
    /// The parameters are the same, the function is not: the low channels lose what does not
    /// survive one octave. Only with `alpha_in = alpha_out = 0` the layer computes what `conv`
    /// does, also with stride 2, which it then takes by strided convolution. Otherwise stride 2
    /// pools first, as the paper does.
    ///
    /// # Errors
    ///
    /// An [`OctConvError`] if the ratios are illegal, or the convolution's stride, padding or
    /// groups have no octave form.
    pub fn from_conv2d(conv: &Conv2d, alpha_in: f64, alpha_out: f64) -> Result<Self, OctConvError> {
        let [out, per_group, height, width] = conv.weight.dims();
        let config = OctConv2dConfig::new([per_group * conv.groups, out], [height, width])
            .with_stride(conv.stride)
            .with_dilation(conv.dilation)
            .with_groups(conv.groups)
            .with_padding(conv.padding.clone())
            .with_bias(conv.bias.is_some())
            .with_alpha_in(alpha_in)
            .with_alpha_out(alpha_out);
        let plan = config.plan()?;
        let vanilla = plan.input.low == 0 && plan.output.low == 0;
        let config = config.with_strided(vanilla);
        let mut layer = config.try_init(&conv.weight.val().device())?;

        // Detached, since a slice of a tracked parameter is no leaf of the graph.
        let weight = conv.weight.val().detach();
        let cut = |kernel: &mut Option<Param<Tensor<4>>>, block: Block| {
            if let Some(kernel) = kernel {
                let [rows, columns, ..] = kernel.dims();
                let part = layer_groups(&weight, conv.groups, config.is_depthwise())
                    .narrow(1, block.output.0, block.output.1)
                    .narrow(2, block.input.0, block.input.1)
                    .reshape([rows, columns, height, width]);
                *kernel = Param::from_tensor(part);
            }
        };
        let [h2h, h2l, l2h, l2l] = blocks(
            layer.input,
            layer.output,
            conv.groups,
            config.is_depthwise(),
        );
        cut(&mut layer.h2h, h2h);
        cut(&mut layer.h2l, h2l);
        cut(&mut layer.l2h, l2h);
        cut(&mut layer.l2l, l2l);

        if let Some(bias) = &conv.bias {
            let groups = if config.is_depthwise() {
                1
            } else {
                conv.groups
            };
            let bias = bias.val().detach().reshape([groups, out / groups]);
            let cut = |start: usize, channels: usize| {
                (channels > 0).then(|| {
                    let part = bias.clone().narrow(1, start / groups, channels / groups);
                    Param::from_tensor(part.reshape([channels]))
                })
            };
            layer.bias_high = cut(0, layer.output.high);
            layer.bias_low = cut(layer.output.high, layer.output.low);
        }
        Ok(layer)
    }

    /// Glues the four kernels to a vanilla convolution: the inverse of
    /// [`OctConv2d::from_conv2d`], exact to the bit. Paths that are switched off become zeros.
    pub fn to_conv2d(&self) -> Conv2d {
        let depthwise = self.is_depthwise();
        let groups = if depthwise { 1 } else { self.groups };
        let [height, width] = self.kernel_size;
        let glued = |kernel: &Option<Param<Tensor<4>>>, rows: usize, columns: usize| {
            let columns = if depthwise { 1 } else { columns / groups };
            match kernel {
                Some(kernel) => {
                    kernel
                        .val()
                        .reshape([groups, rows / groups, columns, height * width])
                }
                None => Tensor::zeros(
                    [groups, rows / groups, columns, height * width],
                    &self.device(),
                ),
            }
        };
        let row = |from_high: &Option<_>, from_low: &Option<_>, rows: usize| {
            let parts = [(from_high, self.input.high), (from_low, self.input.low)];
            let parts = parts.into_iter().filter(|(_, columns)| *columns > 0);
            let parts: Vec<Tensor<4>> = parts
                .map(|(kernel, columns)| glued(kernel, rows, columns))
                .collect();
            Tensor::cat(parts, 2)
        };
        let mut rows = Vec::new();
        if depthwise {
            rows.extend(
                self.h2h
                    .as_ref()
                    .map(|_| glued(&self.h2h, self.output.high, 1)),
            );
            rows.extend(
                self.l2l
                    .as_ref()
                    .map(|_| glued(&self.l2l, self.output.low, 1)),
            );
        } else {
            if self.output.high > 0 {
                rows.push(row(&self.h2h, &self.l2h, self.output.high));
            }
            if self.output.low > 0 {
                rows.push(row(&self.h2l, &self.l2l, self.output.low));
            }
        }
        let per_group = self.input.total() / self.groups;
        let weight =
            Tensor::cat(rows, 1)
                .detach()
                .reshape([self.output.total(), per_group, height, width]);

        let biases = [&self.bias_high, &self.bias_low].into_iter().flatten();
        let biases: Vec<Tensor<2>> = biases
            .map(|bias| {
                let channels = bias.dims()[0];
                bias.val().reshape([groups, channels / groups])
            })
            .collect();
        let bias = (!biases.is_empty()).then(|| {
            Param::from_tensor(
                Tensor::cat(biases, 1)
                    .detach()
                    .reshape([self.output.total()]),
            )
        });
        let [(top, bottom), (left, right)] = self.plan.padding_at_stride_1();
        Conv2d {
            weight: Param::from_tensor(weight),
            bias,
            stride: [self.plan.stride; 2],
            kernel_size: self.kernel_size,
            dilation: self.plan.dilation,
            groups: self.groups,
            padding: if self.plan.padding == octave_plan::Padding::Same {
                PaddingConfig2d::Same
            } else {
                PaddingConfig2d::Explicit(top, left, bottom, right)
            },
        }
    }
}

/// A kernel as `[groups, out / groups, in / groups, height · width]`; a depthwise one has all its
/// channels in one group, since it is cut along the output only.
fn layer_groups(weight: &Tensor<4>, groups: usize, depthwise: bool) -> Tensor<4> {
    let [out, per_group, height, width] = weight.dims();
    let groups = if depthwise { 1 } else { groups };
    weight
        .clone()
        .reshape([groups, out / groups, per_group, height * width])
}

/// Where the four kernels lie in each group of the vanilla kernel: H→H, H→L, L→H, L→L.
fn blocks(input: ChannelSplit, output: ChannelSplit, groups: usize, depthwise: bool) -> [Block; 4] {
    let side = |split: ChannelSplit, groups: usize| {
        let (high, low) = (split.high / groups, split.low / groups);
        [(0, high), (high, low)]
    };
    let outputs = side(output, if depthwise { 1 } else { groups });
    let inputs = if depthwise {
        [(0, 1); 2]
    } else {
        side(input, groups)
    };
    let block = |to: usize, from: usize| Block {
        output: outputs[to],
        input: inputs[from],
    };
    [block(0, 0), block(1, 0), block(0, 1), block(1, 1)]
}
