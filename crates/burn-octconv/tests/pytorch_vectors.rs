//! The layer against PyTorch: outputs and gradients that `scripts/make_octconv_vectors.py` made
//! with the PyPI package `octconv` and with plain `torch` operations.

mod support;

use burn::{
    config::Config,
    tensor::{Device, Tensor},
};
use burn_octconv::OctConv2dConfig;
use safetensors::SafeTensors;
use serde_json::Value;
use support::{
    case::{as_built, read, run},
    reference::{Inputs, Map, NAMES},
};

/// Of `|actual − expected| ≤ TOLERANCE · (1 + |expected|)`.
const TOLERANCE: f64 = 1e-5;

/// The cases of one file.
struct Vectors<'a> {
    tensors: SafeTensors<'a>,
    cases: serde_json::Map<String, Value>,
}

impl<'a> Vectors<'a> {
    fn parse(bytes: &'a [u8]) -> Self {
        let (_, metadata) = SafeTensors::read_metadata(bytes).expect("the file has a header");
        let metadata = metadata.metadata().as_ref().expect("the file has metadata");
        Self {
            tensors: SafeTensors::deserialize(bytes).expect("the file is well-formed"),
            cases: serde_json::from_str(&metadata["cases"]).expect("the cases are a JSON object"),
        }
    }

    /// A tensor as a map; one dimension stands for channels.
    fn get(&self, case: &str, key: &str) -> Option<Map> {
        let view = self.tensors.tensor(&format!("{case}/{key}")).ok()?;
        let floats = view.data().chunks_exact(4);
        Some(Map {
            dims: match *view.shape() {
                [channels] => [1, channels, 1, 1],
                [a, b, c, d] => [a, b, c, d],
                ref shape => panic!("{case}/{key} has shape {shape:?}"),
            },
            data: floats
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into())
                .collect(),
        })
    }

    fn inputs(&self, case: &str) -> Inputs {
        let mut inputs = Inputs::default();
        for (part, name) in inputs.parts_mut().into_iter().zip(NAMES) {
            *part = self.get(case, name);
        }
        inputs
    }

    /// The largest errors of the forward and of the backward pass over all cases.
    fn compare(&self, device: &Device) -> [f64; 2] {
        let device = &device.clone().autodiff();
        let mut worst = [0.0f64; 2];
        for (case, description) in &self.cases {
            let config = description["config"].to_string();
            let config = OctConv2dConfig::load_binary(config.as_bytes())
                .unwrap_or_else(|e| panic!("{case}: {e:?}"));
            let size = [0, 1].map(|axis| {
                let size = description["size"][axis].as_u64();
                size.expect("a size is a number") as usize
            });
            let layer = config
                .try_init(device)
                .unwrap_or_else(|e| panic!("{case}: {e}"));
            let kernels = [&layer.h2h, &layer.h2l, &layer.l2h, &layer.l2l];
            let inputs = self.inputs(case);
            for (kernel, given) in kernels.into_iter().zip(&inputs.parts()[2..6]) {
                let dims = kernel.as_ref().map(|kernel| kernel.dims());
                assert_eq!(dims, given.as_ref().map(|map| map.dims), "{case}");
            }

            let run = run(size, &layer, &inputs, device, as_built);
            let mut check = |pass: usize, key: &str, actual: Option<Vec<f64>>| {
                let expected = self.get(case, key);
                let error = error(actual, expected).unwrap_or_else(|e| panic!("{case}/{key}: {e}"));
                assert!(error < TOLERANCE, "{case}/{key} is off by {error:e}");
                worst[pass] = worst[pass].max(error);
            };
            let values = |group: Option<&Tensor<4>>| group.map(|y| read(y.clone()));
            check(0, "output_high", values(run.output.high()));
            check(0, "output_low", values(run.output.low()));
            let weights = ["weight_high", "weight_low"].map(|key| self.get(case, key));
            for (name, gradient) in run.gradients(&weights) {
                // PyTorch's zeros stand for what is not read at all.
                let key = format!("grad_{name}");
                let gradient = gradient.or_else(|| {
                    let expected = self.get(case, &key)?;
                    Some(vec![0.0; expected.data.len()])
                });
                check(1, &key, gradient);
            }
        }
        worst
    }
}

fn error(actual: Option<Vec<f64>>, expected: Option<Map>) -> Result<f64, String> {
    let (actual, expected) = match (actual, expected) {
        (Some(actual), Some(expected)) => (actual, expected),
        (None, None) => return Ok(0.0),
        (actual, _) => return Err(format!("only one side exists (ours: {})", actual.is_some())),
    };
    if actual.len() != expected.data.len() {
        return Err(format!("{} values, not {:?}", actual.len(), expected.dims));
    }
    let errors = actual
        .iter()
        .zip(&expected.data)
        .map(|(a, e)| (a - e).abs() / (1.0 + e.abs()));
    Ok(errors.fold(0.0, |worst: f64, error| {
        if error.is_nan() {
            f64::INFINITY
        } else {
            worst.max(error)
        }
    }))
}

fn agree(name: &str, bytes: &[u8], count: usize) {
    let vectors = Vectors::parse(bytes);
    assert_eq!(vectors.cases.len(), count);
    let [forward, backward] = vectors.compare(&Device::flex());
    println!("{name}: {count} cases, worst error {forward:.1e} forward, {backward:.1e} backward");
}

#[test]
fn agrees_with_the_octconv_package() {
    agree(
        "octconv package",
        include_bytes!("vectors/octconv_package.safetensors"),
        8,
    );
}

#[test]
fn agrees_with_plain_torch_operations() {
    agree(
        "torch operations",
        include_bytes!("vectors/torch_ops.safetensors"),
        25,
    );
}
