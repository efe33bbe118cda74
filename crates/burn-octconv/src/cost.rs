use core::{
    iter::Sum,
    ops::{Add, AddAssign},
};

use crate::{OctConv2dConfig, OctConvError, features::half};

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

/// What a layer or a network costs, per image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Parameters; running statistics are not counted.
    pub params: u64,
    /// Multiply–adds of convolutions and linear layers.
    pub macs: u64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            params: self.params + other.params,
            macs: self.macs + other.macs,
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

impl OctConv2dConfig {
    /// Multiply–adds of each path for an input of full resolution `size = [height, width]`, with
    /// size-keeping padding.
    ///
    /// # Errors
    ///
    /// The first [`OctConvError`] found in the configuration.
    pub fn path_macs(&self, size: [usize; 2]) -> Result<PathMacs, OctConvError> {
        let plan = self.plan()?;
        let high_size = self.output_size(size);
        let low_size = half(high_size);
        let per_pixel = |exists: bool, from: usize, to: usize| {
            let from = if self.is_depthwise() {
                1
            } else {
                from / self.groups
            };
            let products = from * to * self.kernel_size.iter().product::<usize>();
            if exists { products as u64 } else { 0 }
        };
        let pixels = |size: [usize; 2]| (size[0] * size[1]) as u64;
        let l2h_size = if self.stride == [1, 1] {
            low_size
        } else {
            high_size
        };
        let (input, output) = (plan.input, plan.output);
        Ok(PathMacs {
            h2h: pixels(high_size) * per_pixel(plan.h2h, input.high, output.high),
            h2l: pixels(low_size) * per_pixel(plan.h2l, input.high, output.low),
            l2h: pixels(l2h_size) * per_pixel(plan.l2h, input.low, output.high),
            l2l: pixels(low_size) * per_pixel(plan.l2l, input.low, output.low),
        })
    }

    /// Parameters and multiply–adds for an input of full resolution `size = [height, width]`.
    ///
    /// # Errors
    ///
    /// The first [`OctConvError`] found in the configuration.
    pub fn cost(&self, size: [usize; 2]) -> Result<Cost, OctConvError> {
        let plan = self.plan()?;
        let kernel: usize = self.kernel_size.iter().product();
        let (input, output) = (plan.input, plan.output);
        let paths = [
            (plan.h2h, input.high, output.high),
            (plan.h2l, input.high, output.low),
            (plan.l2h, input.low, output.high),
            (plan.l2l, input.low, output.low),
        ];
        let weights: usize = paths
            .into_iter()
            .filter(|&(exists, ..)| exists)
            .map(|(_, from, to)| {
                let from = if self.is_depthwise() {
                    1
                } else {
                    from / self.groups
                };
                from * to * kernel
            })
            .sum();
        let bias = if self.bias { output.total() } else { 0 };
        Ok(Cost {
            params: (weights + bias) as u64,
            macs: self.path_macs(size)?.total(),
        })
    }

    /// Full resolution of the output for an input of full resolution `size`, with size-keeping
    /// padding.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|axis| size[axis].div_ceil(self.stride[axis]))
    }
}
