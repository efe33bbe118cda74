#!/usr/bin/env python3
"""Puts exported networks through the tools of ONNX, ONNX Runtime, OpenVINO and safetensors.

    pip install torch safetensors onnx onnxruntime openvino sympy pillow numpy
    cargo build --release -p octresnet --features onnx
    target/release/octresnet train --output /tmp/emoji
    OCTRESNET_EXAMPLES=/tmp/examples cargo test --release --workspace --test pytorch
    python scripts/check_exports.py target/release/octresnet \\
        /tmp/examples/*_0.5_{64x64,32x32}.safetensors /tmp/emoji

The test leaves a narrow network of each architecture in that folder; its weights are random. A run is
also asked for the classes of its validation pictures, in single precision and in int8.

Each network is exported by the command. Then

- ONNX's checker passes, and its strict shape inference and the symbolic one of ONNX Runtime give every
  value a shape that leaves nothing open but the batch;
- ONNX Runtime computes the same logits of 1, 3 and 17 images as of each alone, and so does OpenVINO;
- safetensors that went through burnpack load with `strict=True` into a module which has the tensors of
  the first file, and its logits are those (the networks are `tests/fixtures/family.py`);
- ONNX Runtime quantises it to int8, statically, calibrated on the training pictures, and dynamically.

Prints a Markdown table of the largest differences of logits, relative to the largest logit, and for
int8 that of the whole vectors, ‖int8 − f32‖ / ‖f32‖.
"""

import argparse
import functools
import json
import logging
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
import openvino
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
from PIL import Image
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "crates/burn-octresnet/tests/fixtures"))

from family import Network  # noqa: E402

EMOJI = ROOT / "examples/data/emoji"
BATCHES = (1, 3, 17)
CALIBRATION = 240
# Of the largest logit: a wrong layer shows as 1e-2 or more.
TOLERANCE = 1e-4
# Points of top-1 that int8 may cost.
POINTS = 1.0


class Family(torch.nn.Module):
    """A network of the family with the tensors that a state dict names."""

    def __init__(self, arch, alpha, state):
        super().__init__()
        self.arch, self.alpha = arch, alpha
        for name, tensor in state.items():
            *parents, last = name.split(".")
            module = self
            for parent in parents:
                if parent not in dict(module.named_children()):
                    module.add_module(parent, torch.nn.Module())
                module = module.get_submodule(parent)
            module.register_buffer(last, torch.zeros_like(tensor))

    @torch.no_grad()
    def forward(self, images):
        return Network(self.arch, self.alpha, self.state_dict())(images)


class Pictures(CalibrationDataReader):
    def __init__(self, images):
        self.images = iter(images)

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"images": image[None]}


@functools.cache
def pictures(folder, size):
    """The bundled pictures as validation sees them, and the number of each one's class."""
    images, labels = [], []
    for label, group in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(group.iterdir()):
            image = Image.open(path).convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
            images.append(numpy.asarray(image.resize((size, size), Image.BILINEAR), numpy.float32))
            labels.append(label)
    mean, deviation = numpy.float32([0.485, 0.456, 0.406]), numpy.float32([0.229, 0.224, 0.225])
    images = (numpy.stack(images) / 255 - mean) / deviation
    return numpy.ascontiguousarray(images.transpose(0, 3, 1, 2)), numpy.array(labels)


def check_shapes(model, inferred):
    """Every value has a shape in which at most the batch is open, and the logits' has its name."""
    values = list(inferred.graph.value_info) + list(inferred.graph.output)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in values}
    for node in model.graph.node:
        for name in node.output:
            assert all(axis.HasField("dim_value") for axis in shapes[name][1:]), name
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert batch and shapes["logits"][0].dim_param == batch


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    one = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: one.run(["logits"], {"images": images})[0]


def in_openvino(path):
    compiled = openvino.compile_model(
        openvino.convert_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda images: compiled(images)[0]


def difference(ours, theirs):
    return float(numpy.abs(ours - theirs).max() / numpy.abs(theirs).max())


def distance(ours, theirs):
    return float(numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs))


def top1(run, images, labels):
    logits = numpy.concatenate([run(batch) for batch in numpy.array_split(images, 16)])
    return 100 * float((logits.argmax(1) == labels).mean())


class Check:
    def __init__(self, command, model, folder):
        self.command, self.model, self.folder = command, model, folder
        self.is_run = model.is_dir()
        self.arch, self.alpha = self.convert(model, "first.safetensors")
        self.state = load_file(folder / "first.safetensors")
        self.size = 32 if model.stem.endswith("32x32") else 64

    def octresnet(self, *arguments):
        output = subprocess.run(
            [self.command, *map(str, arguments)], cwd=self.folder, check=True, stdout=subprocess.PIPE
        )
        return output.stdout

    def convert(self, source, target):
        found = json.loads(self.octresnet("convert", source, target, "--json"))
        return found["arch"], found["alpha"]

    def shapes(self, path):
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(path)
        inferred = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
        check_shapes(model, inferred)
        check_shapes(model, SymbolicShapeInference.infer_shapes(model))

    def batches(self, run, alone, images):
        """The largest difference between images at once, by `run`, and each alone."""
        return max(difference(run(images[:count]), alone[:count]) for count in BATCHES)

    def strict(self, images):
        self.convert("first.safetensors", "middle.bpk")
        self.convert("middle.bpk", "last.safetensors")
        module = Family(self.arch, self.alpha, self.state)
        module.load_state_dict(load_file(self.folder / "last.safetensors"), strict=True)
        return module(torch.from_numpy(images)).numpy()

    def int8(self, path):
        """The network in int8, quantised statically and dynamically."""
        prepared, static, dynamic = (
            self.folder / f"{name}.onnx" for name in ("prepared", "static", "dynamic")
        )
        quant_pre_process(str(path), str(prepared))
        images, _ = pictures(EMOJI / "train", self.size)
        chosen = images[:: max(1, len(images) // CALIBRATION)]
        quantize_static(
            str(prepared),
            str(static),
            Pictures(chosen),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
        )
        quantize_dynamic(str(prepared), str(dynamic), weight_type=QuantType.QUInt8)
        return session(static), session(dynamic)

    def row(self):
        path = self.folder / "model.onnx"
        self.octresnet("export", self.model, path, "--size", self.size)
        self.shapes(path)
        images, labels = pictures(EMOJI / "val", self.size)
        few = images[:: len(images) // max(BATCHES)][: max(BATCHES)]
        run = session(path)
        alone = numpy.concatenate([run(image[None]) for image in few])
        exact = [
            self.batches(run, alone, few),
            self.batches(in_openvino(path), alone, few),
            difference(self.strict(few), alone),
        ]
        cells = [f"{value:.1e}" for value in exact]
        passed = max(exact) < TOLERANCE
        quantised = self.int8(path)
        if self.is_run:
            single = top1(run, images, labels)
            for int8 in quantised:
                share = top1(int8, images, labels)
                passed &= abs(single - share) <= POINTS
                cells.append(f"{share:.1f} % (f32: {single:.1f} %)")
        else:
            cells += [f"{distance(int8(few), alone):.2f}" for int8 in quantised]
        name = f"`{self.arch}`, trained" if self.is_run else f"`{self.model.stem.split('_')[0]}`"
        return f"| {name} | {' | '.join(cells)} |", passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", type=pathlib.Path)
    parser.add_argument("models", type=pathlib.Path, nargs="+", help="runs and files of weights")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    versions = (onnx, onnxruntime, openvino, torch)
    print(", ".join(f"{module.__name__} {module.__version__}" for module in versions))
    print("| network | batches of 1, 3, 17 | OpenVINO | PyTorch | int8, static | int8, dynamic |")
    print("|---|---|---|---|---|---|")
    failed = []
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            check = Check(arguments.command.resolve(), model.resolve(), pathlib.Path(folder))
            row, passed = check.row()
        print(row, flush=True)
        if not passed:
            failed.append(str(model))
    if failed:
        raise SystemExit(f"beyond the tolerance: {', '.join(failed)}")


if __name__ == "__main__":
    main()
