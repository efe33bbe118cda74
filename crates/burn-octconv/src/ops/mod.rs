//! The op boundary: the one place that decides how an octave convolution is computed.
//!
//! [`octconv2d`] takes features, kernels and a plan and may hand them to an engine written for
//! the backend at hand. Where there is none, [`composed::octconv2d`] computes the same from Burn's
//! primitive operations; it is also the reference that every engine is tested against, and the
//! form in which graph capture sees the layer. [`without_engine`] asks for it by hand.

pub(crate) mod activation;
#[cfg(feature = "flex")]
pub(crate) mod backend;
#[cfg(feature = "capture")]
mod capture;
pub mod composed;
#[cfg(feature = "flex")]
pub(crate) mod eligibility;
pub(crate) mod engine;
#[cfg(feature = "flex")]
pub(crate) mod flex;
pub(crate) mod kernels;
pub mod norm;
pub mod resample;
pub(crate) mod statistics;

#[cfg(feature = "flex")]
pub use engine::{choose_instruction_set, instruction_set};
pub use engine::{uses_engine, without_engine};
pub use kernels::OctKernels;

use burn::{nn::conv::Conv2d, tensor::Device};
use octave_plan::{Plan, Refusal};

use crate::OctFeatures;
#[cfg(feature = "flex")]
use crate::blocked;
#[cfg(feature = "flex")]
pub use crate::blocked::{PackedKernels, StepTime, timed};
#[cfg(feature = "flex")]
pub use octave_engine::peak_macs_per_second;

/// Computes an octave convolution, as `plan` says: the sum of its paths into each output group.
///
/// ```text
/// Y^H = f(X^H; W^{H→H}) + upsample(f(X^L; W^{L→H}), 2) + b^H
/// Y^L = f(X^L; W^{L→L}) + f(pool(X^H, 2); W^{H→L}) + b^L
/// ```
///
/// (Chen et al., equation 2 and section 3.3, <https://arxiv.org/abs/1904.05049>.) With stride 2
/// both inputs are pooled first, H→L pools twice, and L→H needs no upsampling, since X^L already
/// has the output's high resolution.
///
/// # Panics
///
/// If features or kernels do not fit the plan; [`OctConv2d`](crate::OctConv2d) checks this with a
/// message of its own.
pub fn octconv2d(features: OctFeatures, kernels: OctKernels, plan: &Plan<2>) -> OctFeatures {
    match by_engine(features, kernels, plan) {
        Ok(output) => output,
        Err((features, kernels)) => composed::octconv2d(features, kernels, plan),
    }
}

/// Computes an octave convolution by an engine; gives all back where there is none.
#[expect(clippy::result_large_err, reason = "what is not used is given back")]
fn by_engine(
    features: OctFeatures,
    kernels: OctKernels,
    plan: &Plan<2>,
) -> Result<OctFeatures, (OctFeatures, OctKernels)> {
    #[cfg(feature = "flex")]
    {
        use eligibility::Blocked;
        let size = features.size();
        let map = match eligibility::blocked(&features, &kernels, plan) {
            Ok(Blocked::Map) => blocked::octconv2d(features.blocked(), kernels, plan),
            Ok(Blocked::Images) => blocked::first(features.into_high(), kernels, plan),
            Err(_) => {
                return match eligibility::octconv2d(&features, &kernels, plan) {
                    Ok(geometry) => Ok(backend::octconv2d(features, kernels, geometry)),
                    Err(_) => Err((features, kernels)),
                };
            }
        };
        Ok(OctFeatures::from_blocked(map, plan.output_size(size)))
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = plan;
        Err((features, kernels))
    }
}

/// Computes a vanilla convolution: what [`Conv2d::forward`] computes, by an engine where there is
/// one.
///
/// # Shapes
///
/// - input: `[batch, channels_in, height, width]`, no low group
/// - output: that of [`Conv2d::forward`], no low group
///
/// # Panics
///
/// Where [`Conv2d::forward`] panics, and if there is a low group.
pub fn conv2d(conv: &Conv2d, x: impl Into<OctFeatures>) -> OctFeatures {
    let x = x.into();
    #[cfg(feature = "flex")]
    let x = match eligibility::vanilla(conv, x.channels()) {
        Ok(plan) => {
            let kernel = conv.weight.val();
            let kernels = OctKernels {
                packed: PackedKernels::of_kernel(&kernel),
                h2h: Some(kernel),
                bias_high: conv.bias.as_ref().map(|bias| bias.val()),
                ..OctKernels::default()
            };
            match by_engine(x, kernels, &plan) {
                Ok(output) => return output,
                Err((x, _)) => x,
            }
        }
        Err(_) => x,
    };
    conv.forward(x.into_high()).into()
}

/// Why a layer of this plan, in f32, is composed in training when this thread calls it for `images`
/// images of full resolution `size` on `device`; `None` if an engine computes it. Without gradients
/// an engine computes layers in groups as well.
pub fn refusal(
    plan: &Plan<2>,
    images: usize,
    size: [usize; 2],
    device: &Device,
) -> Option<Refusal> {
    if let Err(refusal) = engine::engine_of(device) {
        return Some(refusal);
    }
    #[cfg(feature = "flex")]
    return eligibility::geometry(plan, images, size, false).err();
    #[cfg(not(feature = "flex"))]
    {
        let _ = (plan, images, size);
        Some(Refusal::Backend)
    }
}

/// Gives the memory that the engine keeps for its next call back to the system: about as much as the
/// largest training step took. Call it where a program goes on after training; a later step allocates
/// anew.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_octconv::{OctConv2dConfig, ops::release_memory};
///
/// let device = Device::flex().autodiff();
/// let layer = OctConv2dConfig::new([16, 32], [3, 3]).with_alpha_in(0.0).init(&device);
/// let images = Tensor::<4>::ones([4, 16, 32, 32], &device);
/// layer.forward(images).global_avg_pool().sum().backward();
/// release_memory();
/// ```
#[cfg(feature = "flex")]
pub fn release_memory() {
    blocked::memory::release();
    flex::release_memory();
}
