//! What the shares change, and what not.

use super::*;

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
