use burn::tensor::{Tensor, activation, module::adaptive_avg_pool2d};

use crate::{OctFeatures, features::half, ops::resample};

impl OctFeatures {
    /// Rectified linear unit on both groups.
    pub fn relu(self) -> Self {
        self.map(activation::relu)
    }

    /// 2×2 average pooling with stride 2 of both groups; border windows average only the pixels
    /// that exist.
    ///
    /// # Shapes
    ///
    /// - full resolution `[height, width]` becomes `[⌈height / 2⌉, ⌈width / 2⌉]`
    pub fn avg_pool2(self) -> Self {
        self.pool(resample::avg_pool)
    }

    /// 2×2 max pooling with stride 2 of both groups.
    ///
    /// # Shapes
    ///
    /// As [`OctFeatures::avg_pool2`].
    pub fn max_pool2(self) -> Self {
        self.pool(resample::max_pool)
    }

    /// Global average pooling: the mean of every channel, high channels first.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels_high + channels_low]`
    pub fn global_avg_pool(self) -> Tensor<2> {
        let mean = |x: Tensor<4>| -> Tensor<2> { adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3) };
        match self.into_parts() {
            (Some(high), Some(low)) => Tensor::cat([mean(high), mean(low)].into(), 1),
            (high, low) => mean(high.or(low).expect("a feature map has at least one group")),
        }
    }

    fn pool(self, pool: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        let size = half(self.size());
        let (high, low) = self.into_parts();
        Self::try_new(high.map(&pool), low.map(&pool), size).unwrap_or_else(|e| panic!("{e}"))
    }
}
