//! A residual block on the CPU engine.

use burn_octconv::{
    OctBatchNorm, Refusal,
    infer::{Epilogue, NetworkBuilder, OctMap},
    ops::norm::Activation,
};

use super::{Order, Residual};

impl Residual {
    pub(in crate::model) fn lower(
        &self,
        net: &mut NetworkBuilder,
        x: OctMap,
    ) -> Result<OctMap, Refusal> {
        if self.se.is_some() {
            return Err(Refusal::Layer("squeeze-and-excitation"));
        }
        if self.pad.is_some() {
            return Err(Refusal::Layer("a shortcut that pads"));
        }
        let inner = match &self.bn1 {
            Some(bn1) if self.pre_activates() => activated(net, x, &self.pre_norm, bn1)?,
            _ => normalized(net, x, &self.pre_norm)?,
        };
        let last = self.last_epilogue(net, x, inner)?;
        let x = net.conv(inner, &self.conv1, Epilogue::relu())?;
        match &self.conv3 {
            Some(conv3) => {
                let x = net.conv(x, &self.conv2, Epilogue::relu())?;
                net.conv(x, conv3, last)
            }
            None => net.conv(x, &self.conv2, last),
        }
    }

    fn pre_activates(&self) -> bool {
        self.order == Order::PreActivation
    }

    /// The shortcut and the activation, which the last convolution takes along.
    fn last_epilogue(
        &self,
        net: &mut NetworkBuilder,
        x: OctMap,
        inner: OctMap,
    ) -> Result<Epilogue<'_>, Refusal> {
        let mut last = Epilogue::activate(match self.order {
            Order::PreActivation => Activation::Identity,
            Order::PostActivation => Activation::Relu,
        });
        let Some(projection) = &self.downsample else {
            last.residual = Some(x);
            return Ok(last);
        };
        let from = match &projection.bn {
            Some(bn) => activated(net, x, &projection.pre_norm, bn)?,
            None if self.pre_activates() => inner,
            None => normalized(net, x, &projection.pre_norm)?,
        };
        last.projection = Some((from, &projection.conv));
        Ok(last)
    }
}

/// A pre-activation block's input after its norms.
fn activated(
    net: &mut NetworkBuilder,
    x: OctMap,
    plain: &Option<OctBatchNorm>,
    norm: &OctBatchNorm,
) -> Result<OctMap, Refusal> {
    let x = normalized(net, x, plain)?;
    net.batch_norm(x, norm, Activation::Relu)
}

/// A norm that could not be folded and has no activation.
fn normalized(
    net: &mut NetworkBuilder,
    x: OctMap,
    norm: &Option<OctBatchNorm>,
) -> Result<OctMap, Refusal> {
    match norm {
        Some(norm) => net.batch_norm(x, norm, Activation::Identity),
        None => Ok(x),
    }
}
