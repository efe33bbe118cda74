//! Turning the engines off.
//!
//! Which form computes a layer is decided on the thread that calls it, at the moment of the call:
//! the threads that help an engine, and autodiff on its way back, follow what was decided there.
//! So a setting of the calling thread decides for everything that runs inside of a scope. It
//! decides for nothing else because that thread runs nothing else: the engine's `apart` sees to that.

use burn::tensor::Device;
#[cfg(feature = "flex")]
use burn::tensor::{DType, Tensor};
use octave_plan::Refusal;

#[cfg(feature = "flex")]
use crate::InstructionSetError;

#[cfg(feature = "flex")]
std::thread_local! {
    /// Whether layers called on this thread may use an engine.
    static ENABLED: core::cell::Cell<bool> = const { core::cell::Cell::new(true) };
}

/// Runs `work` with everything that it calls on its thread composed from Burn's own operations, as
/// on a backend without an engine.
///
/// For measuring what an engine brings, for telling its rounding apart, and for graph capture. The
/// backward pass of what was computed inside is composed too, wherever it runs; other threads are
/// not affected, those of a rayon pool that `work` itself spreads tasks over among them. Within a
/// task of a rayon pool, `work` runs on a thread of its own, since a worker that waits runs other
/// tasks in between. With α = 0 on both sides and a strided convolution this is Burn's
/// [`Conv2d`](burn::nn::conv::Conv2d), bit for bit. Scopes nest, and end also by a panic.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_octconv::{OctConv2dConfig, ops::without_engine};
///
/// let device = Device::default();
/// let layer = OctConv2dConfig::new([3, 8], [3, 3]).with_alpha(0.0).init(&device);
/// let image = Tensor::ones([1, 3, 8, 8], &device);
/// let composed = without_engine(|| layer.forward(image.clone()));
/// assert_eq!(composed.size(), layer.forward(image).size());
/// ```
pub fn without_engine<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "flex")]
    let work = || {
        octave_engine::apart(|| {
            let _restore = Restore(ENABLED.replace(false));
            work()
        })
    };
    work()
}

/// Sets [`ENABLED`] when dropped, also by a panic.
#[cfg(feature = "flex")]
struct Restore(bool);

#[cfg(feature = "flex")]
impl Drop for Restore {
    fn drop(&mut self) {
        ENABLED.set(self.0);
    }
}

/// Whether layers on `device` are computed by an engine when this thread calls them: there is one
/// for the device's backend, and the call is not inside of [`without_engine`].
///
/// A layer with options that the engine does not have is composed even so.
pub fn uses_engine(device: &Device) -> bool {
    engine_of(device).is_ok()
}

/// The instruction set that the engine computes with, such as `avx512`, `avx2` or `portable`.
#[cfg(feature = "flex")]
pub fn instruction_set() -> &'static str {
    octave_engine::Isa::best().name()
}

/// Has the engine compute with the instruction set of this name, for measuring another one than the
/// fastest. The environment variable `OCTAVE_ISA` does the same.
///
/// # Errors
///
/// [`InstructionSetError`] for a set that this processor does not have, or if the engine has computed
/// with another one already.
#[cfg(feature = "flex")]
pub fn choose_instruction_set(name: &str) -> Result<(), InstructionSetError> {
    use octave_engine::Isa;
    let Some(isa) = Isa::by_name(name) else {
        return Err(InstructionSetError::Missing {
            name: name.into(),
            available: Isa::available().into_iter().map(Isa::name).collect(),
        });
    };
    isa.choose().map_err(|other| InstructionSetError::InUse {
        name: name.into(),
        other: other.name(),
    })
}

/// Why layers on `device` are not computed by an engine when this thread calls them.
pub(crate) fn engine_of(device: &Device) -> Result<(), Refusal> {
    #[cfg(feature = "flex")]
    {
        use burn::backend::DispatchDevice;
        let device = device.clone().without_autodiff();
        if matches!(device.as_dispatch(), DispatchDevice::Flex(_)) {
            let enabled = ENABLED.get();
            return enabled.then_some(()).ok_or(Refusal::SwitchedOff);
        }
    }
    let _ = device;
    Err(Refusal::Backend)
}

/// Whether an engine reads this tensor.
#[cfg(feature = "flex")]
pub(crate) fn readable<const D: usize>(x: &Tensor<D>) -> Result<(), Refusal> {
    engine_of(&x.device())?;
    match x.dtype() {
        DType::F32 => Ok(()),
        _ => Err(Refusal::Precision),
    }
}

/// Whether an engine reads this tensor, and nothing goes back through it.
#[cfg(feature = "flex")]
pub(crate) fn untracked<const D: usize>(x: &Tensor<D>) -> Result<(), Refusal> {
    readable(x)?;
    match x.device().is_autodiff() {
        true => Err(Refusal::Tracked),
        false => Ok(()),
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::{OctConv2d, OctConv2dConfig};
    use burn::tensor::{Int, TensorData, module::conv2d, ops::ConvOptions};

    /// A vanilla layer, large enough that another order of summation shows in the last bits.
    fn layer(device: &Device) -> OctConv2d {
        let config = OctConv2dConfig::new([48, 40], [3, 3]).with_alpha(0.0);
        config.with_bias(false).init(device)
    }

    fn input(device: &Device) -> Tensor<4> {
        let wave = Tensor::<1, Int>::arange(0..2 * 48 * 9 * 11, device)
            .float()
            .sin();
        wave.reshape([2, 48, 9, 11])
    }

    fn burns(layer: &OctConv2d, input: Tensor<4>) -> Tensor<4> {
        let kernel = layer.kernels().h2h.expect("α is 0");
        conv2d(
            input,
            kernel,
            None,
            ConvOptions::new([1, 1], [1, 1], [1, 1], 1),
        )
    }

    /// Output and gradients of input and kernel.
    fn step(layer: &OctConv2d, forward: impl FnOnce(Tensor<4>) -> Tensor<4>) -> [TensorData; 3] {
        let input = input(&layer.device()).require_grad();
        let output = forward(input.clone());
        let gradients = output.clone().square().sum().backward();
        let gradient = |x: &Tensor<4>| x.grad(&gradients).expect("it is tracked").into_data();
        let kernel = layer.kernels().h2h.expect("α is 0");
        [gradient(&input), gradient(&kernel), output.into_data()]
    }

    #[test]
    fn inside_the_scope_a_vanilla_layer_is_burns_own_bit_for_bit() {
        let device = Device::flex();
        let layer = layer(&device);
        let expected = burns(&layer, input(&device)).into_data();
        let composed = without_engine(|| layer.forward(input(&device)));
        assert_eq!(composed.into_high().into_data(), expected);
        // Outside it is the engine's, which sums in another order.
        let engine = layer.forward(input(&device)).into_high();
        assert_ne!(engine.into_data(), expected);
    }

    #[test]
    fn the_backward_pass_follows_the_forward_pass() {
        let layer = layer(&Device::flex().autodiff());
        let burns = step(&layer, |x| burns(&layer, x));
        // `step` goes back outside of the scope.
        let composed = step(&layer, |x| without_engine(|| layer.forward(x).into_high()));
        assert_eq!(composed, burns);
        let engine = step(&layer, |x| layer.forward(x).into_high());
        for (engine, burns) in engine.iter().zip(&burns) {
            assert_ne!(engine, burns);
        }
    }

    #[test]
    fn scopes_nest_end_by_panics_and_leave_other_threads_alone() {
        let device = Device::flex();
        assert!(uses_engine(&device) && uses_engine(&device.clone().autodiff()));
        without_engine(|| {
            without_engine(|| assert!(!uses_engine(&device)));
            assert!(!uses_engine(&device));
            std::thread::scope(|scope| {
                let other = scope.spawn(|| uses_engine(&device));
                assert!(other.join().unwrap());
            });
        });
        let caught = std::panic::catch_unwind(|| without_engine(|| panic!("on purpose")));
        assert!(caught.is_err() && uses_engine(&device));
    }

    #[cfg(feature = "ndarray")]
    #[test]
    #[allow(deprecated, reason = "Burn deprecates NdArray; it still has users")]
    fn other_backends_have_none() {
        assert!(!uses_engine(&Device::ndarray()));
    }
}
