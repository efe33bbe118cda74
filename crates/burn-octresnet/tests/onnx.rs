//! Every network written as ONNX. What is written is run by `support/onnx_runtime.rs`, and the logits
//! are also those that ONNX Runtime, asked by `fixtures/make_logits.py`, computes from the files.

#![cfg(feature = "onnx")]

#[path = "support/examples.rs"]
mod examples;
#[path = "support/onnx_runtime.rs"]
mod onnx_runtime;

use std::{collections::BTreeMap, fs, path::Path};

use burn::{
    module::Module,
    tensor::{Device, Distribution, Tensor},
};
use burn_octconv::{OctConv1d, OctConv1dConfig};
use burn_octresnet::{
    model::{Alpha, Arch, OctNet, Stride},
    weights::WeightsError,
};
use burn_onnx::export::OnnxExporter;
use examples::{Example, difference, examples, folder, logits};
use onnx_ir::{Message, ModelProto};
use onnx_runtime::Array;

/// The network with its norms folded and as they are.
fn forms(example: &Example) -> [(String, OctNet); 2] {
    let name = example.name();
    let folded = example.model().fold_batch_norm();
    [(format!("{name}_norms"), example.model()), (name, folded)]
}

/// Any number of images, but where burn-onnx cannot prove that it may be: with gates before strided
/// 3×3 convolutions of maps of odd size.
fn batch(example: &Example) -> Option<usize> {
    let Example { config, size } = example;
    let gated = config.arch == Arch::OctSeResNet50V2;
    let refused = gated && config.alpha.is_vanilla() && size[0] % 2 == 1;
    refused.then_some(2)
}

fn read(path: &Path) -> ModelProto {
    ModelProto::parse_from_bytes(&fs::read(path).unwrap()).unwrap()
}

/// The logits of the file.
fn run(model: &ModelProto, images: Tensor<4>) -> Vec<f64> {
    let input = Array {
        shape: images.dims().to_vec(),
        data: images.into_data().iter().collect(),
    };
    onnx_runtime::run(model, input).data
}

/// How often each operation occurs.
fn operations(model: &ModelProto) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in &model.graph.node {
        *counts.entry(node.op_type.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn every_network_runs_elsewhere() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder().unwrap_or_else(|| temporary.path().into());
    let theirs = logits("onnxruntime");
    let (mut worst, mut wrong) = ([0.0f64; 2], Vec::new());
    for example in examples() {
        for (name, model) in forms(&example) {
            let path = folder.join(format!("{name}.onnx"));
            model
                .save_onnx(&path, batch(&example), example.size)
                .unwrap();
            let written = read(&path);
            let ours = model.forward(example.images());
            let here = difference(ours.clone(), &run(&written, example.images()));
            let there = theirs.get(&name);
            let there = there.map_or(f64::INFINITY, |theirs| difference(ours, theirs));
            println!("{name:44} here {here:.1e}, ONNX Runtime {there:.1e}");
            if !(here < 1e-4 && there < 1e-4) {
                wrong.push(name);
            }
            worst = [worst[0].max(here), worst[1].max(there)];
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let [here, there] = worst;
    println!("at most {here:.1e} here, {there:.1e} in ONNX Runtime, of the largest logit");
}

/// Blocks of every kind that has more than two frequencies, strides either way.
#[test]
fn networks_of_three_frequencies_and_other_strides_run_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let three = Alpha::parse_shares("0.5,0.25,0.25").unwrap();
    for (arch, alpha, stride) in [
        (Arch::OctResNet26, three, Stride::Auto),
        (Arch::OctResNet26V2, three, Stride::Auto),
        (Arch::OctResNet20, three, Stride::Auto),
        (Arch::OctResNet20, Alpha::Uniform(0.5), Stride::Strided),
        (Arch::OctResNet26, Alpha::Uniform(0.0), Stride::Pooled),
    ] {
        let usual = small(arch, 0.5);
        for size in [usual.size, usual.size.map(|side| side - 13)] {
            let config = usual.config.clone().with_alpha(alpha).with_stride(stride);
            let example = Example { config, size };
            for (name, model) in forms(&example) {
                model.save_onnx(&path, None, size).unwrap();
                let here = run(&read(&path), example.images());
                let off = difference(model.forward(example.images()), &here);
                assert!(off < 1e-4, "{name}, stride {stride}: {off}");
            }
        }
    }
}

/// Two layers over one axis, in three frequencies in between.
#[derive(Module, Debug)]
struct Signals {
    first: OctConv1d,
    last: OctConv1d,
}

impl Signals {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.first.forward(x).relu();
        self.last.forward(x).into_full()
    }
}

#[test]
fn layers_over_one_axis_run_elsewhere() {
    let device = Device::flex();
    let (plain, shares) = (vec![1.0], vec![0.5, 0.25, 0.25]);
    let first = OctConv1dConfig::new([3, 16], [5]).with_shares_in(plain.clone());
    let last = OctConv1dConfig::new([16, 4], [5]).with_shares_in(shares.clone());
    let model = Signals {
        first: first.with_shares_out(shares).init(&device),
        last: last.with_shares_out(plain).init(&device),
    };
    let x = Tensor::<3>::random([2, 3, 37], Distribution::Default, &device);
    let zeros = Tensor::zeros([2, 3, 37], &device);
    let written = OnnxExporter::new().export(&model, zeros, Signals::forward);
    let written = ModelProto::parse_from_bytes(written.unwrap().as_bytes()).unwrap();
    let input = Array {
        shape: x.dims().to_vec(),
        data: x.clone().into_data().iter().collect(),
    };
    let here = onnx_runtime::run(&written, input);
    assert_eq!(here.shape, [2, 4, 37]);
    for (ours, here) in model.forward(x).into_data().iter::<f64>().zip(here.data) {
        assert!((ours - here).abs() < 1e-5, "{ours} {here}");
    }
}

fn small(arch: Arch, alpha: f64) -> Example {
    let mut found = examples().into_iter().filter(|example| {
        example.config.arch == arch && example.config.alpha == Alpha::Uniform(alpha)
    });
    found.next().unwrap()
}

#[test]
fn folded_networks_have_no_norms_and_vanilla_ones_no_octaves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for (arch, alpha, kept, folded) in [
        (Arch::OctResNet26, 0.0, 29, 0),
        (Arch::OctResNet26, 0.5, 29 + 21, 0),
        // A norm that reads a sum has no convolution to go into.
        (Arch::OctResNet26V2, 0.0, 30, 13),
        (Arch::OctMobileNetV2, 0.5, 53 + 26, 0),
    ] {
        let example = small(arch, alpha);
        let counts = forms(&example).map(|(_, model)| {
            model.save_onnx(&path, Some(1), example.size).unwrap();
            let written = read(&path);
            let operations = operations(&written);
            let count = |name: &str| operations.get(name).copied().unwrap_or(0);
            assert_eq!(count("Resize") > 0, alpha > 0.0, "{operations:?}");
            assert_eq!(count("Slice"), 0, "{operations:?}");
            assert_eq!(count("Shape"), count("Resize"), "{operations:?}");
            count("BatchNormalization")
        });
        assert_eq!(counts, [kept, folded], "{arch} at {alpha}");
    }
}

/// ONNX Runtime's quantisation by channels fails at a bias that is a matrix.
#[test]
fn the_biases_of_linear_layers_are_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for arch in [
        Arch::OctResNet20,
        Arch::OctSeResNet50V2,
        Arch::OctMobileNetV2,
    ] {
        let example = small(arch, 0.5);
        example
            .model()
            .save_onnx(&path, None, example.size)
            .unwrap();
        let graph = read(&path).graph.unwrap();
        let tensors = graph.initializer.iter();
        let dims: BTreeMap<_, _> = tensors
            .map(|tensor| (&tensor.name, &tensor.dims[..]))
            .collect();
        let mut products = 0;
        for product in graph.node.iter().filter(|node| node.op_type == "MatMul") {
            let readers = graph
                .node
                .iter()
                .filter(|node| node.input.contains(&product.output[0]));
            let [sum] = readers.collect::<Vec<_>>()[..] else {
                panic!("{product:?}");
            };
            assert_eq!(sum.op_type, "Add");
            assert!(
                matches!(dims.get(&sum.input[1]), Some([_])),
                "{arch}: {sum:?}"
            );
            products += 1;
        }
        assert_eq!(products > 1, arch == Arch::OctSeResNet50V2);
        let inputs: Vec<_> = graph.node.iter().flat_map(|node| &node.input).collect();
        assert!(dims.keys().all(|name| inputs.contains(name)), "{arch}");
    }
}

/// Sizes of some axes are what ONNX Runtime's symbolic shape inference and layouts take for others.
#[test]
fn resizings_have_the_sizes_of_all_axes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let example = small(Arch::OctMobileNetV1, 0.5);
    example
        .model()
        .save_onnx(&path, None, example.size)
        .unwrap();
    let mut count = 0;
    for node in &read(&path).graph.node {
        if node.op_type == "Resize" {
            assert!(
                node.attribute
                    .iter()
                    .all(|attribute| attribute.name != "axes"),
                "{node:?}"
            );
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn inputs_and_outputs_have_names_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let example = small(Arch::OctResNet20, 0.5);
    let model = example.model();
    for batch in [None, Some(3)] {
        model.save_onnx(&path, batch, [32, 24]).unwrap();
        let written = read(&path);
        let graph = &written.graph;
        for (end, name, extents) in [
            (&graph.input[0], "images", &[3, 32, 24][..]),
            (&graph.output[0], "logits", &[7]),
        ] {
            assert_eq!(end.name, name);
            let shape = &end.type_.tensor_type().shape;
            let (first, rest) = shape.dim.split_first().unwrap();
            match batch {
                None => assert_eq!(first.dim_param(), "batch"),
                Some(batch) => assert_eq!(first.dim_value(), batch as i64),
            }
            assert!(
                rest.iter()
                    .map(|dim| dim.dim_value())
                    .eq(extents.iter().copied())
            );
        }
    }
}

#[test]
fn a_network_that_was_written_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let example = small(Arch::OctResNet26, 0.5);
    let model = example
        .model()
        .to_device(&Device::flex().autodiff())
        .train();
    model
        .save_onnx(folder.path().join("model.onnx"), None, [64, 64])
        .unwrap();
    let device = model.devices();
    assert_eq!(device.len(), 1, "{device:?}");
    let images = example.images();
    let expected = example.model().forward(images.clone()).into_data();
    assert_eq!(model.valid().forward(images).into_data(), expected);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let example = small(Arch::OctResNet20, 0.5);
    let write = |path: &str, batch| example.model().save_onnx(path, batch, [32, 32]);
    let error = write("/nowhere/model.onnx", None).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("cannot write `/nowhere/model.onnx`"),
        "{error}"
    );
}
