use core::{
    iter::Sum,
    ops::{Add, AddAssign},
};

use crate::{OctConv2dConfig, OctConvError};

/// Multiply–adds of the four paths of an octave convolution, per image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathMacs {
    /// H→H.
    pub h2h: u64,
    /// H→L.
    pub h2l: u64,
    /// L→H, computed at low resolution unless the layer has stride 2.
    pub l2h: u64,
    /// L→L.
    pub l2l: u64,
}

impl PathMacs {
    /// All four together.
    pub fn total(&self) -> u64 {
        self.h2h + self.h2l + self.l2h + self.l2l
    }
}

impl Add for PathMacs {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            h2h: self.h2h + other.h2h,
            h2l: self.h2l + other.h2l,
            l2h: self.l2h + other.l2h,
            l2l: self.l2l + other.l2l,
        }
    }
}

/// What a layer or a network costs, per image. Costs add up: those of a network are the sum of
/// those of its layers.
///
/// ```
/// use burn_octconv::{Cost, OctConv2dConfig};
///
/// let layer = |alpha| OctConv2dConfig::new([256, 256], [3, 3]).with_bias(false).with_alpha(alpha);
/// let network: Cost = [layer(0.5), layer(0.5)]
///     .iter()
///     .map(|layer| layer.cost([28, 28]))
///     .sum::<Result<_, _>>()?;
/// let vanilla = layer(0.0).cost([28, 28])?;
/// // 43.75 % of the multiply–adds, 62.5 % of the memory, the same parameters.
/// assert_eq!(network.macs.total() as f64 / (2 * vanilla.macs.total()) as f64, 0.4375);
/// assert_eq!(network.activations as f64 / (2 * vanilla.activations) as f64, 0.625);
/// assert_eq!(network.params, 2 * vanilla.params);
/// # Ok::<(), burn_octconv::OctConvError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Parameters; running statistics are not counted.
    pub params: u64,
    /// Multiply–adds of convolutions and linear layers, by path. Those of a plain layer count as
    /// H→H.
    pub macs: PathMacs,
    /// Elements of the output, both groups together: what training has to keep for the backward
    /// pass. Times the size of an element these are bytes.
    pub activations: u64,
    /// Elements of input and output of the largest layer: what inference has to hold at once.
    pub working_set: u64,
}

impl Cost {
    /// The cost of a layer on plain full-resolution tensors, of `input` and `output` elements.
    pub fn plain(params: u64, macs: u64, input: u64, output: u64) -> Self {
        Self {
            params,
            macs: PathMacs {
                h2h: macs,
                ..PathMacs::default()
            },
            activations: output,
            working_set: input + output,
        }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            params: self.params + other.params,
            macs: self.macs + other.macs,
            activations: self.activations + other.activations,
            working_set: self.working_set.max(other.working_set),
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// The paper's theoretical cost of an octave convolution with the same `alpha` on both sides and
/// stride 1, relative to the vanilla convolution: `(multiply–adds, activation memory)`.
///
/// `1 − ¾ · alpha · (2 − alpha)` and `1 − ¾ · alpha`. The paper's table 1 prints these rounded to
/// whole percents; its 35 % of memory at α = 0.875 is 34.375 %, which it rounds up.
///
/// Source: Chen et al., section 3.2 and table 1, <https://arxiv.org/abs/1904.05049>.
pub fn relative_cost(alpha: f64) -> (f64, f64) {
    (1.0 - 0.75 * alpha * (2.0 - alpha), 1.0 - 0.75 * alpha)
}

impl OctConv2dConfig {
    /// Parameters, multiply–adds and activations for an input of full resolution
    /// `size = [height, width]`, with size-keeping padding.
    ///
    /// # Errors
    ///
    /// The first [`OctConvError`] found in the configuration.
    pub fn cost(&self, size: [usize; 2]) -> Result<Cost, OctConvError> {
        let plan = self.plan()?;
        let output_size = self.output_size(size);
        let elements = |channels: &[usize], size: [usize; 2]| -> u64 {
            let groups = channels.iter().enumerate();
            groups
                .map(|(level, &c)| {
                    let [height, width] = plan.level_size(size, level);
                    c as u64 * height as u64 * width as u64
                })
                .sum()
        };
        let output = elements(&plan.output, output_size);
        let weights: u64 = plan.paths.iter().map(|path| plan.weights(path)).sum();
        let bias = if self.bias { self.channels[1] } else { 0 };
        let macs = |from, to| {
            plan.path(from, to).map_or(0, |path| {
                let [height, width] = plan.level_size(output_size, to + path.up);
                height as u64 * width as u64 * plan.weights(path)
            })
        };
        Ok(Cost {
            params: weights + bias as u64,
            macs: PathMacs {
                h2h: macs(0, 0),
                h2l: macs(0, 1),
                l2h: macs(1, 0),
                l2l: macs(1, 1),
            },
            activations: output,
            working_set: elements(&plan.input, size) + output,
        })
    }

    /// Full resolution of the output for an input of full resolution `size`, with size-keeping
    /// padding.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| size[axis].div_ceil(self.stride[axis]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 1 of the paper, in percent: α, FLOPs, memory.
    const PAPER: [(f64, u64, u64); 7] = [
        (0.0, 100, 100),
        (0.125, 82, 91),
        (0.25, 67, 81),
        (0.5, 44, 63),
        (0.75, 30, 44),
        (0.875, 26, 35),
        (1.0, 25, 25),
    ];

    #[test]
    fn the_formula_gives_the_table_of_the_paper() {
        for (alpha, flops, memory) in PAPER {
            let (macs, activations) = relative_cost(alpha);
            assert_eq!((100.0 * macs).round() as u64, flops, "FLOPs at {alpha}");
            // The paper rounds 34.375 up.
            let rounded = if alpha == 0.875 {
                (100.0 * activations).ceil()
            } else {
                (100.0 * activations).round()
            };
            assert_eq!(rounded as u64, memory, "memory at {alpha}");
        }
    }

    #[test]
    fn layers_cost_what_the_formula_says_where_channels_and_sizes_divide() {
        let layer = |alpha: f64| {
            let config = OctConv2dConfig::new([64, 64], [3, 3]).with_alpha(alpha);
            config.cost([16, 16]).unwrap()
        };
        let vanilla = layer(0.0);
        for (alpha, ..) in PAPER {
            let cost = layer(alpha);
            let (macs, activations) = relative_cost(alpha);
            let ratio = |a: u64, b: u64| a as f64 / b as f64;
            assert_eq!(ratio(cost.macs.total(), vanilla.macs.total()), macs);
            assert_eq!(ratio(cost.activations, vanilla.activations), activations);
            assert_eq!(cost.params, vanilla.params);
        }
    }

    /// By hand: 4 + 2 channels in, 3 + 1 out, on 5×7 with low 3×4, 1×1 kernels.
    #[test]
    fn counts_by_hand() {
        let config = OctConv2dConfig::new([6, 4], [1, 1])
            .with_alpha_in(0.4)
            .with_alpha_out(0.3);
        let cost = config.cost([5, 7]).unwrap();
        let macs = PathMacs {
            h2h: 35 * 12,
            h2l: 12 * 4,
            l2h: 12 * 6,
            l2l: 12 * 2,
        };
        assert_eq!(cost.macs, macs);
        assert_eq!(cost.params, 24 + 4);
        assert_eq!(cost.activations, 3 * 35 + 12);
        assert_eq!(cost.working_set, 4 * 35 + 2 * 12 + 3 * 35 + 12);

        // Stride 2: high 3×4, low 2×2, and L→H at the full output resolution.
        let cost = config.with_stride([2, 2]).cost([5, 7]).unwrap();
        let macs = PathMacs {
            h2h: 12 * 12,
            h2l: 4 * 4,
            l2h: 12 * 6,
            l2l: 4 * 2,
        };
        assert_eq!(cost.macs, macs);
    }

    #[test]
    fn sums_add_up_but_for_the_largest_layer() {
        let part = |n: u64| Cost {
            params: n,
            macs: PathMacs {
                h2h: 2 * n,
                h2l: 3 * n,
                l2h: 5 * n,
                l2l: 7 * n,
            },
            activations: 11 * n,
            working_set: 13 * n,
        };
        let sum = Cost {
            working_set: 13 * 100,
            ..part(111)
        };
        assert_eq!([1, 100, 10].map(part).into_iter().sum::<Cost>(), sum);
        assert_eq!(Cost::plain(1, 2, 30, 4).working_set, 34);
    }

    #[test]
    fn groups_divide_the_weights() {
        let config = OctConv2dConfig::new([8, 12], [3, 3]).with_groups(2);
        let cost = config.cost([4, 4]).unwrap();
        assert_eq!(cost.params, 4 * 12 * 9 + 12);
        assert_eq!(cost.macs.h2h, 16 * 2 * 6 * 9);
    }

    #[test]
    fn depthwise_layers_have_one_filter_per_channel() {
        let config = OctConv2dConfig::new([8, 8], [3, 3]).with_groups(8);
        let cost = config.with_bias(false).cost([4, 4]).unwrap();
        assert_eq!(cost.params, 8 * 9);
        let macs = PathMacs {
            h2h: 16 * 4 * 9,
            l2l: 4 * 4 * 9,
            ..PathMacs::default()
        };
        assert_eq!(cost.macs, macs);
    }
}
