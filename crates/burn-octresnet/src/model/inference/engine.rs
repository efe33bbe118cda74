//! From the modules of a network to the operations of the CPU engine.
//!
//! What the engine has no kernel for is refused: squeeze-and-excitation, concatenation, shortcuts
//! that pad.

use burn::nn::{PaddingConfig2d, pool::MaxPool2d};
use burn_octconv::{
    Refusal,
    infer::{Epilogue, Network, NetworkBuilder, OctMap},
    ops::norm::Activation,
};

use crate::model::OctResNet;

/// The network on the engine, of folded modules.
pub(super) fn network(model: &OctResNet) -> Result<Network, Refusal> {
    let mut net = NetworkBuilder::default();
    let activation = model.activation;
    let mut x = stem(&mut net, model)?;
    for block in [&model.layer1, &model.layer2, &model.layer3, &model.layer4]
        .into_iter()
        .flatten()
    {
        x = block.lower(&mut net, x)?;
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
        Some(block) => block.lower(net, x),
        None => Ok(x),
    }
}

/// Whether a pooling is 3×3 with stride 2 and padding 1.
fn is_3x3(pool: &MaxPool2d) -> bool {
    matches!(pool.padding, PaddingConfig2d::Explicit(1, 1, 1, 1))
        && (pool.kernel_size, pool.stride, pool.dilation) == ([3; 2], [2; 2], [1; 2])
        && !pool.ceil_mode
}
