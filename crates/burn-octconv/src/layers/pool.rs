#[cfg(feature = "flex")]
use burn::nn::PaddingConfig2d;
use burn::{
    module::Module,
    nn::pool::{AvgPool2d, MaxPool2d},
    tensor::{Tensor, module::adaptive_avg_pool2d},
};

use crate::{
    OctFeatures,
    ops::resample::{self, half},
};

impl OctFeatures {
    /// 2×2 average pooling with stride 2 of both groups; border windows average only the pixels
    /// that exist.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / 2⌉, ⌈width / 2⌉]`
    pub fn avg_pool2(self) -> Self {
        #[cfg(feature = "flex")]
        if self.is_blocked() {
            let size = half(self.size());
            return Self::from_blocked(self.blocked().avg_pool2(), size);
        }
        self.pool([2, 2], resample::avg_pool)
    }

    /// 2×2 max pooling with stride 2 of both groups, over the pixels that exist.
    ///
    /// # Shapes
    ///
    /// As [`OctFeatures::avg_pool2`].
    pub fn max_pool2(self) -> Self {
        self.pool([2, 2], resample::max_pool)
    }

    /// Global average pooling: the mean of every channel, high channels first.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels_high + channels_low]`
    pub fn global_avg_pool(self) -> Tensor<2> {
        #[cfg(feature = "flex")]
        let plain = match self.into_blocked() {
            Ok(map) => return map.global_average(),
            Err(plain) => plain,
        };
        #[cfg(not(feature = "flex"))]
        let plain = self;
        plain.global(|x| adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
    }

    /// Global max pooling: the largest value of every channel, high channels first.
    ///
    /// # Shapes
    ///
    /// As [`OctFeatures::global_avg_pool`].
    pub fn global_max_pool(self) -> Tensor<2> {
        self.global(|x| {
            let [batch, channels, ..] = x.dims();
            x.flatten::<3>(2, 3).max_dim(2).reshape([batch, channels])
        })
    }

    /// Burn's max pooling of each group.
    pub(crate) fn max_pool(self, pool: &MaxPool2d) -> Self {
        #[cfg(feature = "flex")]
        if self.is_blocked() && is_3x3(pool) {
            let size = half(self.size());
            return Self::from_blocked(self.blocked().max_pool3(), size);
        }
        self.pool(pool.stride, |x| pool.forward(x))
    }

    fn global(self, f: impl Fn(Tensor<4>) -> Tensor<2>) -> Tensor<2> {
        match self.into_parts() {
            (Some(high), Some(low)) => Tensor::cat([f(high), f(low)].into(), 1),
            (high, low) => f(high.or(low).expect("a feature map has at least one group")),
        }
    }

    /// Pools both groups. A map with a high group takes its new size from that.
    fn pool(self, stride: [usize; 2], pool: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        let size = self.size();
        let size = [0, 1].map(|axis| size[axis].div_ceil(stride[axis]));
        let (high, low) = self.into_parts();
        Self::try_new(high.map(&pool), low.map(&pool), size).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Average pooling of both groups by Burn's [`AvgPool2d`].
#[derive(Module, Debug)]
pub struct OctAvgPool2d {
    /// The pooling, the same for both groups.
    pub pool: AvgPool2d,
}

/// Max pooling of both groups by Burn's [`MaxPool2d`].
///
/// ```
/// use burn::{nn::{PaddingConfig2d, pool::MaxPool2dConfig}, tensor::{Device, Tensor}};
/// use burn_octconv::{OctFeatures, OctMaxPool2d};
///
/// let pool = MaxPool2dConfig::new([3, 3])
///     .with_strides([2, 2])
///     .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
/// let pool = OctMaxPool2d::from(pool.init());
/// let x = OctFeatures::split(Tensor::ones([1, 8, 14, 14], &Device::default()), 0.5);
/// assert_eq!(pool.forward(x).describe(), "high [1, 4, 7, 7] + low [1, 4, 4, 4]");
/// ```
#[derive(Module, Debug)]
pub struct OctMaxPool2d {
    /// The pooling, the same for both groups.
    pub pool: MaxPool2d,
}

impl From<AvgPool2d> for OctAvgPool2d {
    fn from(pool: AvgPool2d) -> Self {
        Self { pool }
    }
}

impl From<MaxPool2d> for OctMaxPool2d {
    fn from(pool: MaxPool2d) -> Self {
        Self { pool }
    }
}

/// Whether a pooling is 3×3 with stride 2 and padding 1.
#[cfg(feature = "flex")]
fn is_3x3(pool: &MaxPool2d) -> bool {
    matches!(pool.padding, PaddingConfig2d::Explicit(1, 1, 1, 1))
        && (pool.kernel_size, pool.stride, pool.dilation) == ([3; 2], [2; 2], [1; 2])
        && !pool.ceil_mode
}

/// Whether a pooling of maps of full resolution `size` is that of the octave convolution: 2×2 with
/// stride 2, where windows at odd borders average what exists.
#[cfg(feature = "flex")]
fn is_2x2(pool: &AvgPool2d, size: [usize; 2]) -> bool {
    let covers = pool.ceil_mode || size.iter().all(|s| s.is_multiple_of(4));
    (pool.kernel_size, pool.stride) == ([2; 2], [2; 2])
        && matches!(
            pool.padding,
            PaddingConfig2d::Valid | PaddingConfig2d::Explicit(0, 0, 0, 0)
        )
        && covers
        && (!pool.count_include_pad || !pool.ceil_mode)
}

impl OctAvgPool2d {
    /// Pools both groups.
    ///
    /// # Panics
    ///
    /// If kernel, stride and padding do not keep the low group one octave below the high one;
    /// padding of half the (odd) kernel always does.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        #[cfg(feature = "flex")]
        if input.is_blocked() && is_2x2(&self.pool, input.size()) {
            return input.avg_pool2();
        }
        input.pool(self.pool.stride, |x| self.pool.forward(x))
    }
}

impl OctMaxPool2d {
    /// Pools both groups.
    ///
    /// # Panics
    ///
    /// If kernel, stride and padding do not keep the low group one octave below the high one;
    /// padding of half the (odd) kernel always does.
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        input.max_pool(&self.pool)
    }
}

/// Adaptive average pooling to a fixed full resolution; the low group goes to half of it.
#[derive(Module, Debug)]
pub struct OctAdaptiveAvgPool2d {
    /// Full resolution of the output, `[height, width]`.
    pub output_size: [usize; 2],
}

impl OctAdaptiveAvgPool2d {
    /// A layer that pools to a full resolution of `output_size = [height, width]`.
    pub fn new(output_size: [usize; 2]) -> Self {
        Self { output_size }
    }

    /// Pools both groups.
    ///
    /// # Shapes
    ///
    /// - output: high `[batch, channels_high, height, width]`, low one octave below
    pub fn forward(&self, input: OctFeatures) -> OctFeatures {
        let (high, low) = input.into_parts();
        let high = high.map(|x| adaptive_avg_pool2d(x, self.output_size));
        let low = low.map(|x| adaptive_avg_pool2d(x, half(self.output_size)));
        OctFeatures::try_new(high, low, self.output_size).unwrap_or_else(|e| panic!("{e}"))
    }
}
