//! Random layers over one to three axes, and their comparison with the reference.

use burn::{
    module::Param,
    nn::{PaddingConfig1d, PaddingConfig2d, PaddingConfig3d},
    tensor::{Device, Tensor, TensorCreationOptions, TensorData},
};
use burn_octconv::{
    Downsample, Exchange, MapTensor, MultiOctConv2dConfig, OctConv1dConfig, OctConv3dConfig,
    OctConvError, OctConvNd, OctConvTranspose1dConfig, OctConvTranspose2dConfig,
    OctConvTranspose3dConfig, OctConvTransposeNd, OctMaps, Plan, Reach, Scale, Upsample,
};
use octave_plan::Padding;

use crate::{
    nd::{Array, Inputs, Options, Pad},
    support::case::{Errors, Random, read},
};

/// A configuration with an input for it.
#[derive(Debug, Clone)]
pub struct Case<const D: usize> {
    pub input: Vec<usize>,
    pub output: Vec<usize>,
    pub kernel: [usize; D],
    pub stride: [usize; D],
    pub dilation: [usize; D],
    pub groups: usize,
    pub padding: Option<[usize; D]>,
    pub bias: bool,
    pub octave_axes: [bool; D],
    pub strided: bool,
    pub downsample: Downsample,
    pub upsample: Upsample,
    pub exchange: Exchange,
    pub reach: Reach,
    pub scale: Scale,
    pub batch: usize,
    pub size: [usize; D],
    pub seed: u64,
}

/// Shares that split the sum of `counts` into these.
pub fn shares(counts: &[usize]) -> Vec<f64> {
    let total = counts.iter().sum::<usize>() as f64;
    let share = |&count: &usize| {
        let share = count as f64 / total;
        if ((share * total) as usize) < count {
            share.next_up()
        } else {
            share
        }
    };
    counts.iter().map(share).collect()
}

/// The layers of a rank.
pub trait Layers<const D: usize, const R: usize> {
    fn conv(case: &Case<D>, device: &Device) -> Result<OctConvNd<D, R>, OctConvError>;
    fn transpose(case: &Case<D>, device: &Device)
    -> Result<OctConvTransposeNd<D, R>, OctConvError>;
}

pub struct Line;
pub struct Plane;
pub struct Volume;

macro_rules! layers {
    ($kind:ident, $d:literal, $r:literal, $conv:ident, $transpose:ident, |$p:ident| $padding:expr, $same:expr) => {
        impl Layers<$d, $r> for $kind {
            fn conv(case: &Case<$d>, device: &Device) -> Result<OctConvNd<$d, $r>, OctConvError> {
                let total = [&case.input, &case.output].map(|c| c.iter().sum());
                $conv::new(total, case.kernel)
                    .with_stride(case.stride)
                    .with_dilation(case.dilation)
                    .with_groups(case.groups)
                    .with_padding(case.padding.map_or($same, |$p| $padding))
                    .with_bias(case.bias)
                    .with_shares_in(shares(&case.input))
                    .with_shares_out(shares(&case.output))
                    .with_octave_axes(case.octave_axes)
                    .with_strided(case.strided)
                    .with_downsample(case.downsample)
                    .with_upsample(case.upsample)
                    .with_exchange(case.exchange)
                    .with_reach(case.reach)
                    .try_init(device)
            }

            /// The adjoint of the convolution.
            fn transpose(
                case: &Case<$d>,
                device: &Device,
            ) -> Result<OctConvTransposeNd<$d, $r>, OctConvError> {
                let total = [&case.output, &case.input].map(|c| c.iter().sum());
                $transpose::new(total, case.kernel)
                    .with_stride(case.stride)
                    .with_dilation(case.dilation)
                    .with_groups(case.groups)
                    .with_padding(case.padding)
                    .with_bias(case.bias)
                    .with_shares_in(shares(&case.output))
                    .with_shares_out(shares(&case.input))
                    .with_octave_axes(case.octave_axes)
                    .with_strided(case.strided)
                    .with_exchange(match case.exchange {
                        Exchange::HighToLow => Exchange::LowToHigh,
                        Exchange::LowToHigh => Exchange::HighToLow,
                        other => other,
                    })
                    .with_reach(case.reach)
                    .with_scale(case.scale)
                    .try_init(device)
            }
        }
    };
}

layers!(
    Line,
    1,
    3,
    OctConv1dConfig,
    OctConvTranspose1dConfig,
    |p| PaddingConfig1d::Explicit(p[0], p[0]),
    PaddingConfig1d::Same
);
layers!(
    Plane,
    2,
    4,
    MultiOctConv2dConfig,
    OctConvTranspose2dConfig,
    |p| PaddingConfig2d::Explicit(p[0], p[1], p[0], p[1]),
    PaddingConfig2d::Same
);
layers!(
    Volume,
    3,
    5,
    OctConv3dConfig,
    OctConvTranspose3dConfig,
    |p| PaddingConfig3d::Explicit(p[0], p[1], p[2]),
    PaddingConfig3d::Same
);

impl Random {
    /// A whole number in `[low, high]`.
    pub fn whole(&mut self, low: usize, high: usize) -> usize {
        let unit = (self.next() + 1.0) / 2.0;
        low + (unit * (high - low + 1) as f64) as usize
    }

    fn coin(&mut self) -> bool {
        self.whole(0, 1) == 1
    }

    pub fn array(&mut self, dims: impl Into<Vec<usize>>) -> Array {
        let mut array = Array::zeros(dims);
        let scale = f64::powi(2.0, 16);
        // Exact in f32.
        let mut value = || (self.next() * scale).round() / scale;
        array.data.iter_mut().for_each(|x| *x = value());
        array
    }
}

impl<const D: usize> Case<D> {
    /// A random configuration, legal or not.
    pub fn random(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9));
        let mut counts = |scale: usize| -> Vec<usize> {
            let levels = random.whole(1, 3);
            (0..levels).map(|_| scale * random.whole(0, 3)).collect()
        };
        let groups = 1 + usize::from(seed.is_multiple_of(4));
        let (input, mut output) = (counts(groups), counts(groups));
        let depthwise = seed.is_multiple_of(7);
        if depthwise {
            output = input.clone();
        }
        let most = [9, 9, 6][D - 1];
        let r = &mut random;
        Self {
            groups: if depthwise {
                input.iter().sum()
            } else {
                groups
            },
            input,
            output,
            kernel: core::array::from_fn(|_| r.whole(1, if D == 3 { 3 } else { 4 })),
            stride: core::array::from_fn(|_| r.whole(1, 2)),
            dilation: core::array::from_fn(|_| r.whole(1, 2)),
            padding: (r.whole(0, 2) == 0).then(|| core::array::from_fn(|_| r.whole(0, 2))),
            bias: r.coin(),
            octave_axes: core::array::from_fn(|_| r.whole(0, 2) > 0),
            strided: r.coin(),
            downsample: [Downsample::Average, Downsample::Max, Downsample::Strided]
                [r.whole(0, 5).saturating_sub(3)],
            upsample: [Upsample::Nearest, Upsample::Bilinear][r.whole(0, 2) / 2],
            exchange: [
                Exchange::Both,
                Exchange::HighToLow,
                Exchange::LowToHigh,
                Exchange::Neither,
            ][r.whole(0, 5).saturating_sub(2)],
            reach: [Reach::All, Reach::Neighbours][r.whole(0, 2) / 2],
            scale: [Scale::Adjoint, Scale::Mean][r.whole(0, 2) / 2],
            batch: r.whole(1, 2),
            size: core::array::from_fn(|_| r.whole(1, most)),
            seed,
        }
    }

    pub fn options(&self, plan: &Plan<D>) -> Options {
        Options {
            stride: self.stride.into(),
            strided: self.strided,
            // A transposed layer takes an explicit padding for `Same` if it is that of even sizes.
            padding: match (self.padding, plan.padding) {
                (None, _) | (_, Padding::Same) => vec![Pad::Same; D],
                (Some(padding), _) => padding.map(|p| Pad::Explicit(p, p)).into(),
            },
            dilation: self.dilation.into(),
            octave_axes: self.octave_axes.into(),
            downsample: self.downsample,
            upsample: self.upsample,
            exchange: self.exchange,
            reach: self.reach,
            depthwise: plan.is_depthwise(),
            scale: self.scale,
        }
    }

    /// Random kernels `[from][to]` of a plan with these options.
    pub fn kernels(&self, options: &Options, plan: &Plan<D>) -> Vec<Vec<Option<Array>>> {
        let mut random = Random(self.seed ^ 0xABCD);
        let pair = |from: usize, to: usize, random: &mut Random| {
            let (input, output) = (self.input[from], self.output[to]);
            let exists = input > 0 && output > 0 && options.exists(from, to);
            let path = plan.path(from, to);
            assert_eq!(path.is_some(), exists, "{from} → {to}");
            let columns = if options.depthwise {
                1
            } else {
                input / self.groups
            };
            exists.then(|| random.array([&[output, columns], &self.kernel[..]].concat()))
        };
        (0..self.input.len())
            .map(|from| {
                let row = 0..self.output.len();
                row.map(|to| pair(from, to, &mut random)).collect()
            })
            .collect()
    }

    /// Random maps of `channels` for a full resolution of `size`.
    pub fn maps(
        &self,
        options: &Options,
        channels: &[usize],
        size: &[usize],
        seed: u64,
    ) -> Vec<Option<Array>> {
        let mut random = Random(self.seed ^ seed);
        let levels = channels.iter().enumerate();
        levels
            .map(|(level, &count)| {
                let size = options.level(size, level);
                (count > 0).then(|| random.array([&[self.batch, count], &size[..]].concat()))
            })
            .collect()
    }

    pub fn biases(&self, channels: &[usize]) -> Vec<Option<Array>> {
        let mut random = Random(self.seed ^ 0x55);
        let bias = |&count: &usize| (self.bias && count > 0).then(|| random.array([count]));
        channels.iter().map(bias).collect()
    }
}

/// What a layer is computed from, on a device.
pub struct Leaves<const R: usize> {
    pub groups: Vec<Option<Tensor<R>>>,
    pub kernels: Vec<Vec<Option<Tensor<R>>>>,
    pub biases: Vec<Option<Tensor<1>>>,
}

pub fn tensor<const R: usize>(
    array: &Array,
    options: impl Into<TensorCreationOptions>,
) -> Tensor<R> {
    let dims: [usize; R] = array.dims.clone().try_into().expect("the rank");
    Tensor::from_data(TensorData::new(array.data.clone(), dims), options)
}

impl<const R: usize> Leaves<R> {
    fn new(inputs: &Inputs, options: &TensorCreationOptions) -> Self {
        let leaf = |x: &Option<Array>| {
            x.as_ref()
                .map(|x| tensor::<R>(x, options.clone()).require_grad())
        };
        let bias = |x: &Option<Array>| {
            x.as_ref()
                .map(|x| tensor::<1>(x, options.clone()).require_grad())
        };
        Self {
            groups: inputs.groups.iter().map(leaf).collect(),
            kernels: inputs
                .kernels
                .iter()
                .map(|row| row.iter().map(leaf).collect())
                .collect(),
            biases: inputs.biases.iter().map(bias).collect(),
        }
    }

    /// Sets the parameters of a layer with these paths.
    pub fn parameters<const D: usize>(
        &self,
        plan: &Plan<D>,
    ) -> (Vec<Param<Tensor<R>>>, Vec<Option<Param<Tensor<1>>>>) {
        let kernel = |path: &burn_octconv::Path| {
            let kernel = self.kernels[path.from][path.to].clone();
            Param::from_tensor(kernel.expect("the kernel of a path"))
        };
        let bias = |bias: &Option<Tensor<1>>| bias.clone().map(Param::from_tensor);
        (
            plan.paths.iter().map(kernel).collect(),
            self.biases.iter().map(bias).collect(),
        )
    }
}

/// Every array of `inputs`, as places to read and to write.
fn parts(inputs: &mut Inputs) -> Vec<&mut Array> {
    let groups = inputs.groups.iter_mut().flatten();
    let kernels = inputs.kernels.iter_mut().flatten().flatten();
    groups
        .chain(kernels)
        .chain(inputs.biases.iter_mut().flatten())
        .collect()
}

/// The largest error of `actual`, relative to the sums of magnitudes that it is made of.
fn worst(actual: &[f64], expected: &Array, magnitude: &Array) -> f64 {
    assert_eq!(actual.len(), expected.data.len());
    let errors = actual.iter().zip(&expected.data).zip(&magnitude.data);
    errors
        .map(|((a, e), m)| (a - e).abs() / m.max(1e-6))
        .fold(0.0, |worst: f64, error| {
            if error.is_nan() {
                f64::INFINITY
            } else {
                worst.max(error)
            }
        })
}

/// Runs a layer on leaves made of `inputs` and compares output and gradients with the reference. The
/// loss is the product of the output with random weights, and so linear in every single input: its
/// derivative along a random direction is an exact difference of reference values.
pub fn compare<const D: usize, const R: usize>(
    inputs: &Inputs,
    options: impl Into<TensorCreationOptions>,
    backward: bool,
    run: impl Fn(&Leaves<R>) -> OctMaps<D, R>,
    reference: impl Fn(&Inputs) -> Vec<Option<Array>>,
) -> Errors {
    let options = options.into();
    let leaves = Leaves::<R>::new(inputs, &options);
    let output = run(&leaves);
    let (expected, magnitude) = (reference(inputs), reference(&inputs.magnitudes()));
    let mut errors = Errors::default();
    for (level, (expected, magnitude)) in expected.iter().zip(&magnitude).enumerate() {
        let actual = output.group(level);
        assert_eq!(actual.is_some(), expected.is_some(), "group {level}");
        if let (Some(actual), Some(expected), Some(magnitude)) = (actual, expected, magnitude) {
            assert_eq!(actual.dims()[..], expected.dims[..], "group {level}");
            let error = worst(&read(actual.clone()), expected, magnitude);
            errors.forward = errors.forward.max(error);
        }
    }
    if backward {
        errors.backward = backward_error(inputs, &options, leaves, output, &expected, reference);
    }
    errors
}

fn backward_error<const D: usize, const R: usize>(
    inputs: &Inputs,
    options: &TensorCreationOptions,
    leaves: Leaves<R>,
    output: OctMaps<D, R>,
    expected: &[Option<Array>],
    reference: impl Fn(&Inputs) -> Vec<Option<Array>>,
) -> f64 {
    let mut random = Random(expected.len() as u64 + 99);
    let mut weight = |y: &Option<Array>| y.as_ref().map(|y| random.array(y.dims.clone()));
    let weights: Vec<Option<Array>> = expected.iter().map(&mut weight).collect();
    let products = output.into_groups().into_iter().zip(&weights);
    let products = products.filter_map(|(y, g)| {
        let weight = tensor::<R>(g.as_ref()?, options.clone());
        Some((y? * weight).sum())
    });
    let loss = products.reduce(|a, b| a + b).expect("there is an output");
    let gradients = loss.backward();
    let of = |x: &Tensor<R>| x.grad(&gradients).map(read);
    let groups = leaves.groups.iter().flatten().map(of);
    let kernels = leaves.kernels.iter().flatten().flatten().map(of);
    let biases = leaves.biases.iter().flatten();
    let biases = biases.map(|x| x.grad(&gradients).map(read));
    let gradients: Vec<Option<Vec<f64>>> = groups.chain(kernels).chain(biases).collect();

    let value = |inputs: &Inputs, weights: &[Option<Array>]| -> f64 {
        let outputs = reference(inputs);
        let pairs = outputs.iter().zip(weights);
        pairs
            .filter_map(|(y, g)| Some(y.as_ref()?.dot(g.as_ref()?)))
            .sum()
    };
    let abs = |g: &Option<Array>| g.as_ref().map(|g| g.map(f64::abs));
    let absolute: Vec<_> = weights.iter().map(abs).collect();
    let mut worst = 0.0f64;
    for (part, gradient) in gradients.iter().enumerate() {
        let mut moved = inputs.clone();
        let direction = random.array(parts(&mut moved)[part].dims.clone());
        let along = |sign: f64| {
            let mut moved = inputs.clone();
            let array = &mut *parts(&mut moved)[part];
            *array = array.zip(&direction, |x, v| x + sign * v);
            value(&moved, &weights)
        };
        let expected = (along(1.0) - along(-1.0)) / 2.0;
        // What no path reads has no gradient at all.
        let actual = gradient.as_ref().map_or(0.0, |gradient| {
            let pairs = gradient.iter().zip(&direction.data);
            pairs.map(|(g, v)| g * v).sum()
        });
        let mut bound = inputs.magnitudes();
        *parts(&mut bound)[part] = direction.map(f64::abs);
        let error = (actual - expected).abs() / value(&bound, &absolute).max(1e-6);
        worst = if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        };
    }
    worst
}

/// Compares a convolution with the reference; `None` if the configuration is illegal.
pub fn compare_conv<K: Layers<D, R>, const D: usize, const R: usize>(
    case: &Case<D>,
    options: impl Into<TensorCreationOptions>,
    device: &Device,
) -> Option<Errors>
where
    Tensor<R>: MapTensor<D>,
{
    let layer = K::conv(case, device).ok()?;
    let options_of = case.options(&layer.plan);
    let inputs = Inputs {
        groups: case.maps(&options_of, &case.input, &case.size, 1),
        kernels: case.kernels(&options_of, &layer.plan),
        biases: case.biases(&case.output),
    };
    // A path alone with a padding that does not keep the size: the reference has that of H→H only.
    let path = &layer.plan.paths[0];
    if !layer.plan.keeps_size() && (path.from, path.to) != (0, 0) {
        return None;
    }
    // A kernel that does not fit is refused, which other tests see to.
    let fits = layer.plan.paths.iter();
    let mut fits = fits.map(|path| layer.plan.conv_size(path, case.size));
    if fits.any(|size| size.contains(&0)) {
        return None;
    }
    let run = |leaves: &Leaves<R>| {
        let mut layer = layer.clone();
        (layer.kernels, layer.biases) = leaves.parameters(&layer.plan);
        let input = OctMaps::new(leaves.groups.clone(), case.size, case.octave_axes);
        layer.forward(input.expect("the input fits together"))
    };
    let reference = |inputs: &Inputs| crate::nd::octconv(inputs, &case.size, &options_of);
    // A max pooling is not linear.
    let backward = case.downsample != Downsample::Max;
    Some(compare(&inputs, options, backward, run, reference))
}

/// Compares a transposed convolution, to a map of the case's size, with the reference; `None` if the
/// configuration is illegal.
pub fn compare_transpose<K: Layers<D, R>, const D: usize, const R: usize>(
    case: &Case<D>,
    options: impl Into<TensorCreationOptions>,
    device: &Device,
) -> Option<Errors>
where
    Tensor<R>: MapTensor<D>,
{
    let case = &Case {
        downsample: Downsample::Average,
        upsample: Upsample::Nearest,
        ..case.clone()
    };
    let layer = K::transpose(case, device).ok()?;
    let options_of = case.options(&layer.plan);
    let output = layer.plan.output_size(case.size);
    let fits = layer.plan.paths.iter();
    let mut fits = fits.map(|path| layer.plan.conv_size(path, case.size));
    if fits.any(|size| size.contains(&0)) {
        return None;
    }
    let inputs = Inputs {
        groups: case.maps(&options_of, &case.output, &output, 2),
        kernels: case.kernels(&options_of, &layer.plan),
        biases: case.biases(&case.input),
    };
    let run = |leaves: &Leaves<R>| {
        let mut layer = layer.clone();
        (layer.kernels, layer.biases) = leaves.parameters(&layer.plan);
        let input = OctMaps::new(leaves.groups.clone(), output, case.octave_axes);
        layer.forward_to(input.expect("the input fits together"), case.size)
    };
    let reference =
        |inputs: &Inputs| crate::nd::transpose(inputs, &case.size, &case.input, &options_of);
    Some(compare(&inputs, options, true, run, reference))
}
