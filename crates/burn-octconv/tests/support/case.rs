//! Random configurations, and the comparison of the layer with the reference.

use burn::{
    module::Param,
    nn::PaddingConfig2d,
    tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData},
};
use burn_octconv::{Downsample, Exchange, OctConv2d, OctConv2dConfig, OctFeatures, Upsample, ops};
use proptest::prelude::*;

use super::reference::{Inputs, Map, NAMES, Options, Pad, octconv};

/// A configuration with an input for it.
#[derive(Debug, Clone)]
pub struct Case {
    pub config: OctConv2dConfig,
    pub batch: usize,
    pub size: [usize; 2],
    pub seed: u64,
}

/// A share of low-frequency channels that rounds to `low` of `total`.
pub fn alpha(low: usize, total: usize) -> f64 {
    if low == total {
        1.0
    } else {
        (low as f64 + 0.5) / total as f64
    }
}

/// How large the random maps and kernels get, and what error is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub size: usize,
    pub channels: usize,
    pub tolerance: f64,
}

/// Configurations of every kind: α in 0…1, odd sizes down to 1×1, groups, depthwise, dilation,
/// both strides, all ablations.
pub fn cases(limits: Limits) -> impl Strategy<Value = Case> {
    let channels = 0..=limits.channels;
    let counts = [
        channels.clone(),
        channels.clone(),
        channels.clone(),
        channels,
    ];
    let shape = (
        counts,
        1usize..=3,
        any::<bool>(),
        [1usize..=5, 1usize..=5],
        [1usize..=2, 1usize..=2],
    );
    let method = (
        1usize..=2,
        any::<bool>(),
        prop_oneof![
            Just(Downsample::Average),
            Just(Downsample::Max),
            Just(Downsample::Strided)
        ],
        prop_oneof![Just(Upsample::Nearest), Just(Upsample::Bilinear)],
        prop_oneof![
            4 => Just(Exchange::Both),
            1 => Just(Exchange::HighToLow),
            1 => Just(Exchange::LowToHigh),
            1 => Just(Exchange::Neither)
        ],
        any::<bool>(),
        prop_oneof![
            3 => Just(None),
            1 => [0usize..=3, 0usize..=3, 0usize..=3, 0usize..=3].prop_map(Some)
        ],
    );
    let size = 1..=limits.size;
    let input = (1usize..=2, [size.clone(), size], any::<u64>());
    (shape, method, input).prop_filter_map("an illegal configuration", |(shape, method, input)| {
        let ([high_in, low_in, high_out, low_out], groups, depthwise, kernel, dilation) = shape;
        let (stride, strided, down, up, exchange, bias, padding) = method;
        let (batch, size, seed) = input;
        let (split_in, split_out, groups) = if depthwise && groups == 3 {
            let split = [high_in, low_in];
            (split, split, high_in + low_in)
        } else {
            let scale = |c: [usize; 2]| c.map(|c| c * groups);
            (scale([high_in, low_in]), scale([high_out, low_out]), groups)
        };
        let [total_in, total_out] = [split_in, split_out].map(|s| s[0] + s[1]);
        if total_in == 0 || total_out == 0 {
            return None;
        }
        let padding = match padding {
            None => PaddingConfig2d::Same,
            Some([top, left, bottom, right]) => PaddingConfig2d::Explicit(top, left, bottom, right),
        };
        let config = OctConv2dConfig::new([total_in, total_out], kernel)
            .with_stride([stride; 2])
            .with_dilation(dilation)
            .with_groups(groups)
            .with_padding(padding)
            .with_bias(bias)
            .with_alpha_in(alpha(split_in[1], total_in))
            .with_alpha_out(alpha(split_out[1], total_out))
            .with_strided(strided)
            .with_downsample(down)
            .with_upsample(up)
            .with_exchange(exchange);
        let case = Case {
            config,
            batch,
            size,
            seed,
        };
        (case.config.validate().is_ok() && case.kernel_fits()).then_some(case)
    })
}

impl Case {
    /// Whether the padded maps are at least as large as the dilated kernel, everywhere.
    fn kernel_fits(&self) -> bool {
        let PaddingConfig2d::Explicit(top, left, bottom, right) = self.config.padding else {
            return true;
        };
        // The smallest map that any path reads lies two octaves below the input.
        [(0, top + bottom), (1, left + right)]
            .into_iter()
            .all(|(axis, pad)| {
                let extent = self.config.dilation[axis] * (self.config.kernel_size[axis] - 1) + 1;
                self.size[axis].div_ceil(4) + pad >= extent
            })
    }

    pub fn options(&self) -> Options {
        Options {
            stride: self.config.stride[0],
            strided: self.config.strided,
            padding: match self.config.padding {
                PaddingConfig2d::Explicit(top, left, bottom, right) => {
                    [Pad::Explicit(top, bottom), Pad::Explicit(left, right)]
                }
                _ => [Pad::Same; 2],
            },
            dilation: self.config.dilation,
            downsample: self.config.downsample,
            upsample: self.config.upsample,
        }
    }

    /// Random values for the layer's parameters and its input; multiples of 2⁻¹⁶, so that they
    /// are exact in f32.
    pub fn inputs(&self, layer: &OctConv2d) -> Inputs {
        self.inputs_of(layer, 16)
    }

    /// As [`Case::inputs`], multiples of 2^-`bits`, at most 2⁻⁴⁰.
    pub fn inputs_of(&self, layer: &OctConv2d, bits: i32) -> Inputs {
        let mut random = Random(self.seed);
        let mut map = |dims: [usize; 4]| {
            let mut map = Map::zeros(dims);
            map.data.iter_mut().for_each(|x| *x = random.next());
            map
        };
        let half = self.size.map(|s| s.div_ceil(2));
        let mut input = |channels: usize, [height, width]: [usize; 2]| {
            (channels > 0).then(|| map([self.batch, channels, height, width]))
        };
        let high = input(layer.input().high, self.size);
        let low = input(layer.input().low, half);
        let mut kernel =
            |param: &Option<Param<Tensor<4>>>| param.as_ref().map(|param| map(param.dims()));
        let [h2h, h2l, l2h, l2l] =
            [&layer.h2h, &layer.h2l, &layer.l2h, &layer.l2l].map(&mut kernel);
        let mut bias = |param: &Option<Param<Tensor<1>>>| {
            param.as_ref().map(|param| map([1, param.dims()[0], 1, 1]))
        };
        let [bias_high, bias_low] = [&layer.bias_high, &layer.bias_low].map(&mut bias);
        Inputs {
            high,
            low,
            h2h,
            h2l,
            l2h,
            l2l,
            bias_high,
            bias_low,
        }
        .rounded(bits)
    }
}

/// A small generator, so that a case is reproduced by its seed on any backend (splitmix64,
/// Steele et al., 2014).
pub struct Random(pub u64);

impl Random {
    /// Uniform in [−1, 1), a multiple of 2⁻⁴⁰.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 23) as f64 * f64::powi(2.0, -40) - 1.0
    }
}

/// A tensor on a device, in the device's type of float or in the one that `options` names.
pub fn tensor<const D: usize>(
    map: &Map,
    dims: [usize; D],
    options: impl Into<TensorCreationOptions>,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(map.data.clone(), dims), options)
}

pub fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor
        .into_data()
        .convert::<f64>()
        .try_to_vec()
        .expect("a tensor of floats")
}

/// The largest error of `actual`, relative to the sums of magnitudes that it is made of.
pub fn worst(actual: &[f64], expected: &Map, magnitude: &Map) -> f64 {
    assert_eq!(actual.len(), expected.data.len());
    let errors = actual.iter().zip(&expected.data).zip(&magnitude.data);
    errors
        .map(|((a, e), m)| (a - e).abs() / m.max(1e-6))
        // A NaN must not vanish in a maximum.
        .fold(0.0, |worst: f64, error| {
            if error.is_nan() {
                f64::INFINITY
            } else {
                worst.max(error)
            }
        })
}

/// A layer on a device, with the tensors that are to be differentiated.
pub struct Run {
    pub output: OctFeatures,
    leaves: Vec<(&'static str, Leaf)>,
    options: TensorCreationOptions,
}

enum Leaf {
    Four(Tensor<4>),
    One(Tensor<1>),
}

/// How a layer is computed.
pub type Form = fn(&OctConv2d, OctFeatures) -> OctFeatures;

/// As users get it: by an engine where there is one.
pub fn as_built(layer: &OctConv2d, input: OctFeatures) -> OctFeatures {
    layer.forward(input)
}

/// By Burn's primitive operations.
pub fn composed(layer: &OctConv2d, input: OctFeatures) -> OctFeatures {
    ops::composed::octconv2d(input, layer.kernels(), &layer.plan)
}

/// Computes the layer from the values of `inputs`, on the device and in the type of `options`.
pub fn run(
    size: [usize; 2],
    layer: &OctConv2d,
    inputs: &Inputs,
    options: impl Into<TensorCreationOptions>,
    form: Form,
) -> Run {
    let options = options.into();
    let mut leaves = Vec::new();
    let leaf4 = |map: &Map| tensor(map, map.dims, options.clone()).require_grad();
    let mut layer = layer.clone();
    for (name, param, map) in [
        ("h2h", &mut layer.h2h, &inputs.h2h),
        ("h2l", &mut layer.h2l, &inputs.h2l),
        ("l2h", &mut layer.l2h, &inputs.l2h),
        ("l2l", &mut layer.l2l, &inputs.l2l),
    ] {
        if let Some(map) = map {
            let leaf = leaf4(map);
            *param = Some(Param::from_tensor(leaf.clone()));
            let value = param.as_ref().expect("just set").val();
            leaves.push((name, Leaf::Four(value)));
        }
    }
    for (name, param, map) in [
        ("bias_high", &mut layer.bias_high, &inputs.bias_high),
        ("bias_low", &mut layer.bias_low, &inputs.bias_low),
    ] {
        if let Some(map) = map {
            let leaf = tensor(map, [map.dims[1]], options.clone()).require_grad();
            *param = Some(Param::from_tensor(leaf));
            let value = param.as_ref().expect("just set").val();
            leaves.push((name, Leaf::One(value)));
        }
    }
    let mut input = |name, map: &Option<Map>| {
        map.as_ref().map(|map| {
            let leaf = leaf4(map);
            leaves.push((name, Leaf::Four(leaf.clone())));
            leaf
        })
    };
    let (high, low) = (input("high", &inputs.high), input("low", &inputs.low));
    let features = OctFeatures::try_new(high, low, size).expect("the input fits together");
    Run {
        output: form(&layer, features),
        leaves,
        options,
    }
}

impl Run {
    /// The derivatives of Σ weights · output by everything that was read. What no path reads has
    /// none.
    pub fn gradients(self, weights: &[Option<Map>; 2]) -> Vec<(&'static str, Option<Vec<f64>>)> {
        let (high, low) = self.output.into_parts();
        let product = |y: Option<Tensor<4>>, g: &Option<Map>| {
            y.zip(g.as_ref())
                .map(|(y, g)| (y * tensor(g, g.dims, self.options.clone())).sum())
        };
        let loss = match (product(high, &weights[0]), product(low, &weights[1])) {
            (Some(a), Some(b)) => a + b,
            (a, b) => a.or(b).expect("there is an output"),
        };
        let gradients = loss.backward();
        let gradient = |leaf| match leaf {
            Leaf::Four(leaf) => leaf.grad(&gradients).map(read),
            Leaf::One(leaf) => leaf.grad(&gradients).map(read),
        };
        let leaves = self.leaves.into_iter();
        leaves.map(|(name, leaf)| (name, gradient(leaf))).collect()
    }
}

/// Largest relative errors of a case.
#[derive(Debug, Clone, Copy, Default)]
pub struct Errors {
    pub forward: f64,
    pub backward: f64,
}

/// Compares the layer on `device` with the reference, forward and backward.
pub fn compare(case: &Case, device: &Device, form: Form) -> Errors {
    compare_in(case, device, 16, None, form)
}

/// As [`compare`], with tensors of the type `dtype` that hold multiples of 2^-`bits`.
pub fn compare_in(
    case: &Case,
    device: &Device,
    bits: i32,
    dtype: Option<DType>,
    form: Form,
) -> Errors {
    let device = device.clone().autodiff();
    let layer = case
        .config
        .try_init(&device)
        .expect("the configuration is legal");
    let inputs = case.inputs_of(&layer, bits);
    let options = case.options();
    let mut target = TensorCreationOptions::from(&device);
    target.dtype = dtype;
    let run = run(case.size, &layer, &inputs, target, form);

    let expected = octconv(&inputs, case.size, &options, None);
    let forward = output_error(case, &inputs, &options, &run.output, &expected);
    Errors {
        forward: forward.expect("the layer's output has the shape of the reference"),
        backward: backward_error(case, &inputs, &expected, run, bits),
    }
}

/// The error of the output alone against a reference with `options`, which may be other than
/// those of the case; `None` if not even the shapes agree.
pub fn forward_error(case: &Case, options: &Options, device: &Device) -> Option<f64> {
    let device = &device.clone().autodiff();
    let layer = case
        .config
        .try_init(device)
        .expect("the configuration is legal");
    let inputs = case.inputs(&layer);
    let output = run(case.size, &layer, &inputs, device, as_built).output;
    let expected = std::panic::catch_unwind(|| octconv(&inputs, case.size, options, None)).ok()?;
    output_error(case, &inputs, options, &output, &expected)
}

fn output_error(
    case: &Case,
    inputs: &Inputs,
    options: &Options,
    output: &OctFeatures,
    expected: &[Option<Map>; 2],
) -> Option<f64> {
    let magnitude = octconv(&inputs.magnitudes(), case.size, options, None);
    let mut largest = 0.0f64;
    for ((actual, expected), magnitude) in [output.high(), output.low()]
        .into_iter()
        .zip(expected)
        .zip(&magnitude)
    {
        match (actual, expected, magnitude) {
            (Some(actual), Some(expected), Some(magnitude)) if actual.dims() == expected.dims => {
                largest = largest.max(worst(&read(actual.clone()), expected, magnitude));
            }
            (None, None, None) => {}
            _ => return None,
        }
    }
    Some(largest)
}

/// The loss is the product of the output with random weights, and so linear in every single
/// input tensor: its derivative along a random direction is an exact difference of reference
/// values, whatever the step.
fn backward_error(
    case: &Case,
    inputs: &Inputs,
    expected: &[Option<Map>; 2],
    run: Run,
    bits: i32,
) -> f64 {
    let options = case.options();
    let mut random = Random(!case.seed);
    let mut noise = |dims: [usize; 4]| {
        let mut map = Map::zeros(dims);
        map.data.iter_mut().for_each(|x| *x = random.next());
        map.rounded(bits)
    };
    let weights = [&expected[0], &expected[1]].map(|y| y.as_ref().map(|y| noise(y.dims)));

    let value = |inputs: &Inputs, selector: Option<&Map>, weights: &[Option<Map>; 2]| -> f64 {
        let outputs = octconv(inputs, case.size, &options, selector);
        let pairs = outputs.iter().zip(weights);
        pairs
            .filter_map(|(y, g)| Some(y.as_ref()?.dot(g.as_ref()?)))
            .sum()
    };
    let absolute = weights.clone().map(|g| g.map(|g| g.map(f64::abs)));
    let mut worst = 0.0f64;
    for (name, gradient) in run.gradients(&weights) {
        let part = NAMES.iter().position(|n| *n == name).expect("a known name");
        let point = inputs.parts()[part].clone().expect("the leaf has a value");
        let direction = noise(point.dims);
        // An input that no path reads has no gradient at all.
        let actual: f64 = gradient.map_or(0.0, |gradient| {
            gradient
                .iter()
                .zip(&direction.data)
                .map(|(g, v)| g * v)
                .sum()
        });
        let along = |sign: f64| {
            let mut moved = inputs.clone();
            *moved.parts_mut()[part] = Some(point.zip(&direction, |x, v| x + sign * v));
            value(&moved, inputs.high.as_ref(), &weights)
        };
        let expected = (along(1.0) - along(-1.0)) / 2.0;
        let mut bound = inputs.magnitudes();
        *bound.parts_mut()[part] = Some(direction.map(f64::abs));
        let magnitude = value(&bound, None, &absolute);
        let error = (actual - expected).abs() / magnitude.max(1e-6);
        worst = if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        };
    }
    worst
}
