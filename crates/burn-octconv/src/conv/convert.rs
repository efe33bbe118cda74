use alloc::vec::Vec;

use burn::{
    module::Param,
    nn::{PaddingConfig2d, conv::Conv2d},
    tensor::Tensor,
};

use octave_plan::{Padding, Plan};

use super::{OctConv2d, OctConv2dConfig};
use crate::OctConvError;

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
        let vanilla = {
            let plan = config.plan()?;
            plan.input[1] == 0 && plan.output[1] == 0
        };
        let config = config.with_strided(vanilla);
        let mut layer = config.try_init(&conv.weight.val().device())?;
        let plan = layer.plan.clone();
        let groups = kernel_groups(&plan);

        // Detached, since a slice of a tracked parameter is no leaf of the graph.
        let weight = conv.weight.val().detach();
        let weight: Tensor<4> = weight.reshape([groups, out / groups, per_group, height * width]);
        for path in &plan.paths {
            let part = weight
                .clone()
                .narrow(1, path.rows.start, path.rows.len())
                .narrow(2, path.columns.start, path.columns.len());
            let [rows, columns] = plan.weight_dims(path);
            if let Some(kernel) = layer.kernel_mut(path) {
                *kernel = Param::from_tensor(part.reshape([rows, columns, height, width]));
            }
        }

        if let Some(bias) = &conv.bias {
            let bias = bias.val().detach().reshape([groups, out / groups]);
            let cut = |start: usize, channels: usize| {
                (channels > 0).then(|| {
                    let part = bias.clone().narrow(1, start / groups, channels / groups);
                    Param::from_tensor(part.reshape([channels]))
                })
            };
            layer.bias_high = cut(0, plan.output[0]);
            layer.bias_low = cut(plan.output[0], plan.output[1]);
        }
        Ok(layer)
    }

    /// Glues the four kernels to a vanilla convolution: the inverse of
    /// [`OctConv2d::from_conv2d`], exact to the bit. Paths that are switched off become zeros.
    pub fn to_conv2d(&self) -> Conv2d {
        let plan = &self.plan;
        let kernels = self.kernels();
        let groups = kernel_groups(plan);
        let [height, width] = plan.kernel_size;
        let part = |from: usize, to: usize| {
            let path = plan.path(from, to);
            let kernel = path.and_then(|path| kernels.get(path));
            let columns = match plan.is_depthwise() {
                true => 1,
                false => plan.input[from] / groups,
            };
            let shape = [groups, plan.output[to] / groups, columns, height * width];
            match kernel {
                Some(kernel) => kernel.clone().reshape(shape),
                None => Tensor::zeros(shape, &self.device()),
            }
        };
        let row = |to: usize| {
            // One filter per channel reads its own group alone.
            let from = (0..2).filter(|&from| plan.input[from] > 0);
            let from = from.filter(|&from| !plan.is_depthwise() || from == to);
            let parts: Vec<Tensor<4>> = from.map(|from| part(from, to)).collect();
            Tensor::cat(parts, 2)
        };
        let rows = (0..2).filter(|&to| plan.output[to] > 0).map(row).collect();
        let out = self.output().total();
        let per_group = self.input().total() / plan.groups;
        let weight = Tensor::cat(rows, 1).detach();

        let biases = [kernels.bias_high, kernels.bias_low].into_iter().flatten();
        let biases: Vec<Tensor<2>> = biases
            .map(|bias| {
                let channels = bias.dims()[0];
                bias.reshape([groups, channels / groups])
            })
            .collect();
        let bias = (!biases.is_empty())
            .then(|| Param::from_tensor(Tensor::cat(biases, 1).detach().reshape([out])));
        Conv2d {
            weight: Param::from_tensor(weight.reshape([out, per_group, height, width])),
            bias,
            stride: [plan.stride; 2],
            kernel_size: plan.kernel_size,
            dilation: plan.dilation,
            groups: plan.groups,
            padding: match plan.padding {
                Padding::Same => PaddingConfig2d::Same,
                Padding::Explicit([(top, bottom), (left, right)]) => {
                    PaddingConfig2d::Explicit(top, left, bottom, right)
                }
            },
        }
    }
}

/// Groups by which the vanilla kernel is cut. A depthwise one is cut along the output only, with all
/// its channels in one group.
fn kernel_groups(plan: &Plan<2>) -> usize {
    match plan.is_depthwise() {
        true => 1,
        false => plan.groups,
    }
}
