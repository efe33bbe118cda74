//! Pooling of maps.

use burn::tensor::Tensor;
use octave_plan::half_size;

use super::{OctMaps, join};
use crate::nd::resample;

impl<const D: usize, const R: usize> OctMaps<D, R> {
    /// Applies a pooling by 2 along `axes` to every group.
    fn pool(self, axes: [bool; D], pool: impl Fn(Tensor<R>, [bool; D]) -> Tensor<R>) -> Self {
        let groups = self.groups.into_iter();
        Self {
            groups: groups.map(|x| x.map(|x| pool(x, axes))).collect(),
            size: half_size(self.size, axes),
            ..self
        }
    }

    /// Average pooling by 2 along `axes` of every group; windows at the border average only the
    /// pixels that exist.
    ///
    /// # Shapes
    ///
    /// - the full resolution becomes `⌈size / 2⌉` along `axes`
    pub fn avg_pool2(self, axes: [bool; D]) -> Self {
        self.pool(axes, resample::avg_pool)
    }

    /// Max pooling by 2 along `axes` of every group, over the pixels that exist.
    ///
    /// # Shapes
    ///
    /// As [`OctMaps::avg_pool2`].
    pub fn max_pool2(self, axes: [bool; D]) -> Self {
        self.pool(axes, resample::max_pool)
    }

    /// Global average pooling: the mean of every channel, in the order of the groups.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, channels]`
    pub fn global_avg_pool(self) -> Tensor<2> {
        self.global(|x| x.mean_dim(2))
    }

    /// Global max pooling: the largest value of every channel, in the order of the groups.
    ///
    /// # Shapes
    ///
    /// As [`OctMaps::global_avg_pool`].
    pub fn global_max_pool(self) -> Tensor<2> {
        self.global(|x| x.max_dim(2))
    }

    fn global(self, f: impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<2> {
        let groups = self.groups.into_iter().flatten().map(|x| {
            let dims = x.dims();
            let pixels = dims[2..].iter().product();
            f(x.reshape([dims[0], dims[1], pixels])).reshape([dims[0], dims[1]])
        });
        join(groups.collect()).expect("a feature map has at least one group")
    }
}
