//! Layers called one after the other without gradients, whose maps stay in the engine's layout: as
//! composed of Burn's operations, whatever follows what, and after every change of a parameter.

#![cfg(feature = "flex")]

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{BatchNorm, BatchNormConfig, PaddingConfig2d, conv::Conv2dConfig, pool::MaxPool2dConfig},
    tensor::{Device, Distribution, Tensor, TensorData, activation},
};
use burn_octconv::{
    OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig, OctFeatures, OctMaxPool2d,
    OctSqueezeExciteConfig,
    ops::{
        self,
        norm::{Activation, batch_norm, batch_norm_max_pool},
        without_engine,
    },
};
use proptest::prelude::*;
use rayon::prelude::*;

/// A norm that does something.
fn norm(channels: usize, alpha: f64, device: &Device) -> OctBatchNorm {
    let config = OctBatchNormConfig::new(channels).with_alpha(alpha);
    let mut norm = config.init(device);
    for part in [&mut norm.high, &mut norm.low].into_iter().flatten() {
        disturb(part);
    }
    norm
}

fn disturb(norm: &mut BatchNorm) {
    let (channels, device) = (norm.gamma.dims(), norm.gamma.device());
    let random =
        |low, high| Tensor::<1>::random(channels, Distribution::Uniform(low, high), &device);
    norm.gamma = Param::from_tensor(random(0.5, 1.5));
    norm.beta = Param::from_tensor(random(-0.5, 0.5));
    norm.running_mean.update(random(-0.5, 0.5));
    norm.running_var.update(random(0.5, 2.0));
}

fn conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    alpha: [f64; 2],
    device: &Device,
) -> OctConv2d {
    OctConv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_groups(groups)
        .with_alpha_in(alpha[0])
        .with_alpha_out(alpha[1])
        .init(device)
}

fn data(features: OctFeatures) -> Vec<TensorData> {
    let (high, low) = features.into_parts();
    let groups = [high, low].into_iter().flatten();
    groups.map(Tensor::into_data).collect()
}

/// The same by the engine and composed, within rounding.
#[track_caller]
fn assert_same<M: Sync>(model: &M, forward: impl Fn(&M) -> OctFeatures + Sync) {
    let engine = data(forward(model));
    let composed = without_engine(|| data(forward(model)));
    assert_eq!(engine.len(), composed.len());
    for (engine, composed) in engine.into_iter().zip(composed) {
        assert_eq!(engine.shape(), composed.shape());
        let composed: Vec<f32> = composed.try_to_vec().unwrap();
        let largest = composed.iter().fold(1.0f32, |max, x| max.max(x.abs()));
        for (one, other) in engine
            .try_to_vec::<f32>()
            .unwrap()
            .into_iter()
            .zip(composed)
        {
            assert!((one - other).abs() <= 2e-5 * largest, "{one} {other}");
        }
    }
}

/// A residual block of a user's own: two convolutions, one of them in groups or depthwise.
#[derive(Module, Debug)]
struct Block {
    first: OctConv2d,
    first_norm: OctBatchNorm,
    second: OctConv2d,
    second_norm: OctBatchNorm,
    shortcut: OctConv2d,
}

impl Block {
    fn new(width: usize, stride: usize, groups: usize, alpha: f64, device: &Device) -> Self {
        let alphas = [alpha, alpha];
        Self {
            first: conv([width, width], 3, stride, groups, alphas, device),
            first_norm: norm(width, alpha, device),
            second: conv([width, width], 1, 1, 1, alphas, device),
            second_norm: norm(width, alpha, device),
            shortcut: conv([width, width], 1, stride, 1, alphas, device),
        }
    }

    fn forward(&self, x: OctFeatures) -> OctFeatures {
        let y = self
            .first_norm
            .forward(self.first.forward(x.clone()))
            .relu();
        let y = self.second_norm.forward(self.second.forward(y));
        (y + self.shortcut.forward(x)).relu()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn blocks_of_a_users_own(
        width in 1usize..4,
        (images, height, width_in_pixels) in (1usize..3, 3usize..12, 3usize..12),
        stride in 1usize..3,
        groups in 0usize..3,
        alpha in prop::sample::select(vec![0.0, 0.25, 0.5]),
    ) {
        let device = Device::flex();
        let channels = 16 * width;
        let groups = [1, 4, channels][groups];
        let blocks = [
            Block::new(channels, stride, groups, alpha, &device),
            Block::new(channels, 1, 1, alpha, &device),
        ];
        let shape = [images, channels, height, width_in_pixels];
        let image = Tensor::<4>::random(shape, Distribution::Default, &device);
        assert_same(&blocks, |blocks| {
            let x = OctFeatures::split(image.clone(), alpha);
            blocks.iter().fold(x, |x, block| block.forward(x))
        });
    }
}

#[test]
fn whatever_follows_what() {
    let device = Device::flex();
    let layer = conv([20, 36], 3, 1, 1, [0.5, 0.25], &device);
    let model = (layer, norm(36, 0.25, &device));
    let image = Tensor::<4>::random([2, 20, 7, 6], Distribution::Default, &device);
    let x = OctFeatures::split(image, 0.5);
    type Follow = fn(&OctBatchNorm, OctFeatures) -> OctFeatures;
    let follow: [Follow; 9] = [
        |_, y| y,
        |norm, y| norm.forward(y.relu()),
        |norm, y| norm.forward(norm.forward(y)),
        |norm, y| norm.forward(y.clone()) + y,
        |norm, y| norm.forward(y.clone() + y.relu()),
        |norm, y| norm.forward_with(y.clone(), Some(y), Activation::Relu6),
        |norm, y| norm.forward(y).activate(Activation::Relu6).relu(),
        |norm, y| norm.forward(y.map(activation::gelu)),
        |_, y| OctFeatures::from_low(y.clone().avg_pool2().into_parts().1.unwrap(), [4, 3]),
    ];
    for follow in follow {
        assert_same(&model, |(layer, norm)| {
            follow(norm, layer.forward(x.clone()))
        });
    }
    let mean = |layer: &OctConv2d| layer.forward(x.clone()).relu().global_avg_pool();
    let (engine, composed) = (mean(&model.0), without_engine(|| mean(&model.0)));
    assert!(engine.all_close(composed, Some(1e-5), Some(1e-6)));
}

#[test]
fn two_readers_of_one_map_get_the_borders_and_averages_that_each_needs() {
    let device = Device::flex();
    let first = conv([16, 32], 1, 1, 1, [0.0, 0.5], &device);
    let readers = [1, 3, 5]
        .map(|kernel| [1, 2].map(|stride| conv([32, 32], kernel, stride, 1, [0.5, 0.5], &device)));
    let image = Tensor::<4>::random([1, 16, 11, 9], Distribution::Default, &device);
    let model = (first, readers);
    for (one, other) in [(0, 2), (2, 0), (1, 1), (2, 1)] {
        for strides in [[0, 0], [0, 1], [1, 0]] {
            assert_same(&model, |(first, readers)| {
                let x = first.forward(image.clone());
                let y = readers[one][strides[0]].forward(x.clone());
                y.compute();
                let z = readers[other][strides[1]].forward(x);
                match strides {
                    [0, 0] => y + z,
                    _ => z,
                }
            });
        }
    }
}

/// Adds a constant to every parameter.
struct Shift;

impl ModuleMapper for Shift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| x + 0.125)
    }
}

#[test]
fn a_changed_parameter_or_statistic_is_seen() {
    let device = Device::flex();
    let mut block = Block::new(16, 1, 1, 0.5, &device);
    let image = Tensor::<4>::random([1, 16, 6, 6], Distribution::Default, &device);
    let forward = |block: &Block| block.forward(OctFeatures::split(image.clone(), 0.5));
    let before = data(forward(&block));
    assert_eq!(data(forward(&block)), before);

    // Clones of a norm share its statistics, so only convolutions are changed.
    let shifted = Block {
        first: block.first.clone().map(&mut Shift),
        second: block.second.clone().map(&mut Shift),
        ..block.clone()
    };
    assert_same(&shifted, forward);
    assert_ne!(data(forward(&shifted)), before);
    // A clone has a place of its own.
    assert_eq!(data(forward(&block)), before);

    for part in [&mut block.first_norm.high, &mut block.first_norm.low] {
        disturb(part.as_mut().unwrap());
    }
    assert_same(&block, forward);
    assert_ne!(data(forward(&block)), before);
    let disturbed = data(forward(&block));
    block.first_norm.high.as_mut().unwrap().epsilon = 0.5;
    assert_same(&block, forward);
    assert_ne!(data(forward(&block)), disturbed);
    // The same kernels without the norm.
    let x = OctFeatures::split(image.clone(), 0.5);
    assert_same(&block, |block| block.first.forward(x.clone()));
}

#[test]
fn first_layers_read_images() {
    let device = Device::flex();
    for (kernel, stride, alpha_out) in [(7, 2, 0.0), (3, 1, 0.5), (3, 2, 0.25), (1, 1, 1.0)] {
        let layer = conv([3, 40], kernel, stride, 1, [0.0, alpha_out], &device);
        let model = (layer, norm(40, alpha_out, &device));
        for size in [[17, 14], [8, 9]] {
            let shape = [2, 3, size[0], size[1]];
            let image = Tensor::<4>::random(shape, Distribution::Default, &device);
            type Follow = fn(&OctBatchNorm, OctFeatures) -> OctFeatures;
            let follow: [Follow; 6] = [
                |_, y| y,
                |norm, y| norm.forward(y).relu(),
                |norm, y| max_pool().forward(norm.forward(y).relu()),
                |norm, y| max_pool().forward(norm.forward(y)).relu(),
                |norm, y| norm.forward(max_pool().forward(y)),
                |_, y| max_pool().forward(max_pool().forward(y.clone())).relu(),
            ];
            for follow in follow {
                assert_same(&model, |(layer, norm)| {
                    follow(norm, layer.forward(image.clone()))
                });
            }
        }
    }
}

fn max_pool() -> OctMaxPool2d {
    let pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]);
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    OctMaxPool2d::from(pool.with_padding(padding).init())
}

#[test]
fn vanilla_layers_stay_in_the_layout() {
    let device = Device::flex();
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    let stem = Conv2dConfig::new([3, 32], [3, 3]).with_padding(padding.clone());
    let next = Conv2dConfig::new([32, 24], [3, 3]).with_padding(padding);
    let mut norms = [32, 24].map(|channels| BatchNormConfig::new(channels).init(&device));
    norms.iter_mut().for_each(disturb);
    let model = ((stem.init(&device), next.init(&device)), norms);
    let image = Tensor::<4>::random([2, 3, 13, 10], Distribution::Default, &device);
    assert_same(&model, |((stem, next), norms)| {
        let x = ops::conv2d(stem, image.clone());
        let pool = max_pool().pool;
        let x = batch_norm_max_pool(&norms[0], x, Activation::Relu, &pool);
        let y = ops::conv2d(next, x.clone());
        let y = batch_norm(&norms[1], y, None, Activation::Relu6);
        y.concat(x).unwrap()
    });
}

#[test]
fn maps_lie_side_by_side() {
    let device = Device::flex();
    // Channels by frequency: whole blocks of sixteen, and not.
    for (width, alpha) in [(64, 0.5), (32, 0.0), (48, 0.25), (64, 0.25)] {
        let alphas = [alpha, alpha];
        let layers = [0, 1, 2].map(|i| conv([width * (i + 1), width], 3, 1, 1, alphas, &device));
        let norms = [0, 1, 2].map(|i| norm(width * (i + 1), alpha, &device));
        let last = conv([4 * width, 32], 1, 2, 1, alphas, &device);
        let image = Tensor::<4>::random([2, width, 9, 6], Distribution::Default, &device);
        let model = ((layers, norms), last);
        assert_same(&model, |((layers, norms), last)| {
            let mut x = OctFeatures::split(image.clone(), alpha);
            for (layer, norm) in layers.iter().zip(norms) {
                let y = norm.forward(x.clone()).relu();
                x = x.concat(layer.forward(y)).unwrap();
            }
            let y = last.forward(x.clone());
            let x = x.avg_pool2().avg_pool2();
            y.avg_pool2().concat(x).unwrap()
        });
    }
}

#[test]
fn channels_are_scaled_by_gates() {
    let device = Device::flex();
    let layer = conv([16, 48], 3, 1, 1, [0.5, 0.25], &device);
    let config = OctSqueezeExciteConfig::new(48).with_alpha(0.25);
    let model = (layer, config.init(&device));
    let image = Tensor::<4>::random([3, 16, 9, 6], Distribution::Default, &device);
    let x = OctFeatures::split(image, 0.5);
    assert_same(&model, |(layer, gates)| {
        let y = layer.forward(x.clone());
        (gates.forward(y.clone()) + y).relu()
    });
}

#[test]
fn a_chain_of_thousands_is_computed_and_dropped() {
    let device = Device::flex();
    let layer = conv([16, 16], 1, 1, 1, [0.5, 0.5], &device);
    let image = Tensor::<4>::random([1, 16, 4, 4], Distribution::Default, &device);
    let chain = |layer: &OctConv2d| {
        let x = OctFeatures::split(image.clone(), 0.5);
        (0..3000).fold(x, |x, _| layer.forward(x).activate(Activation::Relu6))
    };
    drop(chain(&layer));
    assert_same(&layer, chain);
}

#[test]
fn tasks_that_share_a_map_get_the_same_bits() {
    let device = Device::flex();
    let block = Block::new(32, 1, 1, 0.5, &device);
    let image = Tensor::<4>::random([2, 32, 13, 9], Distribution::Default, &device);
    let expected = data(block.forward(OctFeatures::split(image.clone(), 0.5)));
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            // Noted here and computed in whichever task comes first.
            let shared = block.forward(OctFeatures::split(image.clone(), 0.5));
            (0..64).into_par_iter().with_max_len(1).for_each(|_| {
                assert_eq!(data(shared.clone()), expected);
            });
        });
    }
}
