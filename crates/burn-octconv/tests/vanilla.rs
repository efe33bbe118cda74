//! Vanilla convolutions by the engine, against Burn's own.

use burn::{
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Distribution, Tensor},
};
use burn_octconv::ops;

fn compare(conv: &Conv2d, size: [usize; 2]) -> f32 {
    let channels = conv.weight.dims()[1] * conv.groups;
    let device = Device::flex();
    let uniform = Distribution::Uniform(-1.0, 1.0);
    let x = Tensor::random([2, channels, size[0], size[1]], uniform, &device);
    let ours = ops::conv2d(conv, x.clone()).into_high();
    let burns = conv.forward(x);
    assert_eq!(ours.dims(), burns.dims(), "{conv}");
    let scale = burns.clone().abs().max().into_scalar::<f32>();
    (ours - burns).abs().max().into_scalar::<f32>() / scale
}

#[test]
fn every_geometry_gives_what_conv2d_gives() {
    use PaddingConfig2d::{Explicit, Same, Valid};
    let layer = |kernel| Conv2dConfig::new([6, 10], kernel);
    for config in [
        layer([3, 3]).with_padding(Valid),
        layer([3, 3]).with_padding(Same),
        layer([3, 3]).with_padding(Explicit(1, 1, 1, 1)),
        layer([5, 3]).with_padding(Explicit(2, 1, 2, 1)),
        layer([4, 2]).with_padding(Explicit(1, 0, 2, 1)),
        layer([1, 1]),
        layer([3, 3])
            .with_dilation([2, 2])
            .with_padding(Explicit(2, 2, 2, 2)),
        layer([3, 3])
            .with_dilation([2, 1])
            .with_padding(Explicit(2, 1, 2, 1)),
        layer([3, 3])
            .with_groups(2)
            .with_padding(Explicit(1, 1, 1, 1)),
        layer([3, 3])
            .with_stride([2, 2])
            .with_padding(Explicit(1, 1, 1, 1)),
        layer([1, 1]).with_stride([2, 2]),
        layer([3, 3]).with_stride([3, 3]),
        layer([3, 3])
            .with_stride([1, 2])
            .with_padding(Explicit(1, 1, 1, 1)),
        layer([3, 3])
            .with_stride([2, 1])
            .with_padding(Explicit(1, 1, 1, 1)),
        Conv2dConfig::new([3, 40], [7, 7])
            .with_stride([2, 2])
            .with_padding(Explicit(3, 3, 3, 3)),
    ] {
        for (bias, size) in [(true, [11, 14]), (false, [12, 9])] {
            let conv = config.clone().with_bias(bias).init(&Device::flex());
            let error = compare(&conv, size);
            assert!(error < 3e-6, "{config} on {size:?}: {error:e}");
        }
    }
}

#[test]
#[should_panic]
fn an_input_of_other_channels_is_refused_as_conv2d_does() {
    let conv = Conv2dConfig::new([6, 4], [3, 3]).init(&Device::flex());
    ops::conv2d(&conv, Tensor::zeros([1, 5, 8, 8], &Device::flex()));
}
