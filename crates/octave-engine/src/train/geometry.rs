//! The geometry of a layer, checked once.

use std::ops::Range;

use octave_plan::{Padding, Path, Plan, Refusal};

use super::operands::LEVELS;
use crate::BLOCK;
use crate::conv::Kernel;

/// A layer that the kernels compute, forward and backward, for inputs of one
/// size: what [`OctConv::new`] lets through.
#[derive(Clone, Debug, PartialEq)]
pub struct OctConv {
    plan: Plan<2>,
    images: usize,
    size: [usize; 2],
    padding: [usize; 2],
}

impl OctConv {
    /// A layer for `images` images of full resolution `size`.
    ///
    /// # Errors
    ///
    /// Why the kernels cannot compute it. Callers compose the layer from other
    /// operations instead.
    pub fn new(plan: Plan<2>, images: usize, size: [usize; 2]) -> Result<Self, Refusal> {
        check_factors(&plan, size)?;
        let padding = plan.fused_padding()?;
        if plan.input.len().max(plan.output.len()) > LEVELS {
            return Err(Refusal::Frequencies);
        }
        let reach = plan.extent().map(|extent| extent - 1);
        let strides = plan.strided && plan.stride == 2;
        for axis in [0, 1] {
            if padding[axis] > reach[axis] {
                let padding = plan.padding_at_stride_1();
                return Err(Refusal::Padding { padding });
            }
            if strides && (plan.dilation[axis] > 1 || 2 * padding[axis] > reach[axis]) {
                return Err(Refusal::StridedPadding);
            }
        }
        let empty = |path: &Path| plan.conv_size(path, size).contains(&0);
        if images == 0 || plan.paths.is_empty() || plan.paths.iter().any(empty) {
            return Err(Refusal::Empty);
        }
        let conv = Self {
            plan,
            images,
            size,
            padding,
        };
        if conv.fits() {
            Ok(conv)
        } else {
            Err(Refusal::TooLarge)
        }
    }

    /// What the layer computes.
    pub fn plan(&self) -> &Plan<2> {
        &self.plan
    }

    /// Images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Channels, height and width of the input at a level.
    pub fn input(&self, level: usize) -> [usize; 3] {
        let [h, w] = self.plan.level_size(self.size, level);
        [channels(&self.plan.input, level), h, w]
    }

    /// Channels, height and width of the output at a level.
    pub fn output(&self, level: usize) -> [usize; 3] {
        let [h, w] = self
            .plan
            .level_size(self.plan.output_size(self.size), level);
        [channels(&self.plan.output, level), h, w]
    }

    /// The same layer with only those outputs that are `wanted`, and the
    /// places of its paths among those of this one.
    pub(super) fn only(&self, wanted: [bool; LEVELS]) -> (Self, Vec<usize>) {
        let mut conv = self.clone();
        for (channels, wanted) in conv.plan.layer.output.iter_mut().zip(wanted) {
            *channels = if wanted { *channels } else { 0 };
        }
        conv.plan.paths.retain(|path| wanted[path.to]);
        let kept = (0..self.plan.paths.len()).filter(|&i| wanted[self.plan.paths[i].to]);
        (conv, kept.collect())
    }

    /// The paths that read a level, or that are added to one, with their
    /// numbers.
    pub(super) fn paths(&self, of: impl Fn(&Path) -> bool) -> Vec<(usize, &Path)> {
        let paths = self.plan.paths.iter().enumerate();
        paths.filter(|(_, path)| of(path)).collect()
    }

    pub(super) fn padding(&self) -> [usize; 2] {
        self.padding
    }

    /// Stride of the convolution of a path.
    pub(super) fn stride(&self) -> usize {
        self.plan.paths[0].stride
    }

    /// Padding of the transposed convolution.
    pub(super) fn back_padding(&self) -> [usize; 2] {
        let extent = self.plan.extent();
        [0, 1].map(|a| extent[a] - 1 - self.padding[a])
    }

    /// Border that the maps need, for the convolution and for its transpose.
    pub(super) fn border(&self) -> usize {
        let back = self.back_padding();
        self.padding.into_iter().chain(back).max().unwrap_or(0)
    }

    pub(super) fn kernel<'a>(
        &self,
        weight: &'a [f32],
        c_in: usize,
        transposed: bool,
    ) -> Kernel<'a> {
        Kernel {
            weight,
            c_in,
            size: self.plan.kernel_size,
            dilation: self.plan.dilation,
            groups: self.plan.groups,
            transposed,
        }
    }

    /// Floats of an image of the inputs.
    pub(super) fn input_floats(&self) -> usize {
        floats(|level| self.input(level))
    }

    /// Floats of an image of the outputs.
    pub(super) fn output_floats(&self) -> usize {
        floats(|level| self.output(level))
    }

    /// The ranges of images to work on at a time: as many as keep the blocked
    /// maps, of `floats` per image, in a cache that the cores share.
    pub(super) fn batches(&self, floats: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        const BUDGET: usize = 2 << 20;
        let images = self.images;
        let at_once = (BUDGET / floats.max(1)).clamp(1, images);
        let starts = (0..images).step_by(at_once);
        starts.map(move |first| first..(first + at_once).min(images))
    }

    /// Whether all maps, with their borders, and all kernels can be addressed.
    fn fits(&self) -> bool {
        let fits = |factors: [usize; 4]| {
            let product = factors.into_iter().try_fold(1usize, usize::checked_mul);
            product.is_some_and(|product| product <= LIMIT)
        };
        // The padding is at most as wide as the kernel.
        let border = 2 * self.plan.extent().into_iter().max().unwrap_or(0);
        let map = |[c, h, w]: [usize; 3]| {
            [
                self.images,
                c.next_multiple_of(2 * BLOCK),
                h.saturating_add(border),
                w.saturating_add(border),
            ]
        };
        let [kh, kw] = self.plan.kernel_size;
        let kernel = |path: &Path| {
            let [rows, columns] = [self.plan.output[path.to], self.plan.input[path.from]];
            let padded = |channels: usize| channels.next_multiple_of(2 * BLOCK);
            [padded(rows), padded(columns), kh, kw]
        };
        (0..LEVELS).all(|level| fits(map(self.input(level))) && fits(map(self.output(level))))
            && self.plan.paths.iter().all(|path| fits(kernel(path)))
    }
}

/// The most floats that are addressed.
const LIMIT: usize = isize::MAX as usize / size_of::<f32>() / 2;

/// Refuses what sums and products of the plan would overflow on, and groups that do not divide the
/// channels.
fn check_factors(plan: &Plan<2>, size: [usize; 2]) -> Result<(), Refusal> {
    // The square of a factor fits.
    const FACTOR: usize = 1 << (usize::BITS / 2 - 2);
    let padding = match plan.layer.padding {
        Padding::Same => [(0, 0); 2],
        Padding::Explicit(padding) => padding,
    };
    let padding = padding.into_iter().flat_map(|(begin, end)| [begin, end]);
    let channels = plan.input.iter().chain(&plan.output);
    let positive = plan
        .kernel_size
        .into_iter()
        .chain(plan.dilation)
        .chain(size);
    if positive.clone().any(|factor| factor == 0) {
        return Err(Refusal::Empty);
    }
    if positive
        .chain(padding)
        .chain(channels.clone().copied())
        .any(|factor| factor > FACTOR)
    {
        return Err(Refusal::TooLarge);
    }
    let divides = match plan.is_depthwise() {
        true => plan.input == plan.output,
        false => plan.groups > 0 && channels.clone().all(|c| c.is_multiple_of(plan.groups)),
    };
    if divides { Ok(()) } else { Err(Refusal::Shape) }
}

fn channels(of: &[usize], level: usize) -> usize {
    of.get(level).copied().unwrap_or(0)
}

fn floats(dims: impl Fn(usize) -> [usize; 3]) -> usize {
    let one = |level| dims(level).into_iter().product::<usize>();
    (0..LEVELS).map(one).sum()
}

#[cfg(test)]
mod tests;
