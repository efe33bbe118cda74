use std::ops::Range;

use burn::tensor::{
    Tensor,
    module::max_pool2d,
    ops::{MaxPoolOptions, PadMode},
};
use burn_octconv::{ChannelSplit, OctFeatures, ops::resample};

/// A shortcut without parameters between maps of different shape: "option A" of the ResNets for
/// small images, which subsamples and pads new channels with zeros, here for two frequencies.
///
/// Each frequency goes to the same frequency of the output. What finds no channel there changes
/// frequency: the last high channels are average-pooled into the low group (as where the first
/// stage begins), the low ones are upsampled behind the high group (as where the last stage
/// begins). Then both groups are average-pooled if the stride is 2 — a strided network takes every
/// second pixel of each instead — and zeros fill the rest. So the number of parameters is that of the
/// vanilla network at any α.
///
/// Source: He et al., <https://arxiv.org/abs/1512.03385>, section 4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadShortcut {
    /// Channels of the output, not fewer in all than those of the input.
    pub output: ChannelSplit,
    /// 1 or 2.
    pub stride: usize,
    /// Whether stride 2 takes every second pixel, as in a vanilla network.
    pub strided: bool,
}

impl PadShortcut {
    /// Brings `input` to the block's output shape.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / stride⌉, ⌈width / stride⌉]`
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let x = self.regroup(input);
        let x = match (self.stride, self.strided) {
            (1, _) => x,
            (_, true) => every_second(x),
            (_, false) => x.avg_pool2(),
        };

        let (size, device) = (x.size(), x.device());
        let (high, low) = x.into_parts();
        let given = high.as_ref().or(low.as_ref());
        let given = given.expect("a feature map has a group");
        let ([batch, ..], dtype) = (given.dims(), given.dtype());
        let pad = |x: Option<Tensor<4>>, channels: usize, [height, width]: [usize; 2]| match x {
            Some(x) if x.dims()[1] < channels => {
                let missing = channels - x.dims()[1];
                Some(x.pad([(0, missing), (0, 0), (0, 0)], PadMode::Constant(0.0)))
            }
            None if channels > 0 => {
                let shape = [batch, channels, height, width];
                Some(Tensor::zeros(shape, (&device, dtype)))
            }
            x => x,
        };
        let high = pad(high, self.output.high, size);
        let low = pad(low, self.output.low, size.map(|s| s.div_ceil(2)));
        OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Moves channels that find no room in their frequency to the other one.
    fn regroup(&self, input: OctFeatures) -> OctFeatures {
        let size = input.size();
        let (high, low) = input.into_parts();
        let (high, extra_high) = cut(high, self.output.high);
        let (low, extra_low) = cut(low, self.output.low);
        let down = extra_high.map(resample::avg_pool);
        let up = extra_low.map(|x| resample::upsample_nearest(x, size));
        OctFeatures::try_new(join(high, up), join(low, down), size)
            .unwrap_or_else(|e| panic!("{e}"))
    }
}

// What follows selects and pools, where slicing would do, for the sake of ONNX: burn-onnx writes no
// slices of maps whose batch may have any size.

/// Every second pixel of every second row of both groups.
fn every_second(x: OctFeatures) -> OctFeatures {
    let size = x.size().map(|s| s.div_ceil(2));
    let take = |x| max_pool2d(x, MaxPoolOptions::new([1, 1]).with_stride([2, 2]));
    let (high, low) = x.into_parts();
    let (high, low) = (high.map(take), low.map(take));
    OctFeatures::try_new(high, low, size).unwrap_or_else(|e| panic!("{e}"))
}

/// The first `keep` channels and the others.
fn cut(x: Option<Tensor<4>>, keep: usize) -> (Option<Tensor<4>>, Option<Tensor<4>>) {
    let Some(x) = x else { return (None, None) };
    let channels = x.dims()[1];
    if channels <= keep {
        return (Some(x), None);
    }
    let channels_of = |range: Range<usize>| {
        let range = range.start as i64..range.end as i64;
        x.clone().select(1, Tensor::arange(range, &x.device()))
    };
    let kept = (keep > 0).then(|| channels_of(0..keep));
    (kept, Some(channels_of(keep..channels)))
}

/// Concatenates along the channels.
fn join(first: Option<Tensor<4>>, second: Option<Tensor<4>>) -> Option<Tensor<4>> {
    match (first, second) {
        (Some(first), Some(second)) => Some(Tensor::cat(vec![first, second], 1)),
        (first, second) => first.or(second),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, s};

    use super::*;

    fn ramp(channels: usize) -> Tensor<4> {
        let device = Device::default();
        let values = Tensor::arange(0..(channels * 35) as i64, &device).float();
        values.reshape([1, channels, 7, 5])
    }

    fn shortcut(high: usize, low: usize, stride: usize) -> PadShortcut {
        PadShortcut {
            output: ChannelSplit { high, low },
            stride,
            strided: false,
        }
    }

    #[test]
    fn subsamples_and_pads_in_a_vanilla_network() {
        let pad = PadShortcut {
            strided: true,
            ..shortcut(4, 0, 2)
        };
        let y = pad.forward(ramp(2).into()).into_high();
        assert_eq!(y.dims(), [1, 4, 4, 3]);
        let first = y.clone().slice(s![0, 1, 1, ..]).into_data();
        assert_eq!(first.try_to_vec::<f32>().unwrap(), [45.0, 47.0, 49.0]);
        let padded = y.slice(s![.., 2.., .., ..]).abs().sum();
        assert_eq!(padded.into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn subsamples_both_groups_of_a_strided_octave_network() {
        let pad = PadShortcut {
            strided: true,
            ..shortcut(2, 2, 2)
        };
        let x = OctFeatures::split(ramp(4), 0.5);
        let y = pad.forward(x.clone());
        for (before, after) in [(x.high(), y.high()), (x.low(), y.low())] {
            for (row, column) in [(0, 0), (1, 1)] {
                let expected = before.unwrap().clone();
                let expected = expected.slice(s![.., .., 2 * row, 2 * column]);
                let found = after.unwrap().clone().slice(s![.., .., row, column]);
                found.into_data().assert_eq(&expected.into_data(), true);
            }
        }
        assert_eq!(y.size(), [4, 3]);
    }

    #[test]
    fn enters_by_pooling_the_last_channels() {
        let x = ramp(4);
        let y = shortcut(3, 1, 1).forward(x.clone().into());
        let expected = OctFeatures::split(x, 0.25);
        y.low()
            .unwrap()
            .to_data()
            .assert_eq(&expected.low().unwrap().to_data(), true);
        y.high()
            .unwrap()
            .to_data()
            .assert_eq(&expected.high().unwrap().to_data(), true);
    }

    #[test]
    fn leaves_by_keeping_the_low_group_at_its_resolution() {
        let x = OctFeatures::split(ramp(4), 0.5);
        let low = x.low().unwrap().clone();
        let y = shortcut(8, 0, 2).forward(x).into_high();
        assert_eq!(y.dims(), [1, 8, 4, 3]);
        // Upsampling and pooling by two are each other's inverse, also at odd sizes.
        y.slice(s![.., 2..4, .., ..])
            .into_data()
            .assert_eq(&low.into_data(), true);
    }
}
