use std::ops::Range;

use burn::tensor::{
    Tensor,
    module::max_pool2d,
    ops::{MaxPoolOptions, PadMode},
};
use burn_octconv::ops::resample;

use crate::model::{
    features::OctaveMap,
    wire::{Move, moves},
};

/// A shortcut without parameters between maps of different shape: "option A" of the ResNets for
/// small images, which subsamples and pads new channels with zeros, here for any number of
/// frequencies.
///
/// Each frequency goes to the same frequency of the output. What finds no channel there changes
/// frequency, the highest with room first: the last high channels are average-pooled into the low
/// groups (as where the first stage begins), the low ones are upsampled behind the high group (as where
/// the last stage begins). Then all groups are average-pooled if the stride is 2 — a strided network
/// takes every second pixel of each instead — and zeros fill the rest. So the number of parameters is
/// that of the vanilla network at any shares.
///
/// Source: He et al., <https://arxiv.org/abs/1512.03385>, section 4.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadShortcut {
    /// Channels of each frequency of the output, not fewer in all than those of the input.
    pub output: Vec<usize>,
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
    pub fn forward<M: OctaveMap>(&self, input: M) -> M {
        let size = input.size();
        let groups = self.filled(self.regroup(input.into_groups(), size), size);
        let stride = |x: Tensor<4>| match (self.stride, self.strided) {
            (1, _) => x,
            (_, true) => every_second(x),
            (_, false) => resample::avg_pool(x),
        };
        let size = size.map(|s| s.div_ceil(self.stride));
        let pad = |(level, x): (usize, Option<Tensor<4>>)| {
            let channels = self.output[level];
            match x.map(stride) {
                Some(x) if x.dims()[1] < channels => {
                    let missing = channels - x.dims()[1];
                    Some(x.pad([(0, missing), (0, 0), (0, 0)], PadMode::Constant(0.0)))
                }
                x => x,
            }
        };
        M::of_groups(groups.into_iter().enumerate().map(pad).collect(), size)
    }

    /// With a channel of zeros in every frequency that the output has and no channel came to.
    fn filled(&self, groups: Vec<Option<Tensor<4>>>, size: [usize; 2]) -> Vec<Option<Tensor<4>>> {
        let lacks = |(x, &channels): (&Option<Tensor<4>>, &usize)| x.is_none() && channels > 0;
        if !groups.iter().zip(&self.output).any(lacks) {
            return groups;
        }
        let first = groups.iter().position(Option::is_some);
        let first = first.expect("a feature map has a group");
        // Made of a channel that is there: ONNX says no new map of any batch.
        let any = groups[first].clone().map(|x| channels_of(x, 0..1));
        let fill = |(level, (x, &channels)): (usize, (Option<Tensor<4>>, &usize))| match x {
            None if channels > 0 => {
                let x = any.clone()?;
                Some(at_level(x, first, level, size).mul_scalar(0.0))
            }
            x => x,
        };
        let groups = groups.into_iter().zip(&self.output).enumerate();
        groups.map(fill).collect()
    }

    /// Moves channels that find no room in their frequency to another one.
    fn regroup(&self, input: Vec<Option<Tensor<4>>>, size: [usize; 2]) -> Vec<Option<Tensor<4>>> {
        let channels = |x: &Option<Tensor<4>>| x.as_ref().map_or(0, |x| x.dims()[1]);
        let counts: Vec<usize> = input.iter().map(channels).collect();
        let part = |level: usize, range: Range<usize>| {
            let x = input.get(level)?.clone()?;
            (!range.is_empty()).then(|| channels_of(x, range))
        };
        let kept = |level: usize| {
            let count = counts.get(level).copied().unwrap_or(0);
            part(level, 0..count.min(self.output[level]))
        };
        let mut groups: Vec<_> = (0..self.output.len()).map(kept).collect();
        for Move {
            from,
            start,
            count,
            to,
        } in moves(&counts, &self.output)
        {
            let moved = part(from, start..start + count);
            let moved = moved.map(|x| at_level(x, from, to, size));
            groups[to] = join(groups[to].take(), moved);
        }
        groups
    }
}

/// The resolution of a frequency.
fn size_of(size: [usize; 2], level: usize) -> [usize; 2] {
    (0..level).fold(size, |size, _| size.map(|s| s.div_ceil(2)))
}

/// The map of one frequency at the resolution of another.
fn at_level(x: Tensor<4>, from: usize, to: usize, size: [usize; 2]) -> Tensor<4> {
    let down = (from..to).fold(x, |x, _| resample::avg_pool(x));
    let up = (to..from).rev();
    up.fold(down, |x, level| {
        resample::upsample_nearest(x, size_of(size, level))
    })
}

// What follows selects and pools, where slicing would do, for the sake of ONNX: burn-onnx writes no
// slices of maps whose batch may have any size.

/// Every second pixel of every second row.
fn every_second(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([1, 1]).with_stride([2, 2]))
}

/// Some of the channels.
fn channels_of(x: Tensor<4>, range: Range<usize>) -> Tensor<4> {
    if range == (0..x.dims()[1]) {
        return x;
    }
    let device = x.device();
    x.select(
        1,
        Tensor::arange(range.start as i64..range.end as i64, &device),
    )
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
    use burn_octconv::{OctFeatures, OctMaps};

    use super::*;

    fn ramp(channels: usize) -> Tensor<4> {
        let device = Device::default();
        let values = Tensor::arange(0..(channels * 35) as i64, &device).float();
        values.reshape([1, channels, 7, 5])
    }

    fn shortcut(high: usize, low: usize, stride: usize) -> PadShortcut {
        PadShortcut {
            output: vec![high, low],
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
        let y = pad.forward(OctFeatures::from(ramp(2))).into_high();
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
        let y = shortcut(3, 1, 1).forward(OctFeatures::from(x.clone()));
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

    #[test]
    fn three_frequencies_are_entered_and_left_as_two_are() {
        let pad = |output: &[usize]| PadShortcut {
            output: output.into(),
            stride: 1,
            strided: false,
        };
        let x = ramp(8);
        let shares = [0.5, 0.25, 0.25];
        let y = pad(&[4, 2, 2]).forward(OctMaps::from_full(x.clone()));
        let expected = OctMaps::split(x, &shares, [true; 2]).unwrap();
        for level in 0..3 {
            let [found, expected] = [&y, &expected].map(|y| y.group(level).unwrap().to_data());
            found.assert_eq(&expected, true);
        }
        let back = pad(&[8]).forward(y.clone()).into_full();
        back.into_data().assert_eq(&y.merge().into_data(), true);
    }
}
