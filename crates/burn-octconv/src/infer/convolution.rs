//! Convolutions as operations of a network: what the plan of a layer says, path by path.

use burn::{
    module::Param,
    nn::{PaddingConfig2d, conv::Conv2d},
};
use octave_plan::{Plan, Refusal};

use super::builder::{Epilogue, Id, NetworkBuilder, Node, OctMap, Op, Reading, Size, SizeId};
use crate::{
    OctConv2d,
    lowered::{self, Group, Sum, add_terms, values, values_of},
    ops::eligibility::depthwise_padding,
};
use octave_engine::conv::{Activation, StemWeights};

impl NetworkBuilder {
    /// The first layer, which reads the images: a convolution, an activation and, if `max_pool`,
    /// 3×3 max pooling with stride 2 and padding 1.
    ///
    /// # Errors
    ///
    /// Why the engine has no kernel for it.
    pub fn stem(
        &mut self,
        conv: &Conv2d,
        activation: Activation,
        max_pool: bool,
    ) -> Result<OctMap, Refusal> {
        let [channels, c_in, ..] = conv.weight.dims();
        let padding = symmetric(conv)?;
        let [stride, across] = conv.stride;
        if stride != across || !matches!(stride, 1 | 2) {
            let stride = stride.max(across);
            return Err(Refusal::Stride { stride });
        }
        if conv.groups != 1 || conv.dilation != [1, 1] {
            return Err(Refusal::Layer("a first layer with groups or dilation"));
        }
        let weight = values(conv.weight.val())?;
        let bias = values_of(&conv.bias.as_ref().map(Param::val))?;
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
        Ok(self.plain(to, size))
    }

    /// A vanilla convolution of a map without a low group.
    ///
    /// # Errors
    ///
    /// Why the engine has no kernel for it.
    ///
    /// # Panics
    ///
    /// If a map is another builder's.
    pub fn conv2d(
        &mut self,
        x: OctMap,
        conv: &Conv2d,
        epilogue: Epilogue<'_>,
    ) -> Result<OctMap, Refusal> {
        let layer = OctConv2d::from_conv2d(conv, 0.0, 0.0);
        let layer = layer.map_err(|_| Refusal::Layer("a convolution without an octave form"))?;
        self.conv(x, &layer, epilogue)
    }

    /// An octave convolution, and whatever its epilogue adds.
    ///
    /// # Errors
    ///
    /// Why the engine has no kernel for it.
    ///
    /// # Panics
    ///
    /// If a map is another builder's.
    pub fn conv(
        &mut self,
        x: OctMap,
        layer: &OctConv2d,
        epilogue: Epilogue<'_>,
    ) -> Result<OctMap, Refusal> {
        self.check(x);
        if layer.is_depthwise() {
            return self.depthwise(x, layer, epilogue);
        }
        let plan = &layer.plan;
        let mut groups = [Group::default(), Group::default()];
        let size = self.terms(x, layer, &mut groups)?;
        if let Some((from, projection)) = epilogue.projection {
            self.check(from);
            let other = &projection.plan;
            if projection.is_depthwise()
                || (&other.output, other.groups) != (&plan.output, plan.groups)
                || self.terms(from, projection, &mut groups)? != size
            {
                return Err(Refusal::Epilogue);
            }
        }
        if let Some(residual) = epilogue.residual {
            self.check(residual);
            if residual.size != size {
                return Err(Refusal::Shape);
            }
        }
        let half = self.size(Size::Half(size));
        let mut maps = [None, None];
        for (level, group) in groups.into_iter().enumerate() {
            let channels = plan.output[level];
            if channels > 0 {
                let residual = epilogue.residual.and_then(|map| map.group(level));
                let to = self.map(channels, [size, half][level]);
                self.product(group, plan.groups, residual, epilogue.activation, to);
                maps[level] = Some(to);
            }
        }
        Ok(self.oct_map(maps, size))
    }

    /// Adds the operation that computes an output group.
    fn product(
        &mut self,
        group: Group<Reading>,
        groups: usize,
        residual: Option<Id>,
        activation: Activation,
        to: Id,
    ) {
        let Sum {
            weights,
            sources,
            coarse,
        } = group.pack(groups);
        self.ops.push(Op::Product(Box::new(Node {
            weights,
            sources,
            coarse,
            residual,
            activation,
            to,
            pooled: None,
        })));
    }

    /// Adds the paths and biases of a layer to its output groups, and tells the full resolution of
    /// its output.
    fn terms(
        &mut self,
        x: OctMap,
        layer: &OctConv2d,
        groups: &mut [Group<Reading>; 2],
    ) -> Result<SizeId, Refusal> {
        let plan = &layer.plan;
        let padding = plan.fused_padding()?;
        add_terms(plan, &layer.kernels(), groups, |path| {
            let map = self.pooled(x.group(path.from), path.pool + path.down)?;
            if self.maps[map].channels != plan.input[path.from] {
                return Err(Refusal::Shape);
            }
            Ok(self.read(map, path.stride, padding))
        })?;
        Ok(self.output_size(x, plan, padding))
    }

    /// The full resolution of a layer's output.
    fn output_size(&mut self, x: OctMap, plan: &Plan<2>, padding: [usize; 2]) -> SizeId {
        let strides = plan.stride == 2 && plan.strided;
        let size = match plan.pools() {
            true => self.size(Size::Half(x.size)),
            false => x.size,
        };
        self.conv_size(size, plan.extent(), if strides { 2 } else { 1 }, padding)
    }

    /// A map, pooled `times`.
    fn pooled(&mut self, map: Option<Id>, times: usize) -> Result<Id, Refusal> {
        let map = map.ok_or(Refusal::Shape)?;
        Ok((0..times).fold(map, |map, _| self.pool(map)))
    }

    fn depthwise(
        &mut self,
        x: OctMap,
        layer: &OctConv2d,
        epilogue: Epilogue<'_>,
    ) -> Result<OctMap, Refusal> {
        if epilogue.residual.is_some() || epilogue.projection.is_some() {
            return Err(Refusal::Epilogue);
        }
        let plan = &layer.plan;
        let padding = depthwise_padding(plan)?;
        let size = self.output_size(x, plan, padding);
        let half = self.size(Size::Half(size));
        let kernels = layer.kernels();
        let mut maps = [None, None];
        for path in &plan.paths {
            let from = self.pooled(x.group(path.from), path.pool)?;
            let channels = self.maps[from].channels;
            if channels != plan.input[path.from] {
                return Err(Refusal::Shape);
            }
            let weights = lowered::depthwise(plan, &kernels, path, None)?;
            self.read(from, path.stride, padding);
            let to = self.map(channels, [size, half][path.to]);
            self.ops.push(Op::Depthwise {
                weights,
                from,
                stride: path.stride,
                padding,
                activation: epilogue.activation,
                to,
                pooled: None,
            });
            maps[path.to] = Some(to);
        }
        Ok(self.oct_map(maps, size))
    }
}

/// Padding at the top and at the left of a vanilla convolution without dilation, if that at the end
/// is the same.
fn symmetric(conv: &Conv2d) -> Result<[usize; 2], Refusal> {
    match conv.padding {
        PaddingConfig2d::Valid => Ok([0, 0]),
        PaddingConfig2d::Explicit(top, left, bottom, right) if (top, left) == (bottom, right) => {
            Ok([top, left])
        }
        PaddingConfig2d::Explicit(top, left, bottom, right) => Err(Refusal::Padding {
            padding: [(top, bottom), (left, right)],
        }),
        PaddingConfig2d::Same
            if conv.stride == [1, 1] && conv.kernel_size.iter().all(|k| k % 2 == 1) =>
        {
            Ok(conv.kernel_size.map(|k| k / 2))
        }
        PaddingConfig2d::Same => Err(Refusal::StridedPadding),
    }
}
