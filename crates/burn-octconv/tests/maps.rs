//! Maps and layers of any number of axes and frequencies as a user meets them: beside `OctConv2d` and
//! Burn's own layers, resampled, converted, trained, refused.

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

#[test]
fn two_groups_over_two_axes_are_the_layer_of_two_frequencies_bit_for_bit() {
    for (kernel, stride, dilation, groups, strided, down, up) in [
        (
            [3, 3],
            1,
            [1, 1],
            1,
            false,
            Downsample::Average,
            Upsample::Nearest,
        ),
        (
            [3, 5],
            2,
            [1, 1],
            2,
            false,
            Downsample::Average,
            Upsample::Nearest,
        ),
        (
            [4, 2],
            1,
            [2, 1],
            1,
            false,
            Downsample::Max,
            Upsample::Bilinear,
        ),
        (
            [3, 3],
            2,
            [1, 1],
            1,
            true,
            Downsample::Strided,
            Upsample::Nearest,
        ),
        (
            [1, 1],
            2,
            [1, 1],
            1,
            true,
            Downsample::Average,
            Upsample::Bilinear,
        ),
    ] {
        for (alpha_in, alpha_out) in [(0.5, 0.5), (0.0, 0.25), (0.75, 0.0), (1.0, 0.5)] {
            let layer = OctConv2dConfig::new([8, 16], kernel)
                .with_stride([stride; 2])
                .with_dilation(dilation)
                .with_groups(groups)
                .with_strided(strided)
                .with_downsample(down)
                .with_upsample(up)
                .with_alpha_in(alpha_in)
                .with_alpha_out(alpha_out)
                .init(&device());
            let mut any = MultiOctConv2dConfig::new([8, 16], kernel)
                .with_stride([stride; 2])
                .with_dilation(dilation)
                .with_groups(groups)
                .with_strided(strided)
                .with_downsample(down)
                .with_upsample(up)
                .with_alpha_in(alpha_in)
                .with_alpha_out(alpha_out)
                .init(&device());
            let kernels = layer.kernels();
            let paths = any.plan.paths.iter();
            any.kernels = paths
                .map(|path| Param::from_tensor(kernels.get(path).unwrap().clone()))
                .collect();
            let biases = [&kernels.bias_high, &kernels.bias_low];
            any.biases = biases.map(|b| b.clone().map(Param::from_tensor)).into();
            let x = OctFeatures::split(random([2, 8, 9, 14]), alpha_in);
            let expected = ops::composed::octconv2d(x.clone(), kernels, &layer.plan);
            let actual = ops::without_engine(|| any.forward(x.clone()));
            same(actual.try_into().unwrap(), expected);
            // With the engine within rounding: it computes groups of `OctConv2d` only.
            let (high, low) = layer.forward(x.clone()).into_parts();
            let actual = OctFeatures::try_from(any.forward(x)).unwrap();
            let (actual_high, actual_low) = actual.into_parts();
            for (actual, expected) in [(actual_high, high), (actual_low, low)] {
                assert_eq!(actual.is_some(), expected.is_some());
                let close = |(a, b): (Tensor<4>, Tensor<4>)| a.all_close(b, Some(1e-4), Some(1e-5));
                assert!(actual.zip(expected).is_none_or(close));
            }
        }
    }
}

/// The same to the last bit, if it is composed; an engine adds in another order.
#[track_caller]
fn as_burn<const R: usize>(actual: impl Fn() -> Tensor<R> + Sync, expected: Tensor<R>) {
    equal(ops::without_engine(&actual), expected.clone());
    close(actual(), expected);
}

/// `OctConv1d` with one group is `Conv1d`, and so on, bit for bit.
#[test]
fn a_single_group_is_burns_own_layer() {
    for (stride, groups, padding) in [(1, 1, 2), (2, 1, 2), (1, 2, 0), (2, 1, 1)] {
        let line = Conv1dConfig::new(6, 4, 5)
            .with_stride(stride)
            .with_groups(groups)
            .with_padding(PaddingConfig1d::Explicit(padding, padding))
            .init(&device());
        let octave = OctConv1d::from_conv1d(&line, &[1.0], &[1.0]).unwrap();
        let x = random([2, 6, 17]);
        as_burn(
            || octave.forward(x.clone()).into_full(),
            line.forward(x.clone()),
        );

        let plane = Conv2dConfig::new([6, 4], [5, 3])
            .with_stride([stride; 2])
            .with_groups(groups)
            .with_padding(PaddingConfig2d::Explicit(padding, 1, padding, 1))
            .init(&device());
        let octave = MultiOctConv2d::from_conv2d(&plane, &[1.0], &[1.0, 0.0]).unwrap();
        let x = random([2, 6, 9, 13]);
        as_burn(
            || octave.forward(x.clone()).into_full(),
            plane.forward(x.clone()),
        );

        let volume = Conv3dConfig::new([6, 4], [3, 5, 1])
            .with_stride([1, stride, stride])
            .with_groups(groups)
            .with_padding(PaddingConfig3d::Explicit(1, padding, 0))
            .init(&device());
        let octave = OctConv3d::from_conv3d(&volume, &[1.0], &[1.0]).unwrap();
        let x = random([2, 6, 4, 9, 7]);
        as_burn(
            || octave.forward(x.clone()).into_full(),
            volume.forward(x.clone()),
        );
    }
}

/// With the padding and the additional padding of Burn's layers.
#[test]
fn a_single_group_is_burns_own_transposed_layer() {
    for (kernel, stride, padding, out) in [
        (3, 1, 1, 0),
        (3, 1, 0, 0),
        (2, 2, 0, 0),
        (4, 2, 1, 0),
        (3, 2, 1, 1),
        (3, 2, 1, 0),
        (5, 2, 0, 0),
    ] {
        for groups in [1, 2] {
            let vanilla = ConvTranspose1dConfig::new([6, 4], kernel)
                .with_stride(stride)
                .with_padding(padding)
                .with_padding_out(out)
                .with_groups(groups)
                .init(&device());
            let octave = OctConvTranspose1dConfig::new([6, 4], [kernel])
                .with_stride([stride])
                .with_padding(Some([padding]))
                .with_padding_out([out])
                .with_groups(groups)
                .with_strided(true)
                .with_shares([1.0])
                .init(&device())
                .with_vanilla(vanilla.weight.val(), vanilla.bias.as_ref().map(|b| b.val()))
                .unwrap();
            let x = random([2, 6, 7]);
            equal(octave.forward(x.clone()).into_full(), vanilla.forward(x));

            let vanilla = ConvTranspose2dConfig::new([6, 4], [kernel, 3])
                .with_stride([stride, 1])
                .with_padding([padding, 1])
                .with_padding_out([out, 0])
                .with_groups(groups)
                .init(&device());
            let octave = OctConvTranspose2dConfig::new([6, 4], [kernel, 3])
                .with_stride([stride, 1])
                .with_padding(Some([padding, 1]))
                .with_padding_out([out, 0])
                .with_groups(groups)
                .with_strided(true)
                .with_alpha(0.0)
                .init(&device())
                .with_vanilla(vanilla.weight.val(), vanilla.bias.as_ref().map(|b| b.val()))
                .unwrap();
            let x = random([2, 6, 5, 8]);
            equal(octave.forward(x.clone()).into_full(), vanilla.forward(x));

            let vanilla = ConvTranspose3dConfig::new([6, 4], [kernel, 1, 2])
                .with_stride([stride, 1, 2])
                .with_padding([padding, 0, 0])
                .with_padding_out([out, 0, 0])
                .with_groups(groups)
                .init(&device());
            let octave = OctConvTranspose3dConfig::new([6, 4], [kernel, 1, 2])
                .with_stride([stride, 1, 2])
                .with_padding(Some([padding, 0, 0]))
                .with_padding_out([out, 0, 0])
                .with_groups(groups)
                .with_strided(true)
                .with_shares([1.0])
                .init(&device())
                .with_vanilla(vanilla.weight.val(), vanilla.bias.as_ref().map(|b| b.val()))
                .unwrap();
            let x = random([2, 6, 3, 4, 5]);
            equal(octave.forward(x.clone()).into_full(), vanilla.forward(x));
        }
    }
}

#[test]
fn parameters_do_not_depend_on_the_shares() {
    let all = [
        &[1.0][..],
        &[0.5, 0.5],
        &THREE,
        &[0.0, 0.0, 1.0],
        &[0.25; 4],
    ];
    for shares_in in all {
        for shares_out in all {
            let line = OctConv1dConfig::new([16, 24], [5])
                .with_shares_in(shares_in.into())
                .with_shares_out(shares_out.into());
            assert_eq!(line.init(&device()).num_params(), 16 * 24 * 5 + 24);
            assert_eq!(line.cost([20]).unwrap().params, 16 * 24 * 5 + 24);
            let volume = OctConv3dConfig::new([16, 24], [3, 3, 1])
                .with_groups(2)
                .with_shares_in(shares_in.into())
                .with_shares_out(shares_out.into());
            assert_eq!(volume.init(&device()).num_params(), 16 * 24 / 2 * 9 + 24);
            let up = OctConvTranspose2dConfig::new([16, 24], [2, 2])
                .with_shares_in(shares_in.into())
                .with_shares_out(shares_out.into());
            assert_eq!(up.init(&device()).num_params(), 16 * 24 * 4 + 24);
        }
    }
}

/// The same seed of weights, cut and glued, for groups of every kind.
#[test]
fn cutting_and_gluing_is_exact() {
    for groups in [1, 2, 16] {
        for shares in [&[1.0][..], &[0.5, 0.5], &THREE, &[0.0, 0.5, 0.5]] {
            let conv = Conv2dConfig::new([16, 16], [3, 5])
                .with_groups(groups)
                .with_padding(PaddingConfig2d::Same)
                .init(&device());
            let layer = MultiOctConv2d::from_conv2d(&conv, shares, shares).unwrap();
            let back = layer.to_conv2d();
            equal(back.weight.val(), conv.weight.val());
            equal(back.bias.unwrap().val(), conv.bias.as_ref().unwrap().val());
            assert_eq!((back.stride, back.groups), (conv.stride, conv.groups));

            let conv = ConvTranspose2dConfig::new([16, 16], [2, 2]).with_groups(groups);
            let conv = conv.with_bias(false).init(&device());
            let layer = OctConvTranspose2dConfig::new([16, 16], [2, 2])
                .with_groups(groups)
                .with_shares(shares)
                .init(&device())
                .with_vanilla(conv.weight.val(), None)
                .unwrap();
            let (weight, bias) = layer.to_vanilla();
            equal(weight, conv.weight.val());
            assert!(bias.is_none());
        }
    }
    let line = Conv1dConfig::new(8, 12, 3).with_padding(PaddingConfig1d::Same);
    let line = line.with_stride(2).init(&device());
    let back = OctConv1d::from_conv1d(&line, &THREE, &THREE)
        .unwrap()
        .to_conv1d();
    equal(back.weight.val(), line.weight.val());
    assert_eq!((back.stride, back.kernel_size), (2, 3));
    let volume = Conv3dConfig::new([8, 12], [3, 3, 3]);
    let volume = volume.with_padding(PaddingConfig3d::Same).init(&device());
    let back = OctConv3d::from_conv3d(&volume, &THREE, &[0.5, 0.5]).unwrap();
    equal(back.to_conv3d().weight.val(), volume.weight.val());
}

/// On maps that are constant over 4×4 blocks, 1×1 kernels lose nothing in lower groups.
#[test]
fn a_cut_keeps_the_function_where_no_detail_is_lost() {
    let conv = Conv2dConfig::new([8, 4], [1, 1]).init(&device());
    let layer = MultiOctConv2d::from_conv2d(&conv, &THREE, &THREE).unwrap();
    let x = ops::resample::upsample_nearest(random([2, 8, 4, 3]), [8, 6]);
    let x = ops::resample::upsample_nearest(x, [16, 12]);
    let y = layer.forward(OctMaps::split(x.clone(), &THREE, [true; 2]).unwrap());
    close(y.merge(), conv.forward(x));
}

#[test]
fn only_neighbours_exchange_if_asked() {
    let config = OctConv1dConfig::new([8, 8], [3])
        .with_shares(THREE)
        .with_reach(Reach::Neighbours);
    let layer = config.init(&device());
    assert_eq!(layer.kernels.len(), 7);
    let corner = layer.to_vanilla().0.narrow(0, 0, 4).narrow(1, 6, 2);
    assert_eq!(corner.abs().max().into_scalar::<f32>(), 0.0);
    let error = config.with_shares_in([1.0].into()).validate().unwrap_err();
    assert!(
        error.to_string().contains("no path reaches group 2"),
        "{error}"
    );
}

#[test]
fn splitting_merging_and_changing_the_shares() {
    let x = random([2, 8, 9, 13]);
    let maps = OctMaps::split(x.clone(), &THREE, [true; 2]).unwrap();
    assert_eq!(
        maps.describe(),
        "[2, 4, 9, 13] + [2, 2, 5, 7] + [2, 2, 3, 4]"
    );
    assert_eq!((maps.channels(), maps.size()), (vec![4, 2, 2], [9, 13]));
    let down = ops::resample::avg_pool(x.clone().narrow(1, 4, 2));
    equal(maps.group(1).unwrap().clone(), down.clone());
    let merged = maps.clone().merge();
    equal(merged.clone().narrow(1, 0, 4), x.clone().narrow(1, 0, 4));
    let up = ops::resample::upsample_nearest(down, [9, 13]);
    equal(merged.narrow(1, 4, 2), up);

    // The first channels stay, the fourth goes down, the last two go up by one octave.
    let changed = maps.clone().with_shares(&[0.375, 0.625]).unwrap();
    assert_eq!(changed.describe(), "[2, 3, 9, 13] + [2, 5, 5, 7]");
    equal(changed.group(0).unwrap().clone(), x.clone().narrow(1, 0, 3));
    let low = changed.group(1).unwrap().clone();
    equal(
        low.clone().narrow(1, 0, 1),
        ops::resample::avg_pool(x.clone().narrow(1, 3, 1)),
    );
    equal(low.clone().narrow(1, 1, 2), maps.group(1).unwrap().clone());
    let lowest = maps.group(2).unwrap().clone();
    equal(
        low.narrow(1, 3, 2),
        ops::resample::upsample_nearest(lowest, [5, 7]),
    );

    // Of two groups it is what OctFeatures does.
    let features = OctFeatures::split(x.clone(), 0.3);
    let maps = OctMaps::split(x.clone(), &[0.7, 0.3], [true; 2]).unwrap();
    equal(maps.merge(), features.clone().merge());
    let wider = features.with_alpha(0.5).unwrap();
    assert_eq!(wider.channels(), [4, 4]);
    equal(wider.high().unwrap().clone(), x.narrow(1, 0, 4));
}

/// Lines and volumes: the pixels of a window are averaged whatever the axes.
#[test]
fn every_axis_is_pooled_alike() {
    let x = random([1, 2, 5, 6, 7]);
    let mean = |x: Tensor<5>, dim: usize| {
        let size = x.dims()[dim];
        let parts = (0..size.div_ceil(2)).map(|i| {
            let length = (size - 2 * i).min(2);
            x.clone().narrow(dim, 2 * i, length).mean_dim(dim)
        });
        Tensor::cat(parts.collect(), dim)
    };
    for axes in [
        [true, false, false],
        [false, true, true],
        [true; 3],
        [false, false, true],
    ] {
        let expected = (0..3)
            .filter(|&a| axes[a])
            .fold(x.clone(), |x, a| mean(x, 2 + a));
        let maps = OctMaps::split(x.clone(), &[0.0, 1.0], axes).unwrap();
        close(maps.group(1).unwrap().clone(), expected.clone());
        close(
            OctMaps::from_full(x.clone()).avg_pool2(axes).into_full(),
            expected,
        );
    }
    let line = random([2, 3, 7]);
    let pooled = OctMaps::<1, 3>::from_full(line.clone())
        .max_pool2([true])
        .into_full();
    let last = pooled.clone().narrow(2, 3, 1);
    equal(last, line.clone().narrow(2, 6, 1));
    let first = pooled.narrow(2, 0, 1);
    equal(first, line.narrow(2, 0, 2).max_dim(2));
}

#[test]
fn concatenating_keeps_the_groups_apart() {
    let x = video(2, 8, [3, 8, 10]);
    let skip = OctMaps::split(random([2, 6, 3, 8, 10]), &[0.5, 0.5], [false, true, true]).unwrap();
    let both = x.clone().concat(skip.clone()).unwrap();
    assert_eq!(both.channels(), [7, 5, 2]);
    let expected = [x.group(1).unwrap().clone(), skip.group(1).unwrap().clone()];
    equal(
        both.group(1).unwrap().clone(),
        Tensor::cat(expected.into(), 1),
    );
    // The next layer reads exactly these.
    let layer = OctConv3dConfig::new([14, 4], [1, 3, 3])
        .with_shares_in(both.shares())
        .init(&device());
    assert_eq!(layer.forward(both).channels(), [2, 2]);

    // A plain tensor has no axes of its own.
    let plain = OctMaps::from_full(random([2, 1, 3, 8, 10]));
    assert_eq!(plain.concat(x.clone()).unwrap().channels(), [5, 2, 2]);

    let smaller = video(2, 8, [3, 8, 9]);
    let error = x.clone().concat(smaller).unwrap_err().to_string();
    assert!(
        error.contains("[2, 4, 3, 8, 10] +") && error.contains("[2, 4, 3, 8, 9] +"),
        "{error}"
    );
    let volume = OctMaps::split(random([2, 8, 3, 8, 10]), &[0.5, 0.5], [true; 3]).unwrap();
    let error = x.concat(volume).unwrap_err().to_string();
    assert!(error.contains("halving [false, true, true] and"), "{error}");
}

#[test]
fn crops_and_pads_keep_the_groups_aligned() {
    let maps = video(1, 8, [3, 16, 12]);
    let part = maps.clone().crop([1, 4, 8], [2, 7, 3]).unwrap();
    assert_eq!(
        part.describe(),
        "[1, 4, 2, 7, 3] + [1, 2, 2, 4, 2] + [1, 2, 2, 2, 1] halving [false, true, true]"
    );
    let low = maps.group(2).unwrap().clone();
    let expected = low.narrow(2, 1, 2).narrow(3, 1, 2).narrow(4, 2, 1);
    equal(part.group(2).unwrap().clone(), expected);

    let padded = part.clone().pad([(1, 0), (4, 5), (8, 1)]).unwrap();
    assert_eq!(padded.size(), [3, 16, 12]);
    let back = padded.clone().crop([1, 4, 8], [2, 7, 3]).unwrap();
    equal(back.merge(), part.clone().merge());
    let zeros = padded.group(2).unwrap().clone().narrow(3, 0, 1).abs().max();
    assert_eq!(zeros.into_scalar::<f32>(), 0.0);

    let error = maps
        .clone()
        .crop([0, 2, 0], [1, 4, 4])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("crop of [0, 2, 0]") && error.contains("[1, 4, 4]"),
        "{error}"
    );
    let error = maps
        .clone()
        .crop([0, 8, 0], [1, 9, 4])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("[3, 16, 12] has no part of [1, 9, 4]"),
        "{error}"
    );
    let error = part.pad([(0, 0), (1, 0), (0, 0)]).unwrap_err().to_string();
    assert!(error.contains("padding of [0, 1, 0]"), "{error}");

    let features = OctFeatures::split(random([1, 4, 6, 8]), 0.5);
    let part = features.clone().crop([2, 0], [3, 5]).unwrap();
    assert_eq!(part.describe(), "high [1, 2, 3, 5] + low [1, 2, 2, 3]");
    assert_eq!(part.pad([(2, 1), (0, 3)]).unwrap().size(), [6, 8]);
    assert!(features.crop([1, 0], [3, 5]).is_err());
}

#[test]
fn maps_that_do_not_fit_together_are_refused() {
    let new = |groups: Vec<Option<Tensor<4>>>| OctMaps::<2, 4>::new(groups, [9, 6], [true, false]);
    let error = |groups| new(groups).unwrap_err().to_string();
    assert!(error(vec![None, None]).contains("at least one group"));
    let high = || Some(random([2, 3, 9, 6]));
    let wrong = error(vec![high(), Some(random([2, 1, 5, 3]))]);
    assert!(wrong.contains("group 1") && wrong.contains("[2, channels, [5, 6]], not [2, 1, 5, 3]"));
    assert!(error(vec![high(), None, Some(random([1, 1, 3, 6]))]).contains("group 2"));
    let maps = new(vec![high(), None, Some(random([2, 1, 3, 6])), None]).unwrap();
    assert_eq!(maps.channels(), [3, 0, 1]);
    assert_eq!(
        maps.describe(),
        "[2, 3, 9, 6] + nothing + [2, 1, 3, 6] halving [true, false]"
    );

    let layer = MultiOctConv2dConfig::new([4, 4], [3, 3]).init(&device());
    let error = layer.check(&maps).unwrap_err().to_string();
    assert!(error.contains("[2, 2] channels, got [3, 0, 1]"), "{error}");
    let layer = MultiOctConv2dConfig::new([4, 4], [3, 3]).with_shares_in(maps.shares());
    let layer = layer.init(&device());
    let error = layer.check(&maps).unwrap_err().to_string();
    assert!(
        error.contains("halves the axes [true, true], the map [true, false]"),
        "{error}"
    );
    assert!(OctFeatures::try_from(maps).is_err());
    let spectrogram = OctMaps::split(random([1, 4, 8, 8]), &[0.5, 0.5], [true, false]).unwrap();
    assert!(OctFeatures::try_from(spectrogram).is_err());

    let valid = OctConv1dConfig::new([2, 2], [5])
        .with_alpha(0.0)
        .with_padding(PaddingConfig1d::Valid)
        .init(&device());
    let error = valid
        .check(&random([1, 2, 4]).into())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("reads a map of [4]") && error.contains("[5]"),
        "{error}"
    );
}

#[test]
fn configurations_that_have_no_octave_form_are_refused() {
    let line = || OctConv1dConfig::new([8, 8], [3]);
    let volume = || OctConv3dConfig::new([8, 8], [3; 3]);
    let up = || OctConvTranspose2dConfig::new([8, 8], [3, 3]).with_stride([2, 2]);
    for (error, part) in [
        (
            line().with_alpha(1.5).validate(),
            "shares_in are [-0.5, 1.5]",
        ),
        (
            line().with_shares([0.5, 0.4]).validate(),
            "their sum must be 1",
        ),
        (line().with_stride([3]).validate(), "stride is [3]"),
        (
            line().with_octave_axes([false]).validate(),
            "octave_axes are [false]",
        ),
        (line().with_groups(3).validate(), "groups = 3 must divide"),
        (line().with_groups(0).validate(), "groups is 0"),
        (line().with_dilation([0]).validate(), "dilation is [0]"),
        (
            line().with_padding(PaddingConfig1d::Valid).validate(),
            "padding [(0, 0)] does not",
        ),
        (
            line()
                .with_groups(8)
                .with_shares_in([1.0].into())
                .validate(),
            "input is split in [8], its output in [4, 4]",
        ),
        (
            line()
                .with_alpha_in(0.0)
                .with_exchange(Exchange::Neither)
                .validate(),
            "no path reaches group 1",
        ),
        (
            OctConv1dConfig::new([usize::MAX, 8], [3]).validate(),
            "too large",
        ),
        (
            volume().with_stride([1, 2, 4]).validate(),
            "stride is [1, 2, 4]",
        ),
        (
            volume()
                .with_padding(PaddingConfig3d::Explicit(1, 1, 0))
                .validate(),
            "padding [(1, 1), (1, 1), (0, 0)] does not",
        ),
        (
            up().with_padding(Some([0, 0])).validate(),
            "padding ([0, 0], [0, 0]) does not",
        ),
        (
            up().with_strided(true)
                .with_padding(Some([1, 1]))
                .with_padding_out([1, 1])
                .validate(),
            "padding ([1, 1], [1, 1]) does not keep",
        ),
        (
            up().with_alpha_in(0.0)
                .with_exchange(Exchange::Neither)
                .validate(),
            "no path reaches group 1 of the output: with [8] channels in and [4, 4] out",
        ),
        (
            up().with_alpha_in(2.0).validate(),
            "shares_in are [-1.0, 2.0]",
        ),
    ] {
        let error = error.expect_err(part).to_string();
        assert!(error.contains(part), "'{error}' lacks '{part}'");
    }
    // Their own padding, where every path stays aligned.
    for (kernel, padding) in [(2, 0), (4, 1)] {
        OctConvTranspose2dConfig::new([8, 8], [kernel; 2])
            .with_stride([2, 2])
            .with_strided(true)
            .with_padding(Some([padding; 2]))
            .validate()
            .unwrap();
    }
    let wrong = line().init(&device()).with_vanilla(random([8, 4, 3]), None);
    let error = wrong.map(drop).unwrap_err().to_string();
    assert!(
        error.contains("[8, 4, 3]") && error.contains("[8, 8, 3]"),
        "{error}"
    );
}

#[test]
fn transposed_layers_reach_the_size_that_is_asked_for() {
    let up = OctConvTranspose3dConfig::new([8, 4], [3; 3]).with_stride([1, 2, 2]);
    let up = up.with_shares(THREE).init(&device());
    let x = video(2, 8, [3, 5, 4]);
    let y = up.forward(x.clone());
    assert_eq!(y.size(), [3, 10, 8]);
    assert_eq!(y.channels(), [2, 1, 1]);
    let y = up.forward_to(x.clone(), [3, 9, 7]);
    assert_eq!(y.group(2).unwrap().dims(), [2, 1, 3, 3, 2]);
    let error = up.check(&x, [3, 11, 8]).unwrap_err().to_string();
    assert!(
        error.contains("an output of [3, 11, 8]") && error.contains("an input of [3, 5, 4]"),
        "{error}"
    );
}

/// With the scale of means every path keeps constants, at the border too.
#[test]
fn paths_of_a_transposed_layer_keep_constants_on_the_scale_of_means() {
    let ones = OctMaps::split(
        Tensor::<4>::ones([1, 8, 5, 7], &device()),
        &THREE,
        [true; 2],
    );
    let up = OctConvTranspose2dConfig::new([8, 4], [1, 1])
        .with_stride([2, 2])
        .with_shares(THREE)
        .with_bias(false)
        .with_initializer(burn::nn::Initializer::Ones)
        .with_scale(Scale::Mean)
        .init(&device());
    let y = up.forward_to(ones.unwrap(), [9, 13]).merge();
    equal(y.clone(), Tensor::ones(y.dims(), &device()) * 8.0);
}

fn two(features: &OctFeatures) -> OctMaps<2, 4> {
    features.clone().into()
}

#[test]
fn layers_over_two_groups_are_those_of_two_frequencies() {
    let x = OctFeatures::split(random([3, 16, 6, 9]), 0.25);
    let shares = [0.75, 0.25];
    let device = device().autodiff();
    let on = |x: &OctFeatures| x.clone().map(|x| x.to_device(&device));

    let norm = OctBatchNormConfig::new(16).with_alpha(0.25).init(&device);
    let maps_norm = OctMapsBatchNormConfig::new(16).with_shares(shares.into());
    let maps_norm = maps_norm.init(&device);
    let expected = norm.forward(on(&x));
    let actual = maps_norm.forward(two(&on(&x)));
    close(actual.merge().inner(), expected.merge().inner());
    let glued = maps_norm.to_batch_norm();
    let vanilla = norm.to_batch_norm();
    close(
        glued.running_var.value_sync().inner(),
        vanilla.running_var.value_sync().inner(),
    );
    let again = OctMapsBatchNorm::from_batch_norm(&glued, &THREE).unwrap();
    assert_eq!(again.groups.len(), 3);
    let again = again.to_batch_norm();
    equal(
        again.running_mean.value_sync(),
        glued.running_mean.value_sync(),
    );
    equal(again.gamma.val(), glued.gamma.val());

    let excite = OctSqueezeExciteConfig::new(16).with_alpha(0.25);
    let excite = excite.with_reduction(4).init(&Device::flex());
    let mut maps_excite = OctMapsSqueezeExciteConfig::new(16)
        .with_shares(shares.into())
        .with_reduction(4)
        .init(&Device::flex());
    maps_excite.squeeze = excite.squeeze.clone();
    maps_excite.excite = vec![excite.excite_high.clone(), excite.excite_low.clone()];
    let expected = excite.forward(x.clone());
    close(maps_excite.forward(two(&x)).merge(), expected.merge());

    let gelu = OctActivation::new(&ActivationConfig::Gelu, &Device::flex());
    let expected = gelu.forward(x.clone());
    equal(gelu.forward_maps(two(&x)).merge(), expected.merge());
    close(two(&x).global_avg_pool(), x.clone().global_avg_pool());
    equal(two(&x).global_max_pool(), x.clone().global_max_pool());
    let pooled = OctFeatures::try_from(two(&x).avg_pool2([true; 2])).unwrap();
    assert_eq!(pooled.describe(), x.clone().avg_pool2().describe());
    equal(pooled.merge(), x.clone().avg_pool2().merge());
    let sum = two(&x) + two(&x);
    equal(sum.merge(), (x.clone() + x).merge());
}

/// Over any axes: a norm sees a map's pixels, not where they lie.
#[test]
fn norms_of_every_kind_over_three_axes() {
    let maps = video(2, 16, [3, 8, 4]);
    for norm in [
        NormalizationConfig::Group(GroupNormConfig::new(2, 0)),
        NormalizationConfig::Instance(InstanceNormConfig::new(0)),
        NormalizationConfig::Layer(LayerNormConfig::new(0)),
    ] {
        let layer = OctMapsNormConfig::new(16, norm.clone()).with_shares(THREE.into());
        let y = layer.init(&device()).forward(maps.clone());
        for level in 0..3 {
            let x = maps.group(level).unwrap().clone();
            let channels = x.dims()[1];
            let own = norm.clone().with_num_features(channels).init(&device());
            let expected = match norm {
                NormalizationConfig::Layer(_) => own
                    .forward(x.permute([0, 2, 3, 4, 1]))
                    .permute([0, 4, 1, 2, 3]),
                _ => own.forward(x),
            };
            close(y.group(level).unwrap().clone(), expected);
        }
    }
    let uneven = NormalizationConfig::Group(GroupNormConfig::new(4, 0));
    let uneven = OctMapsNormConfig::new(8, uneven).with_shares(THREE.into());
    let error = uneven
        .try_init(&device())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("which are [4, 2, 2]"), "{error}");
    let norm = OctMapsBatchNormConfig::new(8).init(&device());
    let error = norm.check(&maps).unwrap_err().to_string();
    assert!(error.contains("[4, 4] channels, got [8, 4, 4]"), "{error}");
    assert!(OctMapsBatchNormConfig::new(0).try_init(&device()).is_err());
    let zero = OctMapsSqueezeExciteConfig::new(8).with_reduction(0);
    assert!(zero.try_init(&device()).is_err());
}

#[test]
fn dropout_and_activations_act_on_every_group() {
    let x = video(1, 8, [2, 8, 8]);
    let relu = x.clone().relu();
    equal(
        relu.group(2).unwrap().clone(),
        activation::relu(x.group(2).unwrap().clone()),
    );
    equal(
        OctDropout::new(0.5).forward_maps(x.clone()).merge(),
        x.clone().merge(),
    );
    let device = Device::flex().autodiff();
    let dropped = OctDropout::new(0.5).forward_maps(x.map(|x| Tensor::ones(x.dims(), &device)));
    for level in 0..3 {
        let zeros = dropped.group(level).unwrap().clone().equal_scalar(0.0);
        let share = zeros.float().mean().into_scalar::<f32>();
        assert!((0.2..0.8).contains(&share), "{share}");
    }
}

/// A user's own network: a decoder with a skip.
#[derive(Module, Debug)]
struct Net {
    first: MultiOctConv2d,
    norm: OctMapsBatchNorm,
    up: burn_octconv::OctConvTranspose2d,
    last: MultiOctConv2d,
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = |channels| MultiOctConv2dConfig::new(channels, [3, 3]).with_shares(THREE);
        Self {
            first: conv([1, 8]).with_alpha_in(0.0).init(device),
            norm: OctMapsBatchNormConfig::new(8)
                .with_shares(THREE.into())
                .init(device),
            up: OctConvTranspose2dConfig::new([8, 8], [2, 2])
                .with_stride([2, 2])
                .with_shares(THREE)
                .with_scale(Scale::Mean)
                .init(device),
            last: conv([16, 1]).with_alpha_out(0.0).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let skip = self.norm.forward(self.first.forward(x)).relu();
        let down = skip.clone().avg_pool2([true; 2]);
        let up = self.up.forward_to(down, skip.size());
        self.last.forward(up.concat(skip).unwrap()).into_full()
    }
}

#[test]
fn a_network_trains_and_its_record_brings_it_back() {
    let device = device().autodiff();
    let mut net = Net::new(&device);
    // Running statistics count as well.
    let count = net.num_params();
    assert_eq!(count, 8 * 9 + 8 + 4 * 8 + 8 * 8 * 4 + 8 + 16 * 9 + 1);
    let x = random([2, 1, 9, 13]).to_device(&device);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..20 {
        let loss = (net.forward(x.clone()) - x.clone()).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(0.1, net, gradients);
    }
    assert!(losses[19] < 0.8 * losses[0], "{losses:?}");

    let net = net.valid();
    let x = x.inner();
    let expected = net.forward(x.clone());
    let record = net.clone().into_record();
    let restored = Net::new(&Device::flex()).load_record(record);
    equal(restored.forward(x), expected);
}

#[test]
fn configurations_are_written_and_read() {
    let config = OctConv3dConfig::new([8, 16], [1, 3, 3])
        .with_shares(THREE)
        .with_stride([1, 2, 2])
        .with_reach(Reach::Neighbours);
    let text = serde_json::to_string(&config).unwrap();
    let again: OctConv3dConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again.plan().unwrap(), config.plan().unwrap());
    let up = OctConvTranspose1dConfig::new([8, 16], [4]).with_padding(Some([1]));
    let up = up.with_stride([2]).with_strided(true);
    let text = serde_json::to_string(&up).unwrap();
    let again: OctConvTranspose1dConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again.plan().unwrap(), up.plan().unwrap());
    assert!(again.to_string().contains("padding"));
}

#[test]
fn layers_say_what_they_are() {
    let layer = OctConv3dConfig::new([8, 16], [1, 3, 3])
        .with_shares(THREE)
        .with_stride([1, 2, 2])
        .init(&device());
    let shown = layer.to_string();
    for part in [
        "OctConvNd {ch_in: 8 (4 + 2 + 2), ch_out: 16 (8 + 4 + 4), kernel_size: [1, 3, 3]",
        "stride: [1, 2, 2] (pooled)",
        "octave_axes: [false, true, true], paths: 9, params: 1168}",
    ] {
        assert!(shown.contains(part), "'{shown}' lacks '{part}'");
    }
    let up = OctConvTranspose1dConfig::new([4, 8], [2]).with_stride([2]);
    let shown = up.with_strided(true).init(&device()).to_string();
    assert!(
        shown.contains("ch_in: 4 (2 + 2), ch_out: 8 (4 + 4)"),
        "{shown}"
    );
    assert!(shown.contains("[2] (strided)"), "{shown}");
    assert_eq!(ChannelSplit::new(8, 0.5).unwrap().total(), 8);
}

#[test]
#[should_panic(expected = "expected a feature map with one group at full resolution")]
fn a_map_of_several_groups_is_no_plain_tensor() {
    video(1, 8, [2, 8, 8]).into_full();
}

#[test]
#[should_panic(expected = "OctMaps::map: group 0")]
fn a_function_of_groups_keeps_the_resolution() {
    video(1, 8, [2, 8, 8]).map(|x| x.narrow(4, 0, 1));
}
