//! Beside `OctConv2d` and Burn's own layers.

use super::*;

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
            // And by the engine: to the bit where both use it for the layer as a whole.
            let expected = layer.forward(x.clone());
            let actual = OctFeatures::try_from(any.forward(x)).unwrap();
            let engine = ops::refusal(&layer.plan, 2, [9, 14], &device()).is_none();
            match groups {
                1 if engine => same(actual, expected),
                _ => near(actual, expected),
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
            as_burn(
                || octave.forward(x.clone()).into_full(),
                vanilla.forward(x.clone()),
            );

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
            as_burn(
                || octave.forward(x.clone()).into_full(),
                vanilla.forward(x.clone()),
            );

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
            as_burn(
                || octave.forward(x.clone()).into_full(),
                vanilla.forward(x.clone()),
            );
        }
    }
}
