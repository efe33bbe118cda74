/// The size one octave below `size` along the axes that are halved: `⌈size / 2⌉`.
pub fn half_size<const D: usize>(size: [usize; D], octave_axes: [bool; D]) -> [usize; D] {
    core::array::from_fn(|a| match octave_axes[a] {
        true => size[a].div_ceil(2),
        false => size[a],
    })
}

/// Padding `(begin, end)` with which a convolution's output has `⌈size / stride⌉` elements; an odd
/// remainder goes to the end. `extent` is what the kernel spans, dilation included.
pub fn same_padding(extent: usize, stride: usize, size: usize) -> (usize, usize) {
    let covered = (size.div_ceil(stride).max(1) - 1) * stride + extent;
    let total = covered.saturating_sub(size);
    (total / 2, total - total / 2)
}

/// Output elements of a convolution along an axis; 0 where the kernel does not fit.
pub(crate) fn conv_size(
    size: usize,
    extent: usize,
    (begin, end): (usize, usize),
    stride: usize,
) -> usize {
    match (size + begin + end).checked_sub(extent) {
        Some(room) if size > 0 => room / stride + 1,
        _ => 0,
    }
}
