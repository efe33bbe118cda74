//! Maps and layers of any number of axes and frequencies as a user meets them: beside `OctConv2d` and
//! Burn's own layers, resampled, converted, trained, refused.

mod beside;
mod layers;
mod refusals;
mod resample;
mod shares;
mod transposed;

use burn::{
    module::{Module, Param},
    nn::{
        GroupNormConfig, InstanceNormConfig, LayerNormConfig, PaddingConfig1d, PaddingConfig2d,
        PaddingConfig3d,
        activation::ActivationConfig,
        conv::{
            Conv1dConfig, Conv2dConfig, Conv3dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig,
            ConvTranspose3dConfig,
        },
        norm::NormalizationConfig,
    },
    optim::{GradientsParams, SgdConfig},
    tensor::{Device, Distribution, Tensor, activation},
};
use burn_octconv::{
    ChannelSplit, Downsample, Exchange, MultiOctConv2d, MultiOctConv2dConfig, OctActivation,
    OctBatchNormConfig, OctConv1d, OctConv1dConfig, OctConv2dConfig, OctConv3d, OctConv3dConfig,
    OctConvTranspose1dConfig, OctConvTranspose2dConfig, OctConvTranspose3dConfig, OctDropout,
    OctFeatures, OctMaps, OctMapsBatchNorm, OctMapsBatchNormConfig, OctMapsNormConfig,
    OctMapsSqueezeExciteConfig, OctSqueezeExciteConfig, Reach, Scale, Upsample, ops,
};

fn device() -> Device {
    Device::flex()
}

fn random<const R: usize>(dims: [usize; R]) -> Tensor<R> {
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &device())
}

#[track_caller]
fn equal<const R: usize>(actual: Tensor<R>, expected: Tensor<R>) {
    assert_eq!(actual.into_data(), expected.into_data());
}

#[track_caller]
fn close<const R: usize>(actual: Tensor<R>, expected: Tensor<R>) {
    assert_eq!(actual.dims(), expected.dims());
    let error = (actual - expected).abs().max().into_scalar::<f32>();
    assert!(error < 1e-5, "{error}");
}

const THREE: [f64; 3] = [0.5, 0.25, 0.25];

/// Three groups of a video.
fn video(batch: usize, channels: usize, size: [usize; 3]) -> OctMaps<3, 5> {
    let [depth, height, width] = size;
    let x = random([batch, channels, depth, height, width]);
    OctMaps::split(x, &THREE, [false, true, true]).unwrap()
}

/// Whether two maps are the same to the last bit.
#[track_caller]
fn same(actual: OctFeatures, expected: OctFeatures) {
    assert_eq!(actual.describe(), expected.describe());
    let data = |x: &OctFeatures| {
        let groups = [x.high(), x.low()].map(|x| x.cloned().map(Tensor::into_data));
        (groups[0].clone(), groups[1].clone())
    };
    assert_eq!(data(&actual), data(&expected));
}

/// Whether two maps are the same within rounding.
#[track_caller]
fn near(actual: OctFeatures, expected: OctFeatures) {
    assert_eq!(actual.describe(), expected.describe());
    let ((high, low), (expected_high, expected_low)) = (actual.into_parts(), expected.into_parts());
    for (actual, expected) in [(high, expected_high), (low, expected_low)] {
        if let (Some(actual), Some(expected)) = (actual, expected) {
            close(actual, expected);
        }
    }
}
