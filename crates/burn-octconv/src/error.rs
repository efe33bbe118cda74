use alloc::{string::String, vec::Vec};

use thiserror::Error;

/// Why the engine cannot compute with an instruction set.
#[cfg(feature = "flex")]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InstructionSetError {
    /// This processor does not have it.
    #[error("the instruction set '{name}' is not there: this processor has {}", available.join(", "))]
    Missing {
        /// The name given.
        name: String,
        /// What there is, fastest first.
        available: Vec<&'static str>,
    },
    /// The engine has computed with another one already.
    #[error(
        "the engine computes with {other} already: choose '{name}' before anything is computed"
    )]
    InUse {
        /// The name given.
        name: String,
        /// What is in use.
        other: &'static str,
    },
}

/// Why a configuration cannot be built into a layer.
///
/// Every message names the offending value and what to use instead.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum OctConvError {
    /// A ratio outside `[0, 1]`, or not a number.
    #[error("{name} is {value}: the share of low-frequency channels must lie in [0, 1]")]
    Alpha {
        /// Which ratio: `alpha_in` or `alpha_out`.
        name: &'static str,
        /// The value given.
        value: f64,
    },
    /// A size that must be at least one is zero.
    #[error("{name} is {value}: it must be at least 1")]
    Zero {
        /// What is zero.
        name: &'static str,
        /// The value given, as it was written.
        value: String,
    },
    /// A size with which the layer's numbers of weights or pixels do not fit the address space.
    #[error("{name} is {value}: too large, no memory holds such a layer or its padded input")]
    TooLarge {
        /// What is too large.
        name: &'static str,
        /// The value given, as it was written.
        value: String,
    },
    /// An initialisation that cannot draw values.
    #[error("initializer is {initializer}: {reason}")]
    Initializer {
        /// The initialisation given.
        initializer: String,
        /// What it needs.
        reason: &'static str,
    },
    /// A stride other than `[1, 1]` or `[2, 2]`.
    #[error(
        "stride is {stride:?}: an octave convolution has stride [1, 1] or [2, 2], the same on both axes"
    )]
    Stride {
        /// The stride given, `[height, width]`.
        stride: [usize; 2],
    },
    /// Padding that would shift or resize the two resolutions against each other.
    #[error(
        "padding (top, bottom), (left, right) = {padding:?} does not keep the two resolutions aligned \
         for kernel {kernel_size:?} and dilation {dilation:?}: use PaddingConfig2d::Same, that is {same:?}"
    )]
    Padding {
        /// The padding given.
        padding: [(usize, usize); 2],
        /// The padding that is needed.
        same: [(usize, usize); 2],
        /// Kernel size, `[height, width]`.
        kernel_size: [usize; 2],
        /// Dilation, `[height, width]`.
        dilation: [usize; 2],
    },
    /// Groups that do not divide the channels of every frequency group.
    #[error(
        "groups = {groups} must divide the channels of every frequency group, which are \
         high in {high_in}, low in {low_in}, high out {high_out}, low out {low_out}: \
         change groups, the channels, or alpha"
    )]
    Groups {
        /// The number of groups given.
        groups: usize,
        /// High-frequency input channels.
        high_in: usize,
        /// Low-frequency input channels.
        low_in: usize,
        /// High-frequency output channels.
        high_out: usize,
        /// Low-frequency output channels.
        low_out: usize,
    },
    /// Groups of a group norm that do not divide the channels of both frequencies.
    #[error(
        "a group norm with {groups} groups must divide the {high} high-frequency and the {low} \
         low-frequency channels: change num_groups, num_features, or alpha"
    )]
    NormGroups {
        /// The number of groups given.
        groups: usize,
        /// High-frequency channels.
        high: usize,
        /// Low-frequency channels.
        low: usize,
    },
    /// A depthwise convolution whose input and output are split differently.
    #[error(
        "a depthwise convolution (groups = channels = {channels}) cannot move channels between \
         frequencies: alpha_in = {alpha_in} must equal alpha_out = {alpha_out}"
    )]
    Depthwise {
        /// The number of channels.
        channels: usize,
        /// Share of low-frequency input channels.
        alpha_in: f64,
        /// Share of low-frequency output channels.
        alpha_out: f64,
    },
    /// An output group that no path reaches, because the exchange that fed it is switched off.
    #[error(
        "the {group}-frequency output has no input: alpha_in = {alpha_in}, alpha_out = {alpha_out} \
         need the {path} path, which is switched off"
    )]
    Unreachable {
        /// `high` or `low`.
        group: &'static str,
        /// The name of the missing path.
        path: &'static str,
        /// Share of low-frequency input channels.
        alpha_in: f64,
        /// Share of low-frequency output channels.
        alpha_out: f64,
    },
    /// Shares that do not split the channels.
    #[error(transparent)]
    Shares(#[from] crate::SharesError),
    /// A stride other than 1 and 2 along an axis.
    #[error("stride is {stride:?}: an octave convolution has stride 1 or 2 along each of its axes")]
    AxisStride {
        /// The stride given, per axis.
        stride: Vec<usize>,
    },
    /// No axis that lower frequencies halve.
    #[error(
        "octave_axes are {octave_axes:?}: at least one axis must have less resolution in lower \
         frequencies; for a plain convolution use shares of [1]"
    )]
    NoOctaveAxis {
        /// The axes given.
        octave_axes: Vec<bool>,
    },
    /// Groups that do not divide the channels of every frequency group.
    #[error(
        "groups = {groups} must divide the channels of every frequency group, which are {input:?} \
         in and {output:?} out: change groups, the channels, or the shares"
    )]
    GroupChannels {
        /// The number of groups given.
        groups: usize,
        /// Input channels of each frequency.
        input: Vec<usize>,
        /// Output channels of each frequency.
        output: Vec<usize>,
    },
    /// A depthwise convolution whose input and output are split differently.
    #[error(
        "a depthwise convolution (groups = channels) cannot move channels between frequencies: its \
         input is split in {input:?}, its output in {output:?}; give both the same shares"
    )]
    DepthwiseShares {
        /// Input channels of each frequency.
        input: Vec<usize>,
        /// Output channels of each frequency.
        output: Vec<usize>,
    },
    /// An output group that no path reaches.
    #[error(
        "no path reaches group {level} of the output: with {input:?} channels in and {output:?} out \
         it needs an exchange that is switched off, or shares that reach further"
    )]
    Unreached {
        /// The group, counted from the full resolution.
        level: usize,
        /// Input channels of each frequency.
        input: Vec<usize>,
        /// Output channels of each frequency.
        output: Vec<usize>,
    },
    /// Padding that would shift or resize the resolutions against each other.
    #[error(
        "padding {padding} does not keep the resolutions aligned for kernel {kernel_size:?} and \
         dilation {dilation:?}: leave it as it is by default, that is (begin, end) = {same}"
    )]
    Misaligned {
        /// The padding given.
        padding: String,
        /// The padding that is needed, `(begin, end)` per axis.
        same: String,
        /// Kernel size, per axis.
        kernel_size: Vec<usize>,
        /// Dilation, per axis.
        dilation: Vec<usize>,
    },
    /// Groups of a group norm that do not divide the channels of every frequency.
    #[error(
        "a group norm with {groups} groups must divide the channels of every frequency, which are \
         {channels:?}: change num_groups, num_features, or the shares"
    )]
    NormGroupChannels {
        /// The number of groups given.
        groups: usize,
        /// Channels of each frequency.
        channels: Vec<usize>,
    },
    /// A vanilla layer with a stride that differs between its axes or a kernel that does not fit the
    /// layer.
    #[error("a vanilla kernel of {kernel:?} does not fit a layer that needs {expected:?}")]
    Kernel {
        /// The shape of the kernel given.
        kernel: Vec<usize>,
        /// The shape that the layer's kernels have together.
        expected: Vec<usize>,
    },
}

/// Why two tensors do not form one multi-frequency feature map, or do not fit a layer.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// Neither group is there.
    #[error("a feature map needs a high-frequency group, a low-frequency group, or both")]
    Empty,
    /// The low group is not one octave below the full resolution.
    #[error(
        "a low-frequency group for a full resolution of {size:?} has shape \
         [{batch}, channels, {}, {}], not {low:?}", size[0].div_ceil(2), size[1].div_ceil(2)
    )]
    Resolution {
        /// Full resolution, `[height, width]`.
        size: [usize; 2],
        /// Batch size of the high group (or of the low one if it is alone).
        batch: usize,
        /// Shape of the low group.
        low: [usize; 4],
    },
    /// The groups do not have the channels that a layer expects.
    #[error(
        "expected {expected_high} high-frequency and {expected_low} low-frequency channels, \
         got {high} and {low}: the previous layer's alpha_out must equal this layer's alpha_in"
    )]
    Channels {
        /// High-frequency channels the layer expects.
        expected_high: usize,
        /// Low-frequency channels the layer expects.
        expected_low: usize,
        /// High-frequency channels of the input.
        high: usize,
        /// Low-frequency channels of the input.
        low: usize,
    },
    /// A map that is smaller than the kernel that is to slide over it.
    #[error(
        "the {path} path reads a map of {map:?}, which with padding (top, bottom), (left, right) = \
         {padding:?} is smaller than the extent {extent:?} of the dilated kernel"
    )]
    TooSmall {
        /// The name of the path.
        path: &'static str,
        /// Size of the map, `[height, width]`.
        map: [usize; 2],
        /// Padding of the layer.
        padding: [(usize, usize); 2],
        /// `dilation · (kernel_size − 1) + 1`, `[height, width]`.
        extent: [usize; 2],
    },
    /// Two feature maps of different layout were combined.
    #[error("feature maps differ: {left} and {right}")]
    Mismatch {
        /// Layout of the first, as [`OctFeatures::describe`](crate::OctFeatures::describe) puts it.
        left: String,
        /// Layout of the second.
        right: String,
    },
}
