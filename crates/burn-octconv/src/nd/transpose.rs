use alloc::vec::Vec;

use burn::{
    module::{Content, DisplaySettings, Module, ModuleDisplay, Param},
    nn::Initializer,
    tensor::{Device, Tensor},
};
use octave_plan::{Padding, Plan};

#[cfg(feature = "flex")]
use super::engine;
use super::{
    MapTensor, MapsError, OctMaps, Scale, composed,
    layer::{Parameters, check_groups, check_size, show, values},
};

/// Transposed octave convolution over `D` axes and any number of frequencies, on tensors of rank
/// `R = D + 2`: the adjoint of [`OctConvNd`](crate::OctConvNd) with the same kernels, for decoders
/// and U-Nets.
///
/// What a path of the convolution does, the transposed path undoes in reverse order: ⟨conv(x), y⟩ =
/// ⟨x, transpose(y)⟩. With S the sum over blocks of 2 (the adjoint of upsampling) and U the spreading
/// of a pixel over the window of 2 that was averaged (the adjoint of pooling: each pixel of the
/// window gets 1/|window| of it), both along the octave axes, and fᵀ Burn's transposed convolution,
/// group `i` of the output is
///
/// ```text
/// X_i = Σ_{j < i} fᵀ(S^{i−j}(Y_j); W_ij) + fᵀ(Y_i; W_ii) + Σ_{j > i} U^{j−i}(fᵀ(Y_j; W_ij)) + b_i
/// ```
///
/// and for two groups, of input {Y^H, Y^L} and output {X^H, X^L},
///
/// ```text
/// X^H = fᵀ(Y^H; W^{H→H}) + U(fᵀ(Y^L; W^{H→L})) + b^H
/// X^L = fᵀ(Y^L; W^{L→L}) + fᵀ(S(Y^H); W^{L→H}) + b^L
/// ```
///
/// where W^{a→b} is the kernel with which the convolution goes from a to b. With stride 2 the
/// convolution pools first, so here U along the axes of the stride comes last, and S is applied once
/// less. With `strided` the transposed convolutions themselves have the stride; with one group that
/// is Burn's own layer.
///
/// The paper has no transposed layer, and the adjoint is the only one that follows from its
/// convolution. Its paths have different scales, since S sums four pixels and U quarters one;
/// [`Scale::Mean`] averages and repeats instead, which trains more easily. An output of odd size cannot
/// be told from one that is a pixel larger: [`forward_to`](Self::forward_to) takes the size.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct OctConvTransposeNd<const D: usize, const R: usize> {
    /// The kernel of each path of the plan, `[channels_in_j, channels_out_i / groups, …]`.
    pub kernels: Vec<Param<Tensor<R>>>,
    /// The bias of each output group, `[channels_out_i]`; none where the group does not exist.
    pub biases: Vec<Option<Param<Tensor<1>>>>,
    /// The convolution whose adjoint the layer is: its input is this layer's output.
    #[module(skip)]
    pub plan: Plan<D>,
    /// How much a pixel weighs that moves to another frequency.
    #[module(skip)]
    pub scale: Scale,
}

/// Transposed octave convolution over one axis. Built by
/// [`OctConvTranspose1dConfig`](crate::OctConvTranspose1dConfig).
pub type OctConvTranspose1d = OctConvTransposeNd<1, 3>;

/// Transposed octave convolution over two axes. Built by
/// [`OctConvTranspose2dConfig`](crate::OctConvTranspose2dConfig).
pub type OctConvTranspose2d = OctConvTransposeNd<2, 4>;

/// Transposed octave convolution over three axes. Built by
/// [`OctConvTranspose3dConfig`](crate::OctConvTranspose3dConfig).
pub type OctConvTranspose3d = OctConvTransposeNd<3, 5>;

/// The full resolution of the output where none is asked for.
pub(super) fn output_size<const D: usize>(plan: &Plan<D>, size: [usize; D]) -> [usize; D] {
    let strides = plan.strides();
    let Padding::Explicit(padding) = plan.padding else {
        return core::array::from_fn(|a| size[a] * strides[a]);
    };
    // As Burn's transposed layers have it; there is one path, between full resolutions.
    let (extent, stride) = (plan.extent(), plan.stride_of(&plan.paths[0]));
    core::array::from_fn(|a| {
        let full = (size[a].max(1) - 1) * stride[a] + extent[a];
        let read = full.saturating_sub(padding[a].0 + padding[a].1);
        read * (strides[a] / stride[a])
    })
}

impl<const D: usize, const R: usize> OctConvTransposeNd<D, R> {
    /// The adjoint of a plan's convolution.
    pub(super) fn from_plan(
        plan: Plan<D>,
        bias: bool,
        initializer: &Initializer,
        device: &Device,
    ) -> Self {
        // As Burn's transposed layers have it.
        let taps: usize = plan.kernel_size.iter().product();
        let fan_in = plan.input.iter().sum::<usize>() / plan.groups * taps;
        let biased = if bias { &plan.input[..] } else { &[] };
        let fans = [Some(fan_in), None];
        let Parameters { kernels, biases } =
            Parameters::new(&plan, biased, initializer, fans, device);
        Self {
            kernels,
            biases,
            plan,
            scale: Scale::Adjoint,
        }
    }

    /// The device that holds the kernels.
    pub fn device(&self) -> Device {
        self.kernels[0].device()
    }

    /// The full resolution of the output where none is asked for: `size · stride`, unless a single
    /// path has a padding that does not keep sizes.
    pub fn output_size(&self, size: [usize; D]) -> [usize; D] {
        output_size(&self.plan, size)
    }

    /// Whether the layer can make a map of full resolution `size` of `input`.
    ///
    /// # Errors
    ///
    /// [`MapsError::Channels`] or [`MapsError::Axes`] if `input` does not have the groups that the
    /// layer was built for, [`MapsError::OutputSize`] if the convolution does not make a map of
    /// `input`'s resolution of one of `size`.
    pub fn check(&self, input: &OctMaps<D, R>, size: [usize; D]) -> Result<(), MapsError> {
        check_groups(&self.plan, &self.plan.output, input)?;
        let forward = self.plan.output_size(size);
        if size.contains(&0) || forward != input.size() {
            return Err(MapsError::OutputSize {
                output: size.into(),
                input: input.size().into(),
                stride: self.plan.strides().into(),
                forward: forward.into(),
            });
        }
        check_size(&self.plan, size)
    }

    /// Applies the transposed convolution. A plain tensor is a feature map of one group.
    ///
    /// # Shapes
    ///
    /// - input: group `j` `[batch, channels_in_j, …]`, of 1/2ʲ of the full resolution along the octave
    ///   axes
    /// - output: group `i` `[batch, channels_out_i, …]`, of 1/2ⁱ of `size · stride`
    ///
    /// # Panics
    ///
    /// If the groups of the input are not those that the layer was built for;
    /// [`check`](Self::check) returns the error instead.
    pub fn forward(&self, input: impl Into<OctMaps<D, R>>) -> OctMaps<D, R>
    where
        Tensor<R>: MapTensor<D>,
    {
        let input = input.into();
        let size = self.output_size(input.size());
        self.forward_to(input, size)
    }

    /// Applies the transposed convolution, for an output of full resolution `size`: one of those that
    /// the convolution turns into the resolution of the input, such as that of a skip connection.
    ///
    /// # Panics
    ///
    /// If [`check`](Self::check) finds an error.
    pub fn forward_to(&self, input: impl Into<OctMaps<D, R>>, size: [usize; D]) -> OctMaps<D, R>
    where
        Tensor<R>: MapTensor<D>,
    {
        let input = input.into();
        self.check(&input, size).unwrap_or_else(|e| panic!("{e}"));
        let (kernels, biases) = values(&self.kernels, &self.biases);
        let to = (size, self.scale);
        #[cfg(feature = "flex")]
        if let Some(output) = engine::transpose(&self.plan, &input, &kernels, &biases, to) {
            return output;
        }
        composed::transpose(&self.plan, &input, &kernels, &biases, to)
    }
}

impl<const D: usize, const R: usize> ModuleDisplay for OctConvTransposeNd<D, R> {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let plan = &self.plan;
        show(content, plan, [&plan.output, &plan.input]).optional()
    }
}
