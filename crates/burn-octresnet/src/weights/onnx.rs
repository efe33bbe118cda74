use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use burn::{module::Module, tensor::Tensor};
use burn_onnx::export::{AxisSpec, ExportError, InputSpec, OnnxExporter, OnnxModel};
use onnx_ir::{
    AttributeProto, AttributeType, GraphProto, Message, ModelProto, NodeProto, TensorProto,
};

use super::WeightsError;
use crate::model::OctNet;

impl OctNet {
    /// Writes the network as ONNX (opset 18), from normalised images `images` of
    /// `[batch, 3, height, width]` to `logits` of `[batch, num_classes]`, for images of
    /// `size = [height, width]`.
    ///
    /// Without a `batch`, the file takes any number of images at a time. The graph is what a
    /// forward pass does, with octave convolutions composed from convolutions, poolings and
    /// resizings, so that every runtime knows its operations.
    /// [`OctNet::fold_batch_norm`] first makes it smaller and faster.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Onnx`] if something cannot be written, [`WeightsError::Io`].
    pub fn save_onnx(
        &self,
        path: impl AsRef<Path>,
        batch: Option<usize>,
        size: [usize; 2],
    ) -> Result<(), WeightsError> {
        let path = path.as_ref();
        let onnx = |message: String| WeightsError::Onnx {
            path: path.into(),
            message,
        };
        let model = record(self, batch, size).map_err(|error| {
            // What the exporter cannot prove of any batch it can of one.
            let advice = match (batch, &error) {
                (None, ExportError::DynamicShapeLost { .. }) => "; give it a fixed batch",
                _ => "",
            };
            onnx(format!("{error}{advice}"))
        })?;
        let bytes = finish(&model).map_err(onnx)?;
        fs::write(path, bytes).map_err(WeightsError::io("write", path))
    }
}

/// Records a forward pass.
fn record(
    model: &OctNet,
    batch: Option<usize>,
    [height, width]: [usize; 2],
) -> Result<OnnxModel, ExportError> {
    // Clones share the running statistics, which are moved to the device that records; this is a
    // network of its own, and without autodiff.
    let model = model.valid();
    let device = model.fc.weight.device();
    let images = |batch: usize| Tensor::<4>::zeros([batch, 3, height, width], &device);
    let exporter = OnnxExporter::new();
    match batch {
        Some(batch) => exporter.export(&model, images(batch), OctNet::forward),
        // What differs between two batches is what the file leaves open.
        None => exporter.export_dynamic(
            &model,
            images(2),
            images(3),
            &[InputSpec::new([
                AxisSpec::dynamic("batch"),
                AxisSpec::Static,
                AxisSpec::Static,
                AxisSpec::Static,
            ])],
            OctNet::forward,
        ),
    }
}

/// Gives names to what goes in and out, which recording only numbers.
fn finish(model: &OnnxModel) -> Result<Vec<u8>, String> {
    let mut model =
        ModelProto::parse_from_bytes(model.as_bytes()).map_err(|error| error.to_string())?;
    let graph = model.graph.mut_or_insert_default();
    for (ends, name) in [(&mut graph.input, "images"), (&mut graph.output, "logits")] {
        let [end] = ends.as_mut_slice() else {
            return Err(format!("{} tensors for `{name}`", ends.len()));
        };
        let numbered = std::mem::replace(&mut end.name, name.into());
        for node in &mut graph.node {
            let tensors = node.input.iter_mut().chain(&mut node.output);
            for tensor in tensors.filter(|tensor| **tensor == numbered) {
                *tensor = name.into();
            }
        }
    }
    say_clip(graph);
    say_sizes(graph);
    say_biases(graph);
    drop_unused(graph);
    model.write_to_bytes().map_err(|error| error.to_string())
}

/// Replaces every ReLU6, which burn-octconv says in six operations that burn-onnx can write, by
/// the one that ONNX has for it.
fn say_clip(graph: &mut GraphProto) {
    const BOUNDS: [(&str, f32); 2] = [("relu6_min", 0.0), ("relu6_max", 6.0)];
    let nodes = std::mem::take(&mut graph.node);
    let mut rest = nodes.as_slice();
    let mut found = false;
    while let Some(first) = rest.first() {
        let chain = rest.get(..6).filter(|chain| is_relu6(chain));
        graph.node.push(match chain {
            None => first.clone(),
            Some(chain) => {
                found = true;
                let mut input = vec![first.input[0].clone()];
                input.extend(BOUNDS.map(|(name, _)| name.to_string()));
                NodeProto {
                    name: first.name.clone(),
                    op_type: "Clip".into(),
                    input,
                    output: chain[5].output.clone(),
                    ..Default::default()
                }
            }
        });
        rest = &rest[chain.map_or(1, <[_]>::len)..];
    }
    let bounds = BOUNDS.map(|(name, bound)| TensorProto {
        name: name.into(),
        data_type: 1, // f32
        raw_data: bound.to_le_bytes().to_vec().into(),
        ..Default::default()
    });
    graph
        .initializer
        .extend(found.then_some(bounds).into_iter().flatten());
}

/// Whether the operations are 6 − max(6 − max(x, 0), 0), one feeding the next.
fn is_relu6(nodes: &[NodeProto]) -> bool {
    let said = nodes.iter().map(|node| node.op_type.as_str());
    said.eq(["Relu", "Neg", "Add", "Relu", "Neg", "Add"])
        && nodes
            .windows(2)
            .all(|two| two[0].output[0] == two[1].input[0])
}

/// Gives every resizing the sizes of all four axes, the first two of which it keeps. Those of two axes,
/// as burn-onnx writes them, are taken for the first two by ONNX Runtime's symbolic shape inference, and
/// lost where it moves channels behind pixels.
fn say_sizes(graph: &mut GraphProto) {
    for mut node in std::mem::take(&mut graph.node) {
        if node.op_type == "Resize" {
            let [maps, sizes] = ["maps", "sizes"].map(|name| format!("{}_{name}", node.output[0]));
            let ends = [("start", 0), ("end", 2)];
            let kept = whole_numbers("Shape", &[&node.input[0]], &maps, &ends);
            let all = whole_numbers("Concat", &[&maps, &node.input[3]], &sizes, &[("axis", 0)]);
            graph.node.extend([kept, all]);
            node.input[3] = sizes;
            node.attribute.retain(|attribute| attribute.name != "axes");
        }
        graph.node.push(node);
    }
}

/// An operation whose attributes are whole numbers.
fn whole_numbers(
    operation: &str,
    input: &[&str],
    output: &str,
    attributes: &[(&str, i64)],
) -> NodeProto {
    let attributes = attributes.iter().map(|&(name, value)| AttributeProto {
        name: name.into(),
        i: value,
        type_: AttributeType::INT.into(),
        ..Default::default()
    });
    NodeProto {
        name: output.into(),
        op_type: operation.into(),
        input: input.iter().map(|name| name.to_string()).collect(),
        output: vec![output.into()],
        attribute: attributes.collect(),
        ..Default::default()
    }
}

/// Adds the bias of a linear layer as the vector that it is. burn-onnx makes it a matrix of one row
/// first, which ONNX Runtime's quantisation by channels takes for a bias of one channel.
fn say_biases(graph: &mut GraphProto) {
    let dims = |name: &String| {
        let mut tensors = graph.initializer.iter();
        let tensor = tensors.find(|tensor| tensor.name == *name)?;
        Some(&tensor.dims[..])
    };
    let products = graph.node.iter().filter(|node| node.op_type == "MatMul");
    let products: HashSet<_> = products.map(|node| node.output[0].clone()).collect();
    let is_row = |node: &&NodeProto| {
        node.op_type == "Reshape"
            && matches!(dims(&node.input[0]), Some([_]))
            && dims(&node.input[1]) == Some(&[2])
    };
    let rows = graph.node.iter().filter(is_row);
    let vectors: HashMap<_, _> = rows
        .map(|node| (node.output[0].clone(), node.input[0].clone()))
        .collect();
    for node in &mut graph.node {
        if node.op_type == "Add"
            && products.contains(&node.input[0])
            && let Some(vector) = vectors.get(&node.input[1])
        {
            node.input[1].clone_from(vector);
        }
    }
}

/// Removes what no operation reads any more.
fn drop_unused(graph: &mut GraphProto) {
    let read = graph.node.iter().flat_map(|node| &node.input);
    let outputs = graph.output.iter().map(|output| &output.name);
    let read: HashSet<_> = read.chain(outputs).cloned().collect();
    let is_read = |name: &String| read.contains(name);
    graph.node.retain(|node| node.output.iter().any(is_read));
    let read = graph.node.iter().flat_map(|node| &node.input);
    let read: HashSet<_> = read.collect();
    graph
        .initializer
        .retain(|tensor| read.contains(&tensor.name));
}
