use std::ops::Range;

/// Levels of resolution that a layer may have: 1, ½, ¼ and ⅛.
pub const LEVELS: usize = 4;

/// Resolutions in which a map is read: pooled down all levels, and once for a stride.
pub(super) const HALVINGS: usize = LEVELS + 1;

/// What a layer is computed from: contiguous NCHW tensors, kernels `[c_out, c_in / groups, kh, kw]`
/// and biases.
#[derive(Clone, Default)]
pub struct Operands<'a> {
    /// The inputs by level.
    pub inputs: [Option<&'a [f32]>; LEVELS],
    /// The kernels, in the order of the plan's paths.
    pub kernels: Vec<&'a [f32]>,
    /// The biases by level of the output.
    pub biases: [Option<&'a [f32]>; LEVELS],
}

impl<'a> Operands<'a> {
    pub(super) fn input(&self, level: usize) -> &'a [f32] {
        self.inputs[level].unwrap_or_else(|| panic!("no input of level {level}"))
    }
}

/// Where gradients go, shaped like what they are gradients of; `None` where
/// one is not wanted.
#[derive(Default)]
pub struct Gradients<'a> {
    /// Of the inputs by level.
    pub inputs: [Option<&'a mut [f32]>; LEVELS],
    /// Of the kernels, in the order of the plan's paths.
    pub kernels: Vec<Option<&'a mut [f32]>>,
    /// Of the biases by level of the output.
    pub biases: [Option<&'a mut [f32]>; LEVELS],
}

/// The images `range` of a tensor of `images` images.
pub(super) fn images_of<T>(x: &[T], images: usize, range: &Range<usize>) -> Range<usize> {
    let one = x.len() / images;
    range.start * one..range.end * one
}
