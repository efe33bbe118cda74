//! Layers over one, two and three axes and any number of frequencies, and their adjoints, against f64
//! loops written from the equations, on every backend compiled in.

#[path = "support/nd.rs"]
mod nd;
#[path = "support/nd_case.rs"]
mod nd_case;
mod support;

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use burn_octconv::{MapTensor, OctMaps, Scale, ops};
use nd::Array;
use nd_case::{Case, Layers, Line, Plane, Volume, compare_conv, compare_transpose, tensor};
use support::case::Errors;

/// Relative to the sum of magnitudes; a wrong pixel, weight or divisor shows as 1e-3 and more.
const SINGLE: f64 = 2e-6;
const DOUBLE: f64 = 1e-13;

/// Compares legal ones of `count` random cases and reports the worst error.
fn sweep<const D: usize>(
    name: &str,
    count: u64,
    tolerance: f64,
    compare: impl Fn(&Case<D>) -> Option<Errors>,
) {
    let most = std::env::var("OPERATOR_CASES").map(|n| n.parse().expect("a number of cases"));
    let (mut worst, mut legal) = (Errors::default(), 0);
    let count = count.min(most.unwrap_or(u64::MAX));
    for seed in 0..count {
        let case = Case::random(seed);
        let Some(errors) = compare(&case) else {
            continue;
        };
        assert!(
            errors.forward.max(errors.backward) < tolerance,
            "{name}: {errors:?} for {case:#?}"
        );
        legal += 1;
        worst.forward = worst.forward.max(errors.forward);
        worst.backward = worst.backward.max(errors.backward);
    }
    println!(
        "{name}: {legal} random configurations, worst relative error {:.1e} forward, {:.1e} backward",
        worst.forward, worst.backward
    );
    assert!(10 * legal > count, "{name}: {legal} of {count} are legal");
}

/// All kinds on a device, in its own type of floats or another.
fn sweeps(
    name: &str,
    device: &Device,
    options: &TensorCreationOptions,
    count: u64,
    tolerance: f64,
) {
    let options = || options.clone();
    let device = &device.clone().autodiff();
    sweep(&format!("{name}, 1d"), count, tolerance, |case| {
        compare_conv::<Line, 1, 3>(case, options(), device)
    });
    sweep(&format!("{name}, 2d"), count, tolerance, |case| {
        compare_conv::<Plane, 2, 4>(case, options(), device)
    });
    sweep(&format!("{name}, 3d"), count / 2, tolerance, |case| {
        compare_conv::<Volume, 3, 5>(case, options(), device)
    });
    sweep(
        &format!("{name}, 1d transposed"),
        count,
        tolerance,
        |case| compare_transpose::<Line, 1, 3>(case, options(), device),
    );
    sweep(
        &format!("{name}, 2d transposed"),
        count,
        tolerance,
        |case| compare_transpose::<Plane, 2, 4>(case, options(), device),
    );
    sweep(
        &format!("{name}, 3d transposed"),
        count / 2,
        tolerance,
        |case| compare_transpose::<Volume, 3, 5>(case, options(), device),
    );
}

#[test]
fn flex_equals_the_reference_in_f64() {
    let device = Device::flex().autodiff();
    let options = TensorCreationOptions::from((&device, DType::F64));
    sweeps("flex, f64", &Device::flex(), &options, 1200, DOUBLE);
}

#[test]
fn flex_equals_the_reference_in_f32() {
    let device = Device::flex().autodiff();
    let options = TensorCreationOptions::from(&device);
    sweeps("flex", &Device::flex(), &options, 400, SINGLE);
}

/// Without the engine, which has some of the layers in f32.
#[test]
fn the_composed_form_on_flex_equals_the_reference() {
    let device = Device::flex().autodiff();
    let options = TensorCreationOptions::from(&device);
    let run = || sweeps("flex, composed", &Device::flex(), &options, 400, SINGLE);
    ops::without_engine(run);
}

#[cfg(feature = "ndarray")]
#[test]
#[allow(deprecated, reason = "Burn deprecates NdArray; it still has users")]
fn ndarray_equals_the_reference() {
    let device = Device::ndarray().autodiff();
    let options = TensorCreationOptions::from(&device);
    sweeps("ndarray", &Device::ndarray(), &options, 100, SINGLE);
}

/// On a machine without a GPU this runs on a software device (Mesa's llvmpipe), hence few cases.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_equals_the_reference() {
    let device = Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    let options = TensorCreationOptions::from(&device.clone().autodiff());
    sweeps("wgpu", &device, &options, 40, SINGLE);
}

/// ⟨conv(x), y⟩ = ⟨x, transpose(y)⟩ with the same kernels; `None` if the case is illegal.
fn adjoint_error<K: Layers<D, R>, const D: usize, const R: usize>(case: &Case<D>) -> Option<f64>
where
    Tensor<R>: MapTensor<D>,
{
    let case = &Case {
        bias: false,
        downsample: Default::default(),
        upsample: Default::default(),
        scale: Scale::Adjoint,
        ..case.clone()
    };
    let device = Device::flex();
    let conv = K::conv(case, &device).ok()?;
    let transpose = K::transpose(case, &device).ok()?;
    let options = case.options(&conv.plan);
    let kernels = case.kernels(&options, &conv.plan);
    let output = conv.plan.output_size(case.size);
    let paths = conv.plan.paths.iter();
    let mut sizes = paths.map(|path| conv.plan.conv_size(path, case.size));
    if sizes.any(|size| size.contains(&0)) {
        return None;
    }
    let double = (&device, DType::F64);
    let maps = |groups: &[Option<Array>], size| {
        let groups = groups.iter();
        let groups = groups.map(|x| x.as_ref().map(|x| tensor::<R>(x, double)));
        OctMaps::new(groups.collect(), size, case.octave_axes).expect("it fits together")
    };
    let x = maps(&case.maps(&options, &case.input, &case.size, 1), case.size);
    let y = maps(&case.maps(&options, &case.output, &output, 2), output);
    let set = |paths: &[burn_octconv::Path]| {
        let kernel = |path: &burn_octconv::Path| {
            let kernel = kernels[path.from][path.to].as_ref().expect("a kernel");
            burn::module::Param::from_tensor(tensor::<R>(kernel, double))
        };
        paths.iter().map(kernel).collect::<Vec<_>>()
    };
    let (mut conv, mut transpose) = (conv, transpose);
    conv.kernels = set(&conv.plan.paths);
    transpose.kernels = set(&transpose.plan.paths);
    let product = |a: OctMaps<D, R>, b: &OctMaps<D, R>| {
        let pairs = a.into_groups().into_iter().enumerate();
        let products = pairs.filter_map(|(level, a)| {
            let product = a? * b.group(level)?.clone();
            Some([product.clone().sum(), product.abs().sum()].map(|s| s.into_scalar::<f64>()))
        });
        products.fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d])
    };
    let [left, magnitude] = product(conv.forward(x.clone()), &y);
    let [right, other] = product(transpose.forward_to(y, case.size), &x);
    Some((left - right).abs() / magnitude.max(other).max(1e-6))
}

#[test]
fn flex_transposed_layers_are_the_adjoints() {
    fn sweep_adjoint<K: Layers<D, R>, const D: usize, const R: usize>(name: &str)
    where
        Tensor<R>: MapTensor<D>,
    {
        let compare = |case: &Case<D>| {
            let forward = adjoint_error::<K, D, R>(case)?;
            let backward = 0.0;
            Some(Errors { forward, backward })
        };
        // Sums of thousands of terms that may cancel.
        sweep(name, 1500, 1e-11, compare);
    }
    sweep_adjoint::<Line, 1, 3>("adjoint, 1d");
    sweep_adjoint::<Plane, 2, 4>("adjoint, 2d");
    sweep_adjoint::<Volume, 3, 5>("adjoint, 3d");
}
