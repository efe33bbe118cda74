//! Moving a map one octave down or up along some of its axes, and the adjoints of that.
//!
//! Burn pools and interpolates maps over two axes. One axis is a plane of one row; three are two
//! steps, over height and width and over the frames, since windows and blocks are products.

use alloc::{boxed::Box, vec::Vec};
use core::any::Any;

use burn::tensor::{
    Tensor, TensorData,
    module::{avg_pool2d, interpolate, max_pool2d},
    ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions, PadMode},
};

use crate::ops::resample;

/// Applies `step` to planes `[batch, …, rows, columns]` of `x`, with the axes of a plane that are
/// meant and the axes of the map that the plane has, until all of `axes` were meant.
fn by_planes<const D: usize, const R: usize>(
    mut x: Tensor<R>,
    axes: [bool; D],
    step: impl Fn(Tensor<4>, [bool; 2], [usize; 2]) -> Tensor<4>,
) -> Tensor<R> {
    // The last two axes together, and the others one by one.
    let pairs = [(D.max(2) - 2, D >= 2), (0, false)];
    for (first, paired) in pairs.into_iter().take(if D == 3 { 2 } else { 1 }) {
        let meant = [axes[first], paired && axes[D - 1]];
        if !meant.contains(&true) {
            continue;
        }
        let mut dims = x.dims();
        if D == 1 {
            // A row, not a column: its pixels lie side by side.
            let y = step(
                x.reshape([dims[0], dims[1], 1, dims[2]]),
                [false, true],
                [0, 0],
            );
            dims[2] = y.dims()[3];
            return reshape(y, dims);
        }
        let product = |dims: &[usize]| dims.iter().product::<usize>();
        let plane = [
            dims[0],
            product(&dims[1..2 + first]),
            dims[2 + first],
            product(&dims[3 + first..]),
        ];
        let y = step(reshape(x, plane), meant, [first, D - 1]);
        let [.., rows, columns] = y.dims();
        dims[2 + first] = rows;
        if paired {
            dims[R - 1] = columns;
        }
        x = reshape(y, dims);
    }
    x
}

/// Average pooling by 2 along `axes`. Windows at the border average only the pixels that exist.
pub(super) fn avg_pool<const D: usize, const R: usize>(x: Tensor<R>, axes: [bool; D]) -> Tensor<R> {
    by_planes(x, axes, |x, meant, _| {
        let options = AvgPoolOptions::new(meant.map(|m| 1 + usize::from(m)))
            .with_count_include_pad(false)
            .with_ceil_mode(true);
        avg_pool2d(x, options)
    })
}

/// Max pooling by 2 along `axes`, over the pixels that exist.
pub(super) fn max_pool<const D: usize, const R: usize>(x: Tensor<R>, axes: [bool; D]) -> Tensor<R> {
    by_planes(x, axes, |x, meant, _| {
        let options = MaxPoolOptions::new(meant.map(|m| 1 + usize::from(m))).with_ceil_mode(true);
        max_pool2d(x, options)
    })
}

/// Repeats every pixel along `axes` and crops to `size`.
pub(super) fn upsample_nearest<const D: usize, const R: usize>(
    x: Tensor<R>,
    axes: [bool; D],
    size: [usize; D],
) -> Tensor<R> {
    by_planes(x, axes, |x, meant, [first, last]| match meant {
        [true, true] => resample::upsample_nearest(x, [size[first], size[last]]),
        [rows, _] => {
            let [_, _, height, width] = x.dims();
            let output = if rows {
                [size[first], width]
            } else {
                [height, size[last]]
            };
            // Of an odd size n, pixel i reads ⌊i·(n + 1) / 2n⌋ = ⌊i / 2⌋.
            let options = InterpolateOptions::new(InterpolateMode::Nearest)
                .with_align_corners(false)
                .with_output_size(output);
            interpolate(x, options)
        }
    })
}

/// Doubles the resolution along `axes` by linear interpolation between pixel centres and crops to
/// `size`.
pub(super) fn upsample_linear<const D: usize, const R: usize>(
    x: Tensor<R>,
    axes: [bool; D],
    size: [usize; D],
) -> Tensor<R> {
    by_planes(x, axes, |x, meant, [first, last]| {
        let ends = [(2, meant[0], size[first]), (3, meant[1], size[last])];
        let meant = ends.into_iter().filter(|&(_, meant, _)| meant);
        let doubled = meant
            .clone()
            .fold(x, |x, (dim, ..)| resample::double_linear(x, dim));
        meant.fold(doubled, |x, (dim, _, size)| narrow(x, dim, 0, size))
    })
}

/// Sums of blocks of 2 along `axes`: the adjoint of [`upsample_nearest`].
pub(super) fn block_sum<const D: usize, const R: usize>(
    x: Tensor<R>,
    axes: [bool; D],
) -> Tensor<R> {
    by_planes(x, axes, |x, meant, _| {
        let [_, _, rows, columns] = x.dims();
        let odd = |size: usize, meant: bool| (0, usize::from(meant && size % 2 == 1));
        let padding = [odd(rows, meant[0]), odd(columns, meant[1])];
        let x = match padding {
            [(0, 0), (0, 0)] => x,
            padding => x.pad(padding, PadMode::Constant(0.0)),
        };
        let kernel = meant.map(|m| 1 + usize::from(m));
        avg_pool2d(x, AvgPoolOptions::new(kernel)) * (kernel[0] * kernel[1]) as f64
    })
}

/// Spreads every pixel over the window of size 2 along `axes` that was averaged, of a map of
/// `size`: the adjoint of [`avg_pool`].
pub(super) fn unpool<const D: usize, const R: usize>(
    x: Tensor<R>,
    axes: [bool; D],
    size: [usize; D],
) -> Tensor<R> {
    let meant = (0..D).filter(|&a| axes[a]);
    let shares = meant.fold(x, |x, a| {
        let windows = size[a].div_ceil(2);
        // Exact: a window has one pixel or two.
        let share = |i: usize| if 2 * i + 1 < size[a] { 0.5f32 } else { 1.0 };
        let mut dims = [1; R];
        dims[2 + a] = windows;
        let shares: Vec<f32> = (0..windows).map(share).collect();
        let shares = TensorData::new(shares, dims);
        let shares = Tensor::from_data(shares, (&x.device(), x.dtype()));
        x * shares
    });
    upsample_nearest(shares, axes, size)
}

/// The values in another shape; nothing is done for the shape that they have, which an exporter would
/// write down, and could not say of any batch.
pub(super) fn reshape<const A: usize, const B: usize>(x: Tensor<A>, dims: [usize; B]) -> Tensor<B> {
    if x.dims()[..] != dims[..] {
        return x.reshape(dims);
    }
    let same: Box<dyn Any> = Box::new(x);
    let same = same.downcast::<Tensor<B>>();
    *same.expect("tensors of as many axes are of one type")
}

/// A slice along `dim`; nothing is done for the whole.
pub(super) fn narrow<const R: usize>(
    x: Tensor<R>,
    dim: usize,
    start: usize,
    length: usize,
) -> Tensor<R> {
    match start == 0 && x.dims()[dim] == length {
        true => x,
        false => x.narrow(dim, start, length),
    }
}
