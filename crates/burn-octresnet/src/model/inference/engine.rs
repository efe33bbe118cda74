//! From the modules of a network to the operations of the CPU engine.
//!
//! What the engine has no kernel for is refused: squeeze-and-excitation, concatenation, shortcuts that
//! pad.

use burn::nn::{PaddingConfig2d, pool::MaxPool2d};
use burn_octconv::{
    OctBatchNorm, Refusal,
    infer::{Epilogue, Network, NetworkBuilder, OctMap},
    ops::norm::Activation,
};

use crate::model::{Block, Inverted, OctResNet, Order, Residual, Separable};

/// The network on the engine, of folded modules.
pub(super) fn network(model: &OctResNet) -> Result<Network, Refusal> {
    let mut net = NetworkBuilder::default();
    let activation = model.activation;
    let mut x = stem(&mut net, model)?;
    for block in [&model.layer1, &model.layer2, &model.layer3, &model.layer4]
        .into_iter()
        .flatten()
    {
        x = match block {
            Block::Residual(block) => residual(&mut net, x, block)?,
            Block::Separable(block) => separable(&mut net, x, block)?,
            Block::Inverted(block) => inverted(&mut net, x, block)?,
            Block::Dense(_) | Block::Transition(_) => {
                return Err(Refusal::Layer("concatenation (DenseNet)"));
            }
        };
    }
    if let Some(norm) = &model.norm {
        x = net.batch_norm2d(x, norm, activation)?;
    }
    if let Some(last) = &model.last {
        x = net.conv2d(x, &last.conv, Epilogue::activate(activation))?;
    }
    net.finish(x, &model.fc)
}

fn stem(net: &mut NetworkBuilder, model: &OctResNet) -> Result<OctMap, Refusal> {
    let activation = model.activation;
    let pools = match &model.maxpool {
        Some(pool) if is_3x3(pool) => true,
        Some(_) => return Err(Refusal::Pooling),
        None => false,
    };
    let first = match model.activates_conv1 {
        true => activation,
        false => Activation::Identity,
    };
    let mut x = net.stem(&model.conv1, first, pools && model.deep.is_empty())?;
    for conv in &model.deep {
        x = net.conv2d(x, &conv.conv, Epilogue::activate(activation))?;
    }
    if pools && !model.deep.is_empty() {
        x = net.max_pool(x)?;
    }
    match &model.reduce {
        Some(block) => residual(net, x, block),
        None => Ok(x),
    }
}

/// Whether a pooling is 3×3 with stride 2 and padding 1.
fn is_3x3(pool: &MaxPool2d) -> bool {
    matches!(pool.padding, PaddingConfig2d::Explicit(1, 1, 1, 1))
        && (pool.kernel_size, pool.stride, pool.dilation) == ([3; 2], [2; 2], [1; 2])
        && !pool.ceil_mode
}

fn residual(net: &mut NetworkBuilder, x: OctMap, block: &Residual) -> Result<OctMap, Refusal> {
    if block.se.is_some() {
        return Err(Refusal::Layer("squeeze-and-excitation"));
    }
    if block.pad.is_some() {
        return Err(Refusal::Layer("a shortcut that pads"));
    }
    let pre = block.order == Order::PreActivation;
    // A pre-activation block's input after its norms.
    let norms = |net: &mut NetworkBuilder, plain: &Option<OctBatchNorm>, norm: &OctBatchNorm| {
        let x = normalize(net, x, plain)?;
        net.batch_norm(x, norm, Activation::Relu)
    };
    let inner = match &block.bn1 {
        Some(bn1) if pre => norms(net, &block.pre_norm, bn1)?,
        _ => normalize(net, x, &block.pre_norm)?,
    };
    let mut last = Epilogue::activate(match pre {
        true => Activation::Identity,
        false => Activation::Relu,
    });
    match &block.downsample {
        Some(projection) => {
            let from = match &projection.bn {
                Some(bn) => norms(net, &projection.pre_norm, bn)?,
                None if pre => inner,
                None => normalize(net, x, &projection.pre_norm)?,
            };
            last.projection = Some((from, &projection.conv));
        }
        None => last.residual = Some(x),
    }
    let x = net.conv(inner, &block.conv1, Epilogue::relu())?;
    match &block.conv3 {
        Some(conv3) => {
            let x = net.conv(x, &block.conv2, Epilogue::relu())?;
            net.conv(x, conv3, last)
        }
        None => net.conv(x, &block.conv2, last),
    }
}

/// A norm that could not be folded and has no activation.
fn normalize(
    net: &mut NetworkBuilder,
    x: OctMap,
    norm: &Option<OctBatchNorm>,
) -> Result<OctMap, Refusal> {
    match norm {
        Some(norm) => net.batch_norm(x, norm, Activation::Identity),
        None => Ok(x),
    }
}

fn separable(net: &mut NetworkBuilder, x: OctMap, block: &Separable) -> Result<OctMap, Refusal> {
    let x = net.conv(x, &block.conv1, Epilogue::relu())?;
    net.conv(x, &block.conv2, Epilogue::relu())
}

fn inverted(net: &mut NetworkBuilder, x: OctMap, block: &Inverted) -> Result<OctMap, Refusal> {
    let relu6 = Epilogue::activate(Activation::Relu6);
    let inner = net.conv(x, &block.conv1, relu6)?;
    let inner = net.conv(inner, &block.conv2, relu6)?;
    let last = Epilogue {
        residual: block.shortcut.then_some(x),
        ..Epilogue::default()
    };
    net.conv(inner, &block.conv3, last)
}
