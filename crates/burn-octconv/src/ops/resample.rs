//! Moving a map one octave down or up.

use alloc::vec;

use burn::tensor::{
    Tensor,
    module::{avg_pool2d, interpolate, max_pool2d},
    ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions},
};

/// The size one octave below `size`: `⌈size / 2⌉` per axis.
pub(crate) fn half(size: [usize; 2]) -> [usize; 2] {
    octave_plan::half_size(size, [true; 2])
}

/// 2×2 average pooling with stride 2. Windows at the border average only the pixels that exist.
///
/// # Shapes
///
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, ⌈height / 2⌉, ⌈width / 2⌉]`
pub fn avg_pool(x: Tensor<4>) -> Tensor<4> {
    let options = AvgPoolOptions::new([2, 2])
        .with_count_include_pad(false)
        .with_ceil_mode(true);
    avg_pool2d(x, options)
}

/// 2×2 max pooling with stride 2, over the pixels that exist.
///
/// # Shapes
///
/// As [`avg_pool`].
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([2, 2]).with_ceil_mode(true))
}

/// Repeats every pixel in a 2×2 block and crops to `size = [height, width]`.
///
/// # Shapes
///
/// - input: `[batch, channels, ⌈height / 2⌉, ⌈width / 2⌉]`
/// - output: `[batch, channels, height, width]`
pub fn upsample_nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    #[cfg(feature = "capture")]
    if super::capture::records(&x.device()) {
        return super::capture::upsample_nearest(x, size);
    }
    let [_, _, height, width] = x.dims();
    // Doubling and cropping, not interpolating to `size`: the factor of exactly one half keeps
    // the index arithmetic of every backend free of rounding.
    let options = InterpolateOptions::new(InterpolateMode::Nearest)
        .with_align_corners(false)
        .with_output_size([2 * height, 2 * width]);
    crop(interpolate(x, options), size)
}

/// Doubles the resolution by linear interpolation between pixel centres (`align_corners = false`,
/// edges repeated) and crops to `size = [height, width]`.
///
/// # Shapes
///
/// As [`upsample_nearest`].
pub fn upsample_bilinear(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    crop(double_linear(double_linear(x, 2), 3), size)
}

/// Linear interpolation to twice the length along `dim`. Output 2i lies a quarter of a pixel
/// before input i, output 2i + 1 a quarter behind it. Written with slices, since Burn has no
/// backward for bilinear interpolation.
pub(crate) fn double_linear(x: Tensor<4>, dim: usize) -> Tensor<4> {
    let dims: [usize; 4] = x.dims();
    let last = dims[dim] - 1;
    let slice = |start: usize, length: usize| x.clone().narrow(dim, start, length);
    let (before, behind) = if last == 0 {
        (x.clone(), x.clone())
    } else {
        (
            Tensor::cat(vec![slice(0, 1), slice(0, last)], dim),
            Tensor::cat(vec![slice(1, last), slice(last, 1)], dim),
        )
    };
    let x = x * 0.75;
    let pair: [Tensor<5>; 2] =
        [before, behind].map(|y| (x.clone() + y * 0.25).unsqueeze_dim(dim + 1));
    let mut doubled = dims;
    doubled[dim] *= 2;
    Tensor::cat(pair.into(), dim + 1).reshape(doubled)
}

fn crop(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    let x = if h == height {
        x
    } else {
        x.narrow(2, 0, height)
    };
    if w == width { x } else { x.narrow(3, 0, width) }
}
