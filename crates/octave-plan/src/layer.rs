use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// How a path to a lower frequency goes down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Downsample {
    /// 2×2 average pooling before the convolution: the paper's choice.
    #[default]
    Average,
    /// 2×2 max pooling before the convolution.
    Max,
    /// The convolution itself has stride 2. The paper found that this shifts the two frequencies
    /// against each other (section 3.3).
    Strided,
}

/// How a path to a higher frequency goes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upsample {
    /// Nearest neighbour, after the convolution: the paper's choice.
    #[default]
    Nearest,
    /// Bilinear between pixel centres, after the convolution.
    Bilinear,
}

/// Which paths exchange information between the frequencies; both, unless for an ablation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exchange {
    /// Down and up: H→L and L→H.
    #[default]
    Both,
    /// H→L only.
    HighToLow,
    /// L→H only.
    LowToHigh,
    /// Neither: independent convolutions.
    Neither,
}

impl Exchange {
    /// Whether paths to lower frequencies exist.
    pub fn has_h2l(self) -> bool {
        matches!(self, Self::Both | Self::HighToLow)
    }

    /// Whether paths to higher frequencies exist.
    pub fn has_l2h(self) -> bool {
        matches!(self, Self::Both | Self::LowToHigh)
    }
}

/// Zero padding of the convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding<const D: usize> {
    /// Output `⌈size / stride⌉` per axis; what is odd goes to the end.
    Same,
    /// `(begin, end)` per axis.
    Explicit([(usize, usize); D]),
}

/// The hyper-parameters of a layer over `D` axes, checked elsewhere.
///
/// Groups of channels are ordered by resolution: group `l` has 1/2ˡ of the full one along the
/// octave axes. A group without channels does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer<const D: usize> {
    /// Input channels of each group.
    pub input: Vec<usize>,
    /// Output channels of each group.
    pub output: Vec<usize>,
    /// Kernel elements per axis.
    pub kernel_size: [usize; D],
    /// 1 or 2, along [`stride_axes`](Self::stride_axes).
    pub stride: usize,
    /// Along which axes the stride is taken: all, unless a video keeps its frames.
    pub stride_axes: [bool; D],
    /// Whether stride 2 is taken by the convolutions themselves (`true`) or by average-pooling the
    /// inputs first (`false`, the paper's choice).
    pub strided: bool,
    /// Zero padding of the convolutions.
    pub padding: Padding<D>,
    /// Spacing between kernel elements per axis.
    pub dilation: [usize; D],
    /// Groups of every path's convolution.
    pub groups: usize,
    /// Which axes have less resolution in lower frequencies.
    pub octave_axes: [bool; D],
    /// How paths go down.
    pub downsample: Downsample,
    /// How paths go up.
    pub upsample: Upsample,
}

impl<const D: usize> Layer<D> {
    /// A layer with stride 1, size-keeping padding, one group and the paper's resampling.
    pub fn new(
        input: impl Into<Vec<usize>>,
        output: impl Into<Vec<usize>>,
        kernel_size: [usize; D],
    ) -> Self {
        Self {
            input: input.into(),
            output: output.into(),
            kernel_size,
            stride: 1,
            stride_axes: [true; D],
            strided: false,
            padding: Padding::Same,
            dilation: [1; D],
            groups: 1,
            octave_axes: [true; D],
            downsample: Downsample::Average,
            upsample: Upsample::Nearest,
        }
    }

    /// Whether there is one filter per channel: then no paths exchange.
    pub fn is_depthwise(&self) -> bool {
        let total = |channels: &[usize]| channels.iter().sum::<usize>();
        self.groups > 1 && [total(&self.input), total(&self.output)] == [self.groups; 2]
    }

    /// Whether the inputs are average-pooled before everything else, to take stride 2.
    pub fn pools(&self) -> bool {
        self.stride == 2 && !self.strided
    }

    /// The stride per axis.
    pub fn strides(&self) -> [usize; D] {
        self.stride_axes.map(|a| if a { self.stride } else { 1 })
    }

    /// What the kernel spans per axis: `dilation · (kernel_size − 1) + 1`.
    pub fn extent(&self) -> [usize; D] {
        core::array::from_fn(|a| self.dilation[a] * (self.kernel_size[a] - 1) + 1)
    }

    /// The padding with which a convolution with stride 1 keeps the size.
    pub fn same_at_stride_1(&self) -> [(usize, usize); D] {
        // At stride 1 it does not depend on the size.
        self.extent()
            .map(|extent| crate::same_padding(extent, 1, 1))
    }

    /// The padding of a convolution with stride 1.
    pub fn padding_at_stride_1(&self) -> [(usize, usize); D] {
        match self.padding {
            Padding::Same => self.same_at_stride_1(),
            Padding::Explicit(padding) => padding,
        }
    }

    /// Whether convolutions with stride 1 keep the size.
    pub fn keeps_size(&self) -> bool {
        let padding = self.padding_at_stride_1();
        (0..D).all(|a| padding[a].0 + padding[a].1 + 1 == self.extent()[a])
    }
}
