//! A network for tests: small, and with parts of every kind, lists, enums and norms among them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::{
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};
use serde::{Deserialize, Serialize};

use crate::{Classifier, Cost, NetworkError, tensors::full};

#[derive(Module, Debug)]
pub(crate) struct TestNetwork {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    fc: Linear,
}

#[derive(Module, Debug)]
enum Block {
    Residual(Residual),
}

#[derive(Module, Debug)]
struct Residual {
    conv1: Conv2d,
    bn1: BatchNorm,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TestConfig {
    pub(crate) channels: usize,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self { channels: 8 }
    }
}

fn conv([from, to]: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new([from, to], [3, 3])
        .with_padding(PaddingConfig2d::Same)
        .init(device)
}

/// Burn's norm has parameters in 32 bits, whatever the maps are in.
fn norm(norm: &BatchNorm, maps: Tensor<4>) -> Tensor<4> {
    let dtype = maps.dtype();
    norm.forward(full(maps)).cast(dtype)
}

impl Classifier for TestConfig {
    type Network = TestNetwork;

    fn init(&self, classes: usize, device: &Device) -> Result<TestNetwork, NetworkError> {
        let channels = self.channels;
        let bn = || BatchNormConfig::new(channels).init(device);
        let layer = || {
            vec![Block::Residual(Residual {
                conv1: conv([channels; 2], device),
                bn1: bn(),
            })]
        };
        Ok(TestNetwork {
            conv1: conv([3, channels], device),
            bn1: bn(),
            layer1: layer(),
            layer2: layer(),
            layer3: layer(),
            layer4: layer(),
            fc: LinearConfig::new(channels, classes).init(device),
        })
    }

    fn features(network: &TestNetwork, images: Tensor<4>) -> Tensor<2> {
        let stem = relu(norm(&network.bn1, network.conv1.forward(images)));
        let layers = [
            &network.layer1,
            &network.layer2,
            &network.layer3,
            &network.layer4,
        ];
        let maps = layers.into_iter().flatten().fold(stem, |x, block| {
            let Block::Residual(Residual { conv1, bn1 }) = block;
            relu(x.clone() + norm(bn1, conv1.forward(x)))
        });
        maps.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    fn classify(network: &TestNetwork, features: Tensor<2>) -> Tensor<2> {
        network.fc.forward(features)
    }

    fn validate(&self) -> Result<(), NetworkError> {
        match self.channels {
            0 => Err("`model.channels` is 0: it must be at least 1".into()),
            _ => Ok(()),
        }
    }

    fn cost(&self, classes: usize, [height, width]: [usize; 2]) -> Option<Cost> {
        let channels = self.channels as u64;
        let (pixels, classes) = ((height * width) as u64, classes as u64);
        Some(Cost {
            params: channels * (27 + 36 * channels + classes),
            macs: channels * pixels * (27 + 36 * channels) + channels * classes,
            activations: 5 * channels * pixels,
        })
    }
}

/// Tests that train take turns, since all share the generator of Flex and count on what they seeded it
/// with.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
