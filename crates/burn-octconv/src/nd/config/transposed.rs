//! The configurations of the transposed layers.

use alloc::vec::Vec;

use burn::{config::Config, nn::Initializer, tensor::Device};
use octave_plan::{Downsample, Exchange, Padding, Plan, Upsample, same_padding};

use crate::{
    Cost, OctConvError, OctConvTranspose1d, OctConvTranspose2d, OctConvTranspose3d, Reach, Scale,
    nd::{cost, spec::Spec, transpose},
};

macro_rules! transposed {
    (
        $(#[$doc:meta])*
        $config:ident, $layer:ident, $d:literal, $ones:literal, $zeros:literal,
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
            /// The padding as Burn's transposed layers have it. By default that with which the output
            /// has `size · stride` pixels, whatever the kernel; any other would misalign the
            /// resolutions and is refused, unless only one path exists, at full resolution.
            pub padding: Option<[usize; $d]>,
            /// What is added to the output at the end of each axis, where `padding` is given.
            #[config(default = $zeros)]
            pub padding_out: [usize; $d],
            /// If a bias should be added to the output: one per output channel.
            #[config(default = true)]
            pub bias: bool,
            /// The initialisation, with the fan of the whole vanilla layer.
            #[config(
                default = "Initializer::KaimingUniform { gain: 0.577_350_269_189_625_8, fan_out_only: false }"
            )]
            pub initializer: Initializer,
            /// Shares of the input channels of each frequency, from the full resolution down; `[1]`
            /// for a plain tensor. Their sum is 1; [`split_channels`](crate::split_channels) says how
            /// they are rounded.
            #[config(default = "[0.5, 0.5].into()")]
            pub shares_in: Vec<f64>,
            /// Shares of the output channels.
            #[config(default = "[0.5, 0.5].into()")]
            pub shares_out: Vec<f64>,
            /// Which axes have less resolution in lower frequencies.
            $(#[$axes_doc])*
            #[config(default = $axes)]
            pub octave_axes: [bool; $d],
            /// With stride 2, whether the transposed convolutions themselves are strided. By default
            /// (`false`) they have stride 1, and every pixel of their results is spread over the
            /// window that the convolution would have averaged.
            #[config(default = false)]
            pub strided: bool,
            /// Whether paths to lower (H→L) and to higher (L→H) frequencies exist.
            #[config(default = "Exchange::Both")]
            pub exchange: Exchange,
            /// How far apart the frequencies are that exchange information.
            #[config(default = "Reach::All")]
            pub reach: Reach,
            /// How much a pixel weighs that moves to another frequency. The exact adjoint by default;
            /// `Scale::Mean` is easier to train.
            #[config(default = "Scale::Adjoint")]
            pub scale: Scale,
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
                let layer = $layer::from_plan(plan, self.bias, &self.initializer, device);
                Ok($layer {
                    scale: self.scale,
                    ..layer
                })
            }

            /// The paths of the convolution whose adjoint the layer is: from the output of this layer
            /// to its input.
            ///
            /// # Errors
            ///
            /// The first [`OctConvError`] found in the configuration.
            pub fn plan(&self) -> Result<Plan<$d>, OctConvError> {
                transposed_plan(self.spec(), self.padding, self.padding_out)
            }

            /// Parameters, multiply–adds and activations for an input of full resolution `size`.
            ///
            /// # Errors
            ///
            /// The first [`OctConvError`] found in the configuration.
            pub fn cost(&self, size: [usize; $d]) -> Result<Cost, OctConvError> {
                let plan = self.plan()?;
                let bias = if self.bias { self.channels[1] } else { 0 };
                let output = transpose::output_size(&plan, size);
                Ok(cost::transposed(&plan, bias, output))
            }

            /// That of the convolution.
            fn spec(&self) -> Spec<'_, $d> {
                let [input, output] = self.channels;
                Spec {
                    channels: [output, input],
                    kernel_size: self.kernel_size,
                    stride: self.stride,
                    dilation: self.dilation,
                    groups: self.groups,
                    padding: Padding::Same,
                    bias: self.bias,
                    initializer: &self.initializer,
                    shares_in: &self.shares_out,
                    shares_out: &self.shares_in,
                    octave_axes: self.octave_axes,
                    strided: self.strided,
                    downsample: Downsample::Average,
                    upsample: Upsample::Nearest,
                    exchange: match self.exchange {
                        Exchange::HighToLow => Exchange::LowToHigh,
                        Exchange::LowToHigh => Exchange::HighToLow,
                        both_ways => both_ways,
                    },
                    reach: self.reach,
                    transposed: true,
                }
            }
        }
    };
}

/// The plan of the convolution, with the padding of the transposed layer.
fn transposed_plan<const D: usize>(
    mut spec: Spec<'_, D>,
    padding: Option<[usize; D]>,
    padding_out: [usize; D],
) -> Result<Plan<D>, OctConvError> {
    let plan = spec.plan()?;
    let Some(padding) = padding else {
        return Ok(plan);
    };
    let strides = match plan.strided {
        true => plan.strides(),
        false => [1; D],
    };
    let extent = plan.extent();
    // The size does not matter, if the stride divides it.
    let same = core::array::from_fn(|a| same_padding(extent[a], strides[a], 64 * strides[a]));
    let keeps = |a: usize| {
        padding[a] == same[a].0 && extent[a] + padding_out[a] == strides[a] + 2 * padding[a]
    };
    if (0..D).all(keeps) {
        return Ok(plan);
    }
    let ends = (0..D).map(|a| padding[a].checked_sub(padding_out[a]));
    let ends: Option<Vec<usize>> = ends.collect();
    match ends {
        Some(ends) if matches!(&plan.paths[..], [path] if (path.from, path.to) == (0, 0)) => {
            spec.padding = Padding::Explicit(core::array::from_fn(|a| (padding[a], ends[a])));
            spec.plan()
        }
        _ => Err(spec.misaligned((padding, padding_out), same)),
    }
}

transposed!(
    /// Configuration of an [`OctConvTranspose1d`], in the manner of Burn's
    /// [`ConvTranspose1dConfig`](burn::nn::conv::ConvTranspose1dConfig).
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::{OctConvTranspose1dConfig, OctMaps};
    ///
    /// let device = Device::default();
    /// let up = OctConvTranspose1dConfig::new([8, 4], [4]).with_stride([2]).init(&device);
    /// let x = OctMaps::split(Tensor::<3>::zeros([1, 8, 15], &device), &[0.5, 0.5], [true])?;
    /// assert_eq!(up.forward(x.clone()).describe(), "[1, 2, 30] + [1, 2, 15]");
    /// assert_eq!(up.forward_to(x, [29]).describe(), "[1, 2, 29] + [1, 2, 15]");
    /// # Ok::<(), burn_octconv::MapsError>(())
    /// ```
    OctConvTranspose1dConfig, OctConvTranspose1d, 1, "[1]", "[0]",
    "[true]"
);

transposed!(
    /// Configuration of an [`OctConvTranspose2d`], in the manner of Burn's
    /// [`ConvTranspose2dConfig`](burn::nn::conv::ConvTranspose2dConfig).
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_octconv::{OctConvTranspose2dConfig, OctFeatures};
    ///
    /// let device = Device::default();
    /// let up = OctConvTranspose2dConfig::new([16, 8], [3, 3]).with_stride([2, 2]).init(&device);
    /// let x = OctFeatures::split(Tensor::zeros([1, 16, 7, 9], &device), 0.5);
    /// assert_eq!(up.forward(x).describe(), "[1, 4, 14, 18] + [1, 4, 7, 9]");
    /// ```
    OctConvTranspose2dConfig, OctConvTranspose2d, 2, "[1, 1]", "[0, 0]",
    "[true, true]"
);

transposed!(
    /// Configuration of an [`OctConvTranspose3d`], in the manner of Burn's
    /// [`ConvTranspose3dConfig`](burn::nn::conv::ConvTranspose3dConfig).
    OctConvTranspose3dConfig, OctConvTranspose3d, 3, "[1, 1, 1]", "[0, 0, 0]",
    /// Height and width by default, so that a video keeps its frames; all three for a volume.
    "[false, true, true]"
);
