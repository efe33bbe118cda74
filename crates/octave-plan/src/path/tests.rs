use alloc::{vec, vec::Vec};

use super::*;

type Form = (usize, usize, usize, usize, usize, usize);

/// `(from, to, pool, down, stride, up)` of every path.
fn forms(plan: &Plan<2>) -> Vec<Form> {
    let form = |p: &Path| {
        (
            p.from,
            p.to,
            p.pool,
            p.down,
            p.stride * p.octave_stride,
            p.up,
        )
    };
    plan.paths.iter().map(form).collect()
}

fn plan(change: impl FnOnce(&mut Layer<2>)) -> Plan<2> {
    let mut layer = Layer::new([6, 2], [5, 3], [3, 3]);
    change(&mut layer);
    Plan::new(layer, Exchange::Both)
}

/// Equation 2 of the paper.
#[test]
fn stride_1_pools_down_and_upsamples_up() {
    let paths = vec![
        (0, 0, 0, 0, 1, 0),
        (1, 0, 0, 0, 1, 1),
        (0, 1, 0, 1, 1, 0),
        (1, 1, 0, 0, 1, 0),
    ];
    assert_eq!(forms(&plan(|_| ())), paths);
}

/// Section 3.3 of the paper: pool first, H→L twice, L→H not at all.
#[test]
fn stride_2_pools_first() {
    let paths = vec![
        (0, 0, 1, 0, 1, 0),
        (1, 0, 0, 0, 1, 0),
        (0, 1, 1, 1, 1, 0),
        (1, 1, 1, 0, 1, 0),
    ];
    assert_eq!(forms(&plan(|layer| layer.stride = 2)), paths);
}

#[test]
fn strided_convolutions_do_not_pool() {
    let strided = |layer: &mut Layer<2>| (layer.stride, layer.strided) = (2, true);
    let paths = vec![
        (0, 0, 0, 0, 2, 0),
        (1, 0, 0, 0, 1, 0),
        (0, 1, 0, 1, 2, 0),
        (1, 1, 0, 0, 2, 0),
    ];
    assert_eq!(forms(&plan(strided)), paths);
    let down = plan(|layer| layer.downsample = Downsample::Strided);
    assert_eq!(forms(&down)[2], (0, 1, 0, 0, 2, 0));
    let both = plan(|layer| {
        strided(layer);
        layer.downsample = Downsample::Strided;
    });
    assert_eq!(forms(&both)[2], (0, 1, 0, 0, 4, 0));
}

#[test]
fn three_frequencies_go_by_the_same_rule() {
    let layer = Layer::new([4, 2, 2], [4, 2, 2], [1, 1]);
    let stride_1 = Plan::new(layer.clone(), Exchange::Both);
    let form = |plan: &Plan<2>, from, to| {
        let path = plan.path(from, to).unwrap();
        (path.pool + path.down, path.up)
    };
    assert_eq!(
        [
            form(&stride_1, 0, 2),
            form(&stride_1, 2, 0),
            form(&stride_1, 2, 1)
        ],
        [(2, 0), (0, 2), (0, 1)]
    );
    let stride_2 = Plan::new(Layer { stride: 2, ..layer }, Exchange::Both);
    assert_eq!(
        [
            form(&stride_2, 0, 2),
            form(&stride_2, 2, 0),
            form(&stride_2, 2, 1)
        ],
        [(3, 0), (0, 1), (0, 0)]
    );
}

#[test]
fn every_path_reaches_the_size_of_its_group() {
    for stride in [1, 2] {
        for strided in [false, true] {
            for downsample in [Downsample::Average, Downsample::Max, Downsample::Strided] {
                let plan = plan(|layer| {
                    (layer.stride, layer.strided, layer.downsample) = (stride, strided, downsample);
                });
                for size in [[1, 1], [5, 7], [8, 12], [9, 6]] {
                    let output = plan.output_size(size);
                    assert_eq!(output, size.map(|s: usize| s.div_ceil(stride)));
                    for path in &plan.paths {
                        let reached = plan.conv_size(path, size);
                        let wanted = plan.level_size(output, path.to + path.up);
                        assert_eq!(reached, wanted, "{path:?} at {size:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_single_path_may_change_the_size() {
    let mut layer = Layer::new([4, 0], [4, 0], [3, 3]);
    layer.padding = Padding::Explicit([(0, 0), (2, 1)]);
    let high = Plan::new(layer.clone(), Exchange::Both);
    assert_eq!(high.output_size([5, 7]), [3, 8]);
    assert!(!high.keeps_size());
    (layer.input, layer.output) = (vec![0, 4], vec![4, 0]);
    let up = Plan::new(layer.clone(), Exchange::Both);
    assert_eq!(up.output_size([8, 8]), [4, 10]);
    (layer.input, layer.output) = (vec![0, 4], vec![0, 4]);
    let low = Plan::new(layer, Exchange::Both);
    assert_eq!(low.output_size([8, 8]), [4, 10]);
    // Where the kernel does not fit there is nothing.
    assert_eq!(low.conv_size(&low.paths[0], [4, 4]), [0, 3]);
}

#[test]
fn only_octave_axes_are_halved() {
    let plan = plan(|layer| layer.octave_axes = [false, true]);
    assert_eq!(plan.level_size([5, 7], 1), [5, 4]);
    let down = plan.path(0, 1).unwrap();
    assert_eq!(plan.read_size(down, [5, 7]), [5, 4]);
    let strided = Plan::new(
        Layer {
            downsample: Downsample::Strided,
            ..plan.layer.clone()
        },
        Exchange::Both,
    );
    assert_eq!(strided.stride_of(strided.path(0, 1).unwrap()), [1, 2]);
    assert_eq!(
        strided.conv_size(strided.path(0, 1).unwrap(), [5, 7]),
        [5, 4]
    );
}

#[test]
fn paths_cut_the_vanilla_kernel_without_gap_or_overlap() {
    for (groups, input, output) in [
        (1, vec![6, 2], vec![5, 3]),
        (2, vec![4, 4, 2], vec![6, 2, 4]),
    ] {
        let mut layer = Layer::new(input.clone(), output.clone(), [1, 1]);
        layer.groups = groups;
        let plan = Plan::new(layer, Exchange::Both);
        let [rows, columns] = [&output, &input].map(|c| c.iter().sum::<usize>() / groups);
        let mut seen = vec![0; rows * columns];
        for path in &plan.paths {
            for row in path.rows.clone() {
                path.columns
                    .clone()
                    .for_each(|column| seen[row * columns + column] += 1);
            }
            assert_eq!(
                plan.weight_dims(path),
                [path.rows.len() * groups, path.columns.len()]
            );
        }
        assert!(seen.iter().all(|&n| n == 1));
    }
}

#[test]
fn depthwise_layers_exchange_nothing() {
    let plan =
        plan(|layer| (layer.input, layer.output, layer.groups) = (vec![6, 2], vec![6, 2], 8));
    let ends: Vec<_> = plan
        .paths
        .iter()
        .map(|path| (path.from, path.to, path.rows.clone()))
        .collect();
    assert_eq!(ends, [(0, 0, 0..6), (1, 1, 6..8)]);
    assert_eq!(plan.weights(&plan.paths[0]), 6 * 9);
}

/// One channel and one group are not one filter per channel.
#[test]
fn a_single_channel_can_go_to_another_group() {
    let plan = Plan::new(Layer::new([1, 0], [0, 1], [3, 3]), Exchange::Both);
    assert_eq!(forms(&plan), [(0, 1, 0, 1, 1, 0)]);
}

#[test]
fn paths_into_a_group_come_in_order() {
    let plan = plan(|_| ());
    for to in [0, 1] {
        let ends = plan.into_group(to).map(|path| (path.from, path.to));
        assert_eq!(ends.collect::<Vec<_>>(), [(0, to), (1, to)]);
    }
}

/// Padding alone gives no pixels.
#[test]
fn an_empty_map_stays_empty() {
    let plan = plan(|_| ());
    assert_eq!(plan.conv_size(&plan.paths[0], [0, 5]), [0, 5]);
    let padded = Layer {
        padding: Padding::Explicit([(2, 2); 2]),
        ..Layer::new([4], [4], [3, 3])
    };
    let padded = Plan::new(padded, Exchange::Both);
    assert_eq!(padded.conv_size(&padded.paths[0], [0, 1]), [0, 3]);
}

#[test]
fn exchange_paths_can_be_switched_off() {
    let ends = |exchange| {
        let plan = Plan::new(Layer::new([4, 4], [4, 4], [1, 1]), exchange);
        plan.paths
            .iter()
            .map(|path| (path.from, path.to))
            .collect::<Vec<_>>()
    };
    assert_eq!(ends(Exchange::Neither), [(0, 0), (1, 1)]);
    assert_eq!(ends(Exchange::HighToLow), [(0, 0), (0, 1), (1, 1)]);
    assert_eq!(ends(Exchange::LowToHigh), [(0, 0), (1, 0), (1, 1)]);
}

/// Table 1 of the paper: `1 − ¾ · α · (2 − α)`.
#[test]
fn multiply_adds_follow_the_formula() {
    for low in [0, 1, 2, 4, 6, 7, 8] {
        let plan = Plan::new(
            Layer::new([8 - low, low], [8 - low, low], [3, 3]),
            Exchange::Both,
        );
        let macs: u64 = plan
            .paths
            .iter()
            .map(|path| plan.macs(path, [16, 16]))
            .sum();
        let alpha = low as f64 / 8.0;
        let relative = 1.0 - 0.75 * alpha * (2.0 - alpha);
        assert_eq!(macs as f64, relative * (8 * 8 * 9 * 16 * 16) as f64);
    }
}

/// Every path reaches the size of its group, whichever axes are halved and strided.
#[test]
fn axes_of_octaves_and_strides_are_free() {
    let masks = [[true, true], [true, false], [false, true]];
    let methods = [Downsample::Average, Downsample::Strided];
    for (octave_axes, stride_axes) in masks.iter().flat_map(|o| masks.iter().map(move |s| (o, s))) {
        for (strided, downsample) in [false, true].into_iter().zip(methods) {
            let layer = Layer {
                stride: 2,
                strided,
                downsample,
                octave_axes: *octave_axes,
                stride_axes: *stride_axes,
                ..Layer::new([4, 2, 2], [3, 3, 2], [3, 3])
            };
            let plan = Plan::new(layer, Exchange::Both);
            for size in [[1, 1], [5, 7], [8, 13]] {
                let output = plan.output_size(size);
                let strides = plan.strides();
                assert_eq!(output, [0, 1].map(|a: usize| size[a].div_ceil(strides[a])));
                for path in &plan.paths {
                    assert_eq!(plan.conv_size(path, size), plan.up_size(path, output, 0));
                    let reached = plan.up_size(path, output, path.up);
                    assert_eq!(reached, plan.level_size(output, path.to), "{path:?}");
                    assert_eq!(plan.up_axes(path, path.up), [false; 2]);
                }
            }
        }
    }
}

/// A video: time is neither halved nor strided. Then the rule of two axes holds for the other two.
#[test]
fn a_stride_along_the_octave_axes_needs_no_upsampling() {
    let layer = Layer {
        stride: 2,
        octave_axes: [false, true, true],
        stride_axes: [false, true, true],
        ..Layer::new([4, 4], [4, 4], [3, 3, 3])
    };
    let plan = Plan::new(layer, Exchange::Both);
    let up = plan.path(1, 0).unwrap();
    assert_eq!((up.pool, up.up), (0, 0));
    assert_eq!(plan.output_size([5, 7, 9]), [5, 4, 5]);
    let down = plan.path(0, 1).unwrap();
    assert_eq!(plan.read_size(down, [5, 7, 9]), [5, 2, 3]);
}

/// Time is strided, but not halved by octaves: the path that goes up pools it.
#[test]
fn a_stride_along_another_axis_is_taken_by_every_path() {
    let layer = Layer {
        stride: 2,
        octave_axes: [false, true],
        ..Layer::new([4, 4], [4, 4], [3, 3])
    };
    let plan = Plan::new(layer.clone(), Exchange::Both);
    let up = plan.path(1, 0).unwrap();
    assert_eq!((up.pool, up.up), (1, 0));
    assert_eq!(plan.stride_axes_of(up), [true, false]);
    assert_eq!(plan.read_size(up, [6, 8]), [3, 4]);
    let strided = Layer {
        strided: true,
        ..layer
    };
    let strided = Plan::new(strided, Exchange::Both);
    assert_eq!(strided.stride_of(strided.path(1, 0).unwrap()), [2, 1]);
}

#[test]
fn neighbours_are_one_octave_apart() {
    let plan = Plan::new(Layer::new([2; 3], [2; 3], [1]), Exchange::Both);
    let ends = |plan: &Plan<1>| -> Vec<_> {
        let ends = plan.paths.iter().map(|path| (path.from, path.to));
        ends.collect()
    };
    assert_eq!(ends(&plan).len(), 9);
    let near = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 2)];
    assert_eq!(ends(&plan.between_neighbours()), near);
}
