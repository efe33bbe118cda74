use octave_plan::{Path, Plan};

use crate::{Cost, PathMacs};

/// The theoretical cost of an octave convolution with the same shares on both sides, stride 1 and
/// every group connected to every other, relative to the vanilla convolution:
/// `(multiply–adds, activation memory)`, where lower groups halve `axes` axes.
///
/// A path runs on the pixels of the lower of its two groups, so with shares s_0, s_1, …
/// `Σ_ij s_i·s_j·2^(−axes·max(i, j))` and `Σ_i s_i·2^(−axes·i)`. For `[1 − α, α]` over two axes these
/// are `1 − ¾·α(2 − α)` and `1 − ¾·α`, as in table 1 of the paper
/// ([`relative_cost`](crate::relative_cost)).
///
/// ```
/// use burn_octconv::relative_cost_of_shares;
///
/// // Images in three frequencies: a third of the multiply–adds.
/// let (macs, memory) = relative_cost_of_shares(&[0.5, 0.25, 0.25], 2);
/// assert_eq!((macs, memory), (0.35546875, 0.578125));
/// ```
pub fn relative_cost_of_shares(shares: &[f64], axes: u32) -> (f64, f64) {
    let pixels = |level: usize| 1.0 / (1u64 << (axes as usize * level)) as f64;
    let levels = || shares.iter().enumerate();
    let pairs = levels().flat_map(|(i, s)| levels().map(move |(j, t)| s * t * pixels(i.max(j))));
    let memory = levels().map(|(i, s)| s * pixels(i)).sum();
    (pairs.sum(), memory)
}

/// What a convolution costs for an input of full resolution `size`.
pub(super) fn convolution<const D: usize>(plan: &Plan<D>, bias: usize, size: [usize; D]) -> Cost {
    let output = elements(plan, &plan.output, plan.output_size(size));
    Cost {
        params: weights(plan) + bias as u64,
        macs: macs(plan, size, |path| (path.from, path.to)),
        activations: output,
        working_set: elements(plan, &plan.input, size) + output,
    }
}

/// What the adjoint of a convolution costs, for an output of full resolution `size`.
pub(super) fn transposed<const D: usize>(plan: &Plan<D>, bias: usize, size: [usize; D]) -> Cost {
    let output = elements(plan, &plan.input, size);
    Cost {
        params: weights(plan) + bias as u64,
        macs: macs(plan, size, |path| (path.to, path.from)),
        activations: output,
        working_set: elements(plan, &plan.output, plan.output_size(size)) + output,
    }
}

fn weights<const D: usize>(plan: &Plan<D>) -> u64 {
    plan.paths.iter().map(|path| plan.weights(path)).sum()
}

/// Multiply–adds by where paths go: within the full resolution, down, up, within a lower one.
fn macs<const D: usize>(
    plan: &Plan<D>,
    size: [usize; D],
    ends: impl Fn(&Path) -> (usize, usize),
) -> PathMacs {
    plan.paths
        .iter()
        .fold(PathMacs::default(), |mut sum, path| {
            let part = match ends(path) {
                (0, 0) => &mut sum.h2h,
                (from, to) if from < to => &mut sum.h2l,
                (from, to) if from > to => &mut sum.l2h,
                _ => &mut sum.l2l,
            };
            *part += plan.macs(path, size);
            sum
        })
}

/// Elements of groups of `channels`.
fn elements<const D: usize>(plan: &Plan<D>, channels: &[usize], size: [usize; D]) -> u64 {
    let group = |(level, &channels): (usize, &usize)| {
        let pixels = plan.level_size(size, level).into_iter();
        pixels.map(|s| s as u64).product::<u64>() * channels as u64
    };
    channels.iter().enumerate().map(group).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MultiOctConv2dConfig, OctConv1dConfig, OctConv2dConfig, OctConv3dConfig,
        OctConvTranspose2dConfig, Reach, relative_cost,
    };

    #[test]
    fn the_formula_is_that_of_the_paper_for_two_groups() {
        for alpha in [0.0, 0.125, 0.25, 0.5, 0.75, 0.875, 1.0] {
            let shares = [1.0 - alpha, alpha];
            assert_eq!(relative_cost_of_shares(&shares, 2), relative_cost(alpha));
        }
    }

    fn total(cost: &Cost) -> f64 {
        cost.macs.total() as f64
    }

    #[test]
    fn layers_cost_what_the_formula_says_where_channels_and_sizes_divide() {
        for shares in [
            &[0.5, 0.5][..],
            &[0.5, 0.25, 0.25],
            &[0.25, 0.0, 0.75],
            &[1.0],
        ] {
            let ratios = |cost: Cost, vanilla: Cost| {
                assert_eq!(cost.params, vanilla.params);
                (
                    total(&cost) / total(&vanilla),
                    cost.activations as f64 / vanilla.activations as f64,
                )
            };
            let line = |shares: &[f64]| {
                let config = OctConv1dConfig::new([8, 16], [5]).with_shares(shares);
                config.cost([32]).unwrap()
            };
            let plane = |shares: &[f64]| {
                let config = MultiOctConv2dConfig::new([8, 16], [3, 3]).with_shares(shares);
                config.cost([16, 32]).unwrap()
            };
            let volume = |shares: &[f64], axes: [bool; 3]| {
                let config = OctConv3dConfig::new([8, 16], [3; 3]).with_shares(shares);
                config.with_octave_axes(axes).cost([8, 16, 4]).unwrap()
            };
            let video = |shares: &[f64]| volume(shares, [false, true, true]);
            let volume = |shares: &[f64]| volume(shares, [true; 3]);
            for (actual, axes) in [
                (ratios(line(shares), line(&[1.0])), 1),
                (ratios(plane(shares), plane(&[1.0])), 2),
                (ratios(video(shares), video(&[1.0])), 2),
                (ratios(volume(shares), volume(&[1.0])), 3),
            ] {
                assert_eq!(actual, relative_cost_of_shares(shares, axes), "{shares:?}");
            }
        }
    }

    #[test]
    fn two_groups_cost_what_the_layer_of_two_frequencies_does() {
        for stride in [1, 2] {
            let two = OctConv2dConfig::new([12, 10], [3, 5]).with_stride([stride; 2]);
            let any = MultiOctConv2dConfig::new([12, 10], [3, 5]).with_stride([stride; 2]);
            let two = two.with_alpha_in(0.25).with_alpha_out(0.3).cost([7, 9]);
            let any = any.with_alpha_in(0.25).with_alpha_out(0.3).cost([7, 9]);
            assert_eq!(two, any);
        }
    }

    /// Forward from 5×7 to 3×4, and back.
    #[test]
    fn a_transposed_layer_costs_what_its_convolution_does() {
        let there = MultiOctConv2dConfig::new([12, 10], [3, 3])
            .with_stride([2, 2])
            .with_alpha_in(0.25)
            .with_bias(false);
        let back = OctConvTranspose2dConfig::new([10, 12], [3, 3])
            .with_stride([2, 2])
            .with_alpha_out(0.25)
            .with_bias(false);
        let (there, back) = (there.cost([6, 8]).unwrap(), back.cost([3, 4]).unwrap());
        assert_eq!(there.params, back.params);
        assert_eq!(there.macs.total(), back.macs.total());
        assert_eq!(
            (there.macs.h2l, there.macs.l2h),
            (back.macs.l2h, back.macs.h2l)
        );
        assert_eq!(there.working_set, back.working_set);
    }

    #[test]
    fn neighbours_alone_have_fewer_parameters() {
        let all = MultiOctConv2dConfig::new([8, 8], [1, 1])
            .with_shares([0.5, 0.25, 0.25])
            .with_bias(false);
        let near = all.clone().with_reach(Reach::Neighbours);
        assert_eq!(all.cost([8, 8]).unwrap().params, 64);
        assert_eq!(near.cost([8, 8]).unwrap().params, 64 - 2 * 4 * 2);
    }
}
