//! Maps split, merged, pooled, joined, cropped and padded.

use super::*;

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
#[should_panic(expected = "expected a feature map with one group at full resolution")]
fn a_map_of_several_groups_is_no_plain_tensor() {
    video(1, 8, [2, 8, 8]).into_full();
}

#[test]
#[should_panic(expected = "OctMaps::map: group 0")]
fn a_function_of_groups_keeps_the_resolution() {
    video(1, 8, [2, 8, 8]).map(|x| x.narrow(4, 0, 1));
}
