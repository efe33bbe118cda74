//! The configurations of the layers of each rank: the same fields, with sizes of so many axes.

use alloc::vec::Vec;

use burn::{
    config::Config,
    nn::{Initializer, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d},
    tensor::Device,
};
use octave_plan::{Downsample, Exchange, Padding, Plan, Upsample};

use super::{MultiOctConv2d, OctConv1d, OctConv3d, Reach, spec::Spec};
use crate::{Cost, OctConvError};

/// Burn's paddings as `(begin, end)` per axis.
trait IntoPadding<const D: usize> {
    fn padding(&self) -> Padding<D>;
}

impl IntoPadding<1> for PaddingConfig1d {
    fn padding(&self) -> Padding<1> {
        match *self {
            Self::Same => Padding::Same,
            Self::Valid => Padding::Explicit([(0, 0)]),
            Self::Explicit(left, right) => Padding::Explicit([(left, right)]),
        }
    }
}

impl IntoPadding<2> for PaddingConfig2d {
    fn padding(&self) -> Padding<2> {
        match *self {
            Self::Same => Padding::Same,
            Self::Valid => Padding::Explicit([(0, 0); 2]),
            Self::Explicit(top, left, bottom, right) => {
                Padding::Explicit([(top, bottom), (left, right)])
            }
        }
    }
}

impl IntoPadding<3> for PaddingConfig3d {
    fn padding(&self) -> Padding<3> {
        match *self {
            Self::Same => Padding::Same,
            Self::Valid => Padding::Explicit([(0, 0); 3]),
            Self::Explicit(depth, height, width) => {
                Padding::Explicit([depth, height, width].map(|p| (p, p)))
            }
        }
    }
}

/// What all configurations have in common.
macro_rules! shared {
    ($layer:ident, $d:literal) => {
        /// Sets the same shares of channels on both sides, from the full resolution down.
        pub fn with_shares(self, shares: impl Into<Vec<f64>>) -> Self {
            let shares = shares.into();
            self.with_shares_in(shares.clone()).with_shares_out(shares)
        }

        /// Two frequencies with a share `alpha` of low-frequency channels on both sides.
        pub fn with_alpha(self, alpha: f64) -> Self {
            self.with_alpha_in(alpha).with_alpha_out(alpha)
        }

        /// Two frequencies in the input, with a share `alpha` of low-frequency channels; 0 for a
        /// plain tensor.
        pub fn with_alpha_in(self, alpha: f64) -> Self {
            self.with_shares_in([1.0 - alpha, alpha].into())
        }

        /// Two frequencies in the output, with a share `alpha` of low-frequency channels; 0 for a
        /// plain tensor.
        pub fn with_alpha_out(self, alpha: f64) -> Self {
            self.with_shares_out([1.0 - alpha, alpha].into())
        }

        /// Checks the configuration without building the layer.
        ///
        /// # Errors
        ///
        /// The first [`OctConvError`] found.
        pub fn validate(&self) -> Result<(), OctConvError> {
            self.plan().map(drop)
        }

        /// Builds the layer.
        ///
        /// # Panics
        ///
        /// If the configuration is invalid; `try_init` returns the error instead.
        pub fn init(&self, device: &Device) -> $layer {
            self.try_init(device).unwrap_or_else(|e| panic!("{e}"))
        }
    };
}

mod transposed;

pub use transposed::{
    OctConvTranspose1dConfig, OctConvTranspose2dConfig, OctConvTranspose3dConfig,
};

macro_rules! convolution {
    (
        $(#[$doc:meta])*
        $config:ident, $layer:ident, $d:literal, $padding:ty, $same:literal, $ones:literal,
        $(#[$axes_doc:meta])*
        $axes:literal
    ) => {
        $(#[$doc])*
        #[derive(Config, Debug)]
        pub struct $config {
            /// The number of channels of all frequencies together, `[in, out]`.
            pub channels: [usize; 2],
            /// The size of the kernel, per axis.
            pub kernel_size: [usize; $d],
            /// The stride, 1 or 2 per axis.
            #[config(default = $ones)]
            pub stride: [usize; $d],
            /// Spacing between kernel elements, per axis.
            #[config(default = $ones)]
            pub dilation: [usize; $d],
            /// Groups of every path; they must divide the channels of each frequency. With
            /// `groups = in = out` the layer is depthwise and has no exchange paths.
            #[config(default = "1")]
            pub groups: usize,
            /// The padding. Anything but `Same` (or its explicit equal) would misalign the
            /// resolutions and is refused, unless only one path exists.
            #[config(default = $same)]
            pub padding: $padding,
            /// If a bias should be added to the output: one per output channel.
            #[config(default = true)]
            pub bias: bool,
            /// The initialisation, with fan-in and fan-out of the whole vanilla layer.
            #[config(
                default = "Initializer::KaimingUniform { gain: 0.577_350_269_189_625_8, fan_out_only: false }"
            )]
            pub initializer: Initializer,
            /// Shares of the input channels of each frequency, from the full resolution down, such
            /// as `[0.5, 0.25, 0.25]` over the resolutions 1, ½, ¼; `[1]` for a plain tensor. Their
            /// sum is 1; [`split_channels`](crate::split_channels) says how they are rounded.
            #[config(default = "[0.5, 0.5].into()")]
            pub shares_in: Vec<f64>,
            /// Shares of the output channels.
            #[config(default = "[0.5, 0.5].into()")]
            pub shares_out: Vec<f64>,
            /// Which axes have less resolution in lower frequencies.
            $(#[$axes_doc])*
            #[config(default = $axes)]
            pub octave_axes: [bool; $d],
            /// With stride 2, whether the convolutions themselves are strided. By default (`false`)
            /// all inputs are average-pooled and then convolved with stride 1, as the paper does.
            #[config(default = false)]
            pub strided: bool,
            /// How paths to lower frequencies go down.
            #[config(default = "Downsample::Average")]
            pub downsample: Downsample,
            /// How paths to higher frequencies go up.
            #[config(default = "Upsample::Nearest")]
            pub upsample: Upsample,
            /// Whether paths to lower (H→L) and to higher (L→H) frequencies exist.
            #[config(default = "Exchange::Both")]
            pub exchange: Exchange,
            /// How far apart the frequencies are that exchange information.
            #[config(default = "Reach::All")]
            pub reach: Reach,
        }

        impl $config {
            shared!($layer, $d);

            /// Builds the layer.
            ///
            /// # Errors
            ///
            /// The first [`OctConvError`] found in the configuration.
            pub fn try_init(&self, device: &Device) -> Result<$layer, OctConvError> {
                let plan = self.plan()?;
                Ok($layer::from_plan(plan, self.bias, &self.initializer, device))
            }

            /// The paths of the layer: what everything that computes, counts or shows it reads.
            ///
            /// # Errors
            ///
            /// The first [`OctConvError`] found in the configuration.
            pub fn plan(&self) -> Result<Plan<$d>, OctConvError> {
                self.spec().aligned_plan()
            }

            /// Parameters, multiply–adds and activations for an input of full resolution `size`.
            ///
            /// # Errors
            ///
            /// The first [`OctConvError`] found in the configuration.
            pub fn cost(&self, size: [usize; $d]) -> Result<Cost, OctConvError> {
                let plan = self.plan()?;
                let bias = if self.bias { self.channels[1] } else { 0 };
                Ok(super::cost::convolution(&plan, bias, size))
            }

            fn spec(&self) -> Spec<'_, $d> {
                Spec {
                    channels: self.channels,
                    kernel_size: self.kernel_size,
                    stride: self.stride,
                    dilation: self.dilation,
                    groups: self.groups,
                    padding: self.padding.padding(),
                    bias: self.bias,
                    initializer: &self.initializer,
                    shares_in: &self.shares_in,
                    shares_out: &self.shares_out,
                    octave_axes: self.octave_axes,
                    strided: self.strided,
                    downsample: self.downsample,
                    upsample: self.upsample,
                    exchange: self.exchange,
                    reach: self.reach,
                    transposed: false,
                }
            }
        }
    };
}

convolution!(
    /// Configuration of an [`OctConv1d`], in the manner of Burn's
    /// [`Conv1dConfig`](burn::nn::conv::Conv1dConfig).
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::OctConv1dConfig;
    ///
    /// let device = Device::default();
    /// // A signal comes in and is kept at three sampling rates …
    /// let shares = [0.5, 0.25, 0.25];
    /// let first = OctConv1dConfig::new([1, 16], [9])
    ///     .with_alpha_in(0.0)
    ///     .with_shares_out(shares.into());
    /// let x = first.init(&device).forward(Tensor::<3>::zeros([2, 1, 99], &device));
    /// assert_eq!(x.describe(), "[2, 8, 99] + [2, 4, 50] + [2, 4, 25]");
    /// // … and a plain tensor goes out.
    /// let last = OctConv1dConfig::new([16, 4], [3])
    ///     .with_shares_in(shares.into())
    ///     .with_alpha_out(0.0);
    /// assert_eq!(last.init(&device).forward(x).into_full().dims(), [2, 4, 99]);
    /// ```
    OctConv1dConfig, OctConv1d, 1, PaddingConfig1d, "PaddingConfig1d::Same", "[1]",
    "[true]"
);

convolution!(
    /// Configuration of a [`MultiOctConv2d`]: an [`OctConv2d`](crate::OctConv2d) with any number of
    /// frequencies, or with one axis halved only.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::{MultiOctConv2dConfig, OctMaps};
    ///
    /// let device = Device::default();
    /// // A spectrogram: lower groups have less resolution in frequency, but keep time.
    /// let axes = [true, false];
    /// let layer = MultiOctConv2dConfig::new([16, 32], [3, 3])
    ///     .with_shares([0.5, 0.25, 0.25])
    ///     .with_octave_axes(axes)
    ///     .init(&device);
    /// let x = OctMaps::split(Tensor::zeros([1, 16, 40, 99], &device), &[0.5, 0.25, 0.25], axes)?;
    /// assert_eq!(layer.forward(x).channels(), [16, 8, 8]);
    /// # Ok::<(), burn_octconv::MapsError>(())
    /// ```
    MultiOctConv2dConfig, MultiOctConv2d, 2, PaddingConfig2d, "PaddingConfig2d::Same", "[1, 1]",
    "[true, true]"
);

convolution!(
    /// Configuration of an [`OctConv3d`], in the manner of Burn's
    /// [`Conv3dConfig`](burn::nn::conv::Conv3dConfig).
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::OctConv3dConfig;
    ///
    /// let device = Device::default();
    /// // Eight frames of 24×32 pixels: time is kept.
    /// let video = OctConv3dConfig::new([3, 16], [3, 3, 3]).with_alpha_in(0.0);
    /// let x = video.init(&device).forward(Tensor::<5>::zeros([1, 3, 8, 24, 32], &device));
    /// assert_eq!(x.describe(), "[1, 8, 8, 24, 32] + [1, 8, 8, 12, 16] halving [false, true, true]");
    /// // A volume: all three axes are halved.
    /// let volume = video.with_octave_axes([true; 3]);
    /// let x = volume.init(&device).forward(Tensor::<5>::zeros([1, 3, 8, 24, 32], &device));
    /// assert_eq!(x.describe(), "[1, 8, 8, 24, 32] + [1, 8, 4, 12, 16]");
    /// ```
    OctConv3dConfig, OctConv3d, 3, PaddingConfig3d, "PaddingConfig3d::Same", "[1, 1, 1]",
    /// Height and width by default, so that a video keeps its frames; all three for a volume.
    "[false, true, true]"
);
