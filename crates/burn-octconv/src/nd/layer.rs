use alloc::{format, string::String, vec::Vec};

use burn::{
    module::{Content, DisplaySettings, Module, ModuleDisplay, Param},
    nn::Initializer,
    tensor::{Device, Tensor},
};
use octave_plan::Plan;

#[cfg(feature = "flex")]
use super::engine;
use super::{MapTensor, MapsError, OctMaps, composed, split::trimmed};

/// Octave convolution over `D` axes and any number of frequencies, on tensors of rank `R = D + 2`.
///
/// With groups X_0, X_1, … at resolutions 1, ½, … every group of the output is a sum over the groups
/// of the input:
///
/// ```text
/// Y_j = Σ_{i < j} f(pool^{j−i}(X_i); W_ij) + f(X_j; W_jj) + Σ_{i > j} up^{i−j}(f(X_i; W_ij))
/// ```
///
/// f is a convolution, pool an average pooling by 2 and up nearest-neighbour upsampling by 2, along
/// the octave axes. With stride 2 every group is pooled first along the axes of the stride, and paths
/// that go up need one upsampling less along these. All kernels together are one vanilla kernel cut
/// in pieces, so the parameters do not depend on the shares.
///
/// With two groups over two axes this is [`OctConv2d`](crate::OctConv2d), bit for bit what that
/// composes. On Flex in f32 the engine computes up to four groups where it can see them over two axes;
/// everything else is composed from Burn's operations.
///
/// Source: Chen et al., "Drop an Octave", equation 2 and section 3.3,
/// <https://arxiv.org/abs/1904.05049>, which names any power of two; more than two groups as in
/// Rownicka et al., <https://arxiv.org/abs/1910.14443>.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct OctConvNd<const D: usize, const R: usize> {
    /// The kernel of each path of the plan, `[channels_out_j, channels_in_i / groups, …]`.
    pub kernels: Vec<Param<Tensor<R>>>,
    /// The bias of each output group, `[channels_out_j]`; none where the group does not exist.
    pub biases: Vec<Option<Param<Tensor<1>>>>,
    /// How the layer is computed, path by path.
    #[module(skip)]
    pub plan: Plan<D>,
}

/// Octave convolution over one axis: audio, time series. Built by
/// [`OctConv1dConfig`](crate::OctConv1dConfig).
pub type OctConv1d = OctConvNd<1, 3>;

/// Octave convolution over two axes with any number of frequencies, or one axis halved only. Built by
/// [`MultiOctConv2dConfig`](crate::MultiOctConv2dConfig).
pub type MultiOctConv2d = OctConvNd<2, 4>;

/// Octave convolution over three axes: video, volumes. Built by
/// [`OctConv3dConfig`](crate::OctConv3dConfig).
pub type OctConv3d = OctConvNd<3, 5>;

/// The parameters of a layer whose kernels are those of a plan.
pub(super) struct Parameters<const R: usize> {
    pub kernels: Vec<Param<Tensor<R>>>,
    pub biases: Vec<Option<Param<Tensor<1>>>>,
}

impl<const R: usize> Parameters<R> {
    /// Initialised with the fans of the whole vanilla layer; `biased` are the channels of the groups
    /// that get a bias.
    pub fn new<const D: usize>(
        plan: &Plan<D>,
        biased: &[usize],
        initializer: &Initializer,
        fans: [Option<usize>; 2],
        device: &Device,
    ) -> Self {
        let [fan_in, fan_out] = fans;
        let kernel = |path| {
            let mut shape = [1; R];
            shape[..2].copy_from_slice(&plan.weight_dims(path));
            shape[2..].copy_from_slice(&plan.kernel_size);
            initializer.init_with(shape, fan_in, fan_out, device)
        };
        let bias = |&channels: &usize| {
            (channels > 0).then(|| initializer.init_with([channels], fan_in, fan_out, device))
        };
        Self {
            kernels: plan.paths.iter().map(kernel).collect(),
            biases: biased.iter().map(bias).collect(),
        }
    }
}

/// The values of parameters.
pub(super) fn values<const R: usize>(
    kernels: &[Param<Tensor<R>>],
    biases: &[Option<Param<Tensor<1>>>],
) -> (Vec<Tensor<R>>, Vec<Option<Tensor<1>>>) {
    let bias = |bias: &Option<Param<Tensor<1>>>| bias.as_ref().map(Param::val);
    (
        kernels.iter().map(Param::val).collect(),
        biases.iter().map(bias).collect(),
    )
}

/// Whether a layer whose groups have `expected` channels, at levels halved along the plan's octave
/// axes, can read `input`.
pub(super) fn check_groups<const D: usize, const R: usize>(
    plan: &Plan<D>,
    expected: &[usize],
    input: &OctMaps<D, R>,
) -> Result<(), MapsError> {
    let channels = input.channels();
    if trimmed(expected) != channels {
        return Err(MapsError::Channels {
            expected: expected.into(),
            actual: channels,
        });
    }
    if channels.len() > 1 && plan.octave_axes != input.octave_axes() {
        return Err(MapsError::Axes {
            layer: plan.octave_axes.into(),
            map: input.octave_axes().into(),
        });
    }
    Ok(())
}

/// Whether every path's kernel fits the map that it reads.
pub(super) fn check_size<const D: usize>(
    plan: &Plan<D>,
    size: [usize; D],
) -> Result<(), MapsError> {
    for path in &plan.paths {
        if plan.conv_size(path, size).contains(&0) {
            return Err(MapsError::TooSmall {
                from: path.from,
                to: path.to,
                map: plan.read_size(path, size).into(),
                padding: plan.padding_of(path, size).into(),
                extent: plan.extent().into(),
            });
        }
    }
    Ok(())
}

impl<const D: usize, const R: usize> OctConvNd<D, R> {
    pub(super) fn from_plan(
        plan: Plan<D>,
        bias: bool,
        initializer: &Initializer,
        device: &Device,
    ) -> Self {
        let taps: usize = plan.kernel_size.iter().product();
        let fan = |channels: &[usize]| {
            let total: usize = channels.iter().sum();
            Some(total / plan.groups * taps)
        };
        let fans = [fan(&plan.input), fan(&plan.output)];
        let biased = if bias { &plan.output[..] } else { &[] };
        let Parameters { kernels, biases } =
            Parameters::new(&plan, biased, initializer, fans, device);
        Self {
            kernels,
            biases,
            plan,
        }
    }

    /// Whether the layer is depthwise: one filter per channel, no exchange paths.
    pub fn is_depthwise(&self) -> bool {
        self.plan.is_depthwise()
    }

    /// The device that holds the kernels.
    pub fn device(&self) -> Device {
        self.kernels[0].device()
    }

    /// Whether the layer can be applied to `input`.
    ///
    /// # Errors
    ///
    /// [`MapsError::Channels`] or [`MapsError::Axes`] if `input` does not have the groups that the
    /// layer was built for, [`MapsError::TooSmall`] if a path reads a map smaller than its kernel.
    pub fn check(&self, input: &OctMaps<D, R>) -> Result<(), MapsError> {
        check_groups(&self.plan, &self.plan.input, input)?;
        check_size(&self.plan, input.size())
    }

    /// Applies the convolution. A plain tensor is a feature map of one group.
    ///
    /// # Shapes
    ///
    /// - input: group `i` `[batch, channels_in_i, …]`, of 1/2ⁱ of the full resolution along the octave
    ///   axes
    /// - output: group `j` `[batch, channels_out_j, …]`, of 1/2ʲ of `⌈size / stride⌉`
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for, or a map is smaller
    /// than the kernel; [`check`](Self::check) returns the error instead.
    pub fn forward(&self, input: impl Into<OctMaps<D, R>>) -> OctMaps<D, R>
    where
        Tensor<R>: MapTensor<D>,
    {
        let input = input.into();
        self.check(&input).unwrap_or_else(|e| panic!("{e}"));
        let (kernels, biases) = values(&self.kernels, &self.biases);
        #[cfg(feature = "flex")]
        if let Some(output) = engine::convolve(&self.plan, &input, &kernels, &biases) {
            return output;
        }
        composed::convolve(&self.plan, &input, &kernels, &biases)
    }
}

/// `16 (8 + 4 + 4)`.
fn counts(channels: &[usize]) -> String {
    let words: Vec<String> = channels.iter().map(|count| format!("{count}")).collect();
    format!("{} ({})", channels.iter().sum::<usize>(), words.join(" + "))
}

/// What layers of a plan show of it; `ends` are their input and output channels.
pub(super) fn show<const D: usize>(
    content: Content,
    plan: &Plan<D>,
    ends: [&[usize]; 2],
) -> Content {
    let stride = match (plan.stride, plan.strided) {
        (1, _) => String::from("1"),
        (_, false) => format!("{:?} (pooled)", plan.strides()),
        (_, true) => format!("{:?} (strided)", plan.strides()),
    };
    content
        .add("ch_in", &counts(ends[0]))
        .add("ch_out", &counts(ends[1]))
        .add("kernel_size", &format!("{:?}", plan.kernel_size))
        .add("stride", &stride)
        .add("dilation", &format!("{:?}", plan.dilation))
        .add("groups", &plan.groups)
        .add("octave_axes", &format!("{:?}", plan.octave_axes))
        .add("paths", &plan.paths.len())
}

impl<const D: usize, const R: usize> ModuleDisplay for OctConvNd<D, R> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let plan = &self.plan;
        show(content, plan, [&plan.input, &plan.output]).optional()
    }
}
