use alloc::vec::Vec;
use core::ops::{Deref, Range};

use crate::{Downsample, Exchange, Layer, Padding, half_size, same_padding, size::conv_size};

/// One convolution of an octave layer, from one frequency group to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The group that it reads.
    pub from: usize,
    /// The group that it is added to.
    pub to: usize,
    /// How often the input is average-pooled by 2 along [`Plan::stride_axes_of`] it, to take the
    /// layer's stride.
    pub pool: usize,
    /// How often it is then brought down by 2 along the octave axes, as the layer's
    /// [`Downsample`] says.
    pub down: usize,
    /// Stride of the convolution along [`Plan::stride_axes_of`] the path.
    pub stride: usize,
    /// Factor on that stride along the octave axes: more than 1 for [`Downsample::Strided`].
    pub octave_stride: usize,
    /// How often the result is upsampled by 2 along [`Plan::up_axes`] of the path.
    pub up: usize,
    /// Output channels that it computes, within each group of the vanilla kernel.
    pub rows: Range<usize>,
    /// Input channels that it reads, within each group of the vanilla kernel.
    pub columns: Range<usize>,
}

/// A layer and its paths, ordered by output group and then by input group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<const D: usize> {
    /// The hyper-parameters.
    pub layer: Layer<D>,
    /// The paths that exist.
    pub paths: Vec<Path>,
}

impl<const D: usize> Deref for Plan<D> {
    type Target = Layer<D>;

    fn deref(&self) -> &Layer<D> {
        &self.layer
    }
}

impl<const D: usize> Plan<D> {
    /// The paths of a layer.
    pub fn new(layer: Layer<D>, exchange: Exchange) -> Self {
        let depthwise = layer.is_depthwise();
        let mut paths = Vec::new();
        for to in 0..layer.output.len() {
            for from in 0..layer.input.len() {
                let wanted = match to {
                    _ if to == from => true,
                    _ if depthwise => false,
                    _ if to > from => exchange.has_h2l(),
                    _ => exchange.has_l2h(),
                };
                if wanted && layer.input[from] > 0 && layer.output[to] > 0 {
                    paths.push(path(&layer, from, to));
                }
            }
        }
        Self { layer, paths }
    }

    /// The same plan without the paths between groups that are more than one octave apart.
    pub fn between_neighbours(mut self) -> Self {
        self.paths.retain(|path| path.from.abs_diff(path.to) <= 1);
        self
    }

    /// The path from one group to another, if it exists.
    pub fn path(&self, from: usize, to: usize) -> Option<&Path> {
        self.paths
            .iter()
            .find(|path| (path.from, path.to) == (from, to))
    }

    /// The paths that are added to a group.
    pub fn into_group(&self, to: usize) -> impl Iterator<Item = &Path> {
        self.paths.iter().filter(move |path| path.to == to)
    }

    /// The size of group `level` where the full resolution is `size`.
    pub fn level_size(&self, size: [usize; D], level: usize) -> [usize; D] {
        (0..level).fold(size, |size, _| half_size(size, self.octave_axes))
    }

    /// The axes along which a path takes the layer's stride itself. One that goes up has a
    /// resolution more along the octave axes than the strided output asks for.
    pub fn stride_axes_of(&self, path: &Path) -> [bool; D] {
        own_stride_axes(&self.layer, path.from, path.to)
    }

    /// How often a path's result is upsampled by 2, per axis.
    fn ups(&self, path: &Path) -> [usize; D] {
        let octaves = path.from.saturating_sub(path.to);
        core::array::from_fn(|a| match self.octave_axes[a] {
            true => octaves.saturating_sub(usize::from(self.strides()[a] == 2)),
            false => 0,
        })
    }

    /// The axes that step `step` of a path's upsampling doubles, counted from 0: all octave axes,
    /// unless the stride spared some of them a step.
    pub fn up_axes(&self, path: &Path, step: usize) -> [bool; D] {
        self.ups(path).map(|ups| step < ups)
    }

    /// The size of a path's result after `steps` steps of upsampling, where the full resolution of
    /// the output is `output`.
    pub fn up_size(&self, path: &Path, output: [usize; D], steps: usize) -> [usize; D] {
        let ups = self.ups(path);
        core::array::from_fn(|a| self.level_size(output, path.to + ups[a].saturating_sub(steps))[a])
    }

    /// The size of the map that a path's convolution reads, pooled, where the full resolution of
    /// the input is `size`.
    pub fn read_size(&self, path: &Path, size: [usize; D]) -> [usize; D] {
        let pooled = (0..path.pool).fold(self.level_size(size, path.from), |size, _| {
            half_size(size, self.stride_axes_of(path))
        });
        (0..path.down).fold(pooled, |size, _| half_size(size, self.octave_axes))
    }

    /// Stride of a path's convolution per axis.
    pub fn stride_of(&self, path: &Path) -> [usize; D] {
        let own = self.stride_axes_of(path);
        core::array::from_fn(|a| {
            let stride = if own[a] { path.stride } else { 1 };
            match self.octave_axes[a] {
                true => stride * path.octave_stride,
                false => stride,
            }
        })
    }

    /// Zero padding `(begin, end)` of a path's convolution per axis.
    pub fn padding_of(&self, path: &Path, size: [usize; D]) -> [(usize, usize); D] {
        let (extent, stride) = (self.extent(), self.stride_of(path));
        let size = self.read_size(path, size);
        match self.padding {
            Padding::Same => core::array::from_fn(|a| same_padding(extent[a], stride[a], size[a])),
            Padding::Explicit(padding) => padding,
        }
    }

    /// The size of what a path's convolution gives, before it is upsampled; 0 along an axis where
    /// the kernel does not fit.
    pub fn conv_size(&self, path: &Path, size: [usize; D]) -> [usize; D] {
        let (extent, stride) = (self.extent(), self.stride_of(path));
        let (read, padding) = (self.read_size(path, size), self.padding_of(path, size));
        core::array::from_fn(|a| conv_size(read[a], extent[a], padding[a], stride[a]))
    }

    /// The full resolution of the output where that of the input is `size`: `⌈size / stride⌉`,
    /// except where a single path has a padding that does not keep sizes.
    pub fn output_size(&self, size: [usize; D]) -> [usize; D] {
        let strides = self.strides();
        let aligned = core::array::from_fn(|a| size[a].div_ceil(strides[a]));
        let [path] = &self.paths[..] else {
            return aligned;
        };
        let conv = self.conv_size(path, size);
        if self.up_size(path, aligned, 0) == conv {
            return aligned;
        }
        let ups = self.ups(path);
        core::array::from_fn(|a| match self.octave_axes[a] {
            true => conv[a] << (path.to + ups[a]),
            false => conv[a],
        })
    }

    /// Weights of a path, `[rows, columns]` of kernels in all its groups: a grouped path has
    /// `rows · columns` of them, each of as many elements as the kernel.
    pub fn weight_dims(&self, path: &Path) -> [usize; 2] {
        let rows = self.output[path.to];
        match self.is_depthwise() {
            true => [rows, 1],
            false => [rows, self.input[path.from] / self.groups],
        }
    }

    /// Number of weights of a path: its multiply–adds per output pixel.
    pub fn weights(&self, path: &Path) -> u64 {
        let dims = self.weight_dims(path).into_iter().chain(self.kernel_size);
        dims.map(|d| d as u64).product()
    }

    /// Multiply–adds of a path per image, for an input of full resolution `size`.
    pub fn macs(&self, path: &Path, size: [usize; D]) -> u64 {
        let pixels: u64 = self
            .conv_size(path, size)
            .iter()
            .map(|&s| s as u64)
            .product();
        pixels * self.weights(path)
    }
}

/// The axes along which a path takes the layer's stride itself.
fn own_stride_axes<const D: usize>(layer: &Layer<D>, from: usize, to: usize) -> [bool; D] {
    core::array::from_fn(|a| layer.stride_axes[a] && !(to < from && layer.octave_axes[a]))
}

/// Going from group `from` to group `to` means going down `to − from` octaves, and one more where
/// stride 2 is taken by pooling; what is negative goes up.
fn path<const D: usize>(layer: &Layer<D>, from: usize, to: usize) -> Path {
    let (pools, strides) = (layer.pools(), layer.stride == 2);
    let takes_stride = own_stride_axes(layer, from, to).contains(&true);
    let down = to.saturating_sub(from);
    let strided_down = layer.downsample == Downsample::Strided;
    // A path that goes up already has one resolution more than the strided output asks for, unless
    // the stride leaves out an octave axis.
    let mut octave_axes = (0..D).filter(|&a| layer.octave_axes[a]);
    let spared = strides && octave_axes.all(|a| layer.stride_axes[a]);
    let up = (from.saturating_sub(to)).saturating_sub(usize::from(spared));
    let strides_itself = strides && layer.strided && takes_stride;
    let depthwise = layer.is_depthwise();
    let groups = if depthwise { 1 } else { layer.groups };
    let span = |channels: &[usize], level: usize| {
        let before: usize = channels[..level].iter().sum();
        before / groups..(before + channels[level]) / groups
    };
    Path {
        from,
        to,
        pool: usize::from(pools && takes_stride),
        down: if strided_down { 0 } else { down },
        stride: if strides_itself { 2 } else { 1 },
        octave_stride: if strided_down { 1 << down } else { 1 },
        up,
        rows: span(&layer.output, to),
        columns: match depthwise {
            true => 0..1,
            false => span(&layer.input, from),
        },
    }
}

#[cfg(test)]
mod tests;
