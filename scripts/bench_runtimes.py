#!/usr/bin/env python3
"""Times networks in PyTorch, ONNX Runtime and OpenVINO, beside `octresnet bench`.

Oct-ResNet-50 and ResNet-50 are written here from the equations of the paper (Chen et al., "Drop an Octave",
https://arxiv.org/abs/1904.05049): 2x2 average pooling, nearest up-sampling, stride 2 by pooling.
The vanilla network is the same code at alpha 0, with strided convolutions. Norms stay in the
exported graph, so each runtime folds them in its own way.

    pip install torch onnxruntime openvino onnx onnxscript numpy
    scripts/bench_runtimes.py --batch 1,8 --octresnet target/release/octresnet
    scripts/bench_runtimes.py --mode train --batch 8 --octresnet target/release/octresnet

With --arch it is another network of the family, with random weights that octresnet writes and the
second implementation that tests use (crates/burn-octresnet/tests/fixtures/family.py).

Everything runs in turns, a few runs of each per round. Prints one JSON object per batch size:
{"arch","mode","batch","size","threads","versions","rows":[{"name","alpha","median_ms","min_ms","max_ms"}]};
for `octresnet` the median is that of the medians of its rounds. Exported networks are kept in
--folder; --prepare only exports, so that a measurement afterwards is short.
"""

import argparse
import functools
import json
import logging
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
DEFAULT = "oct-resnet-50"
ALPHAS = (0.0, 0.5)
RUNTIMES = ("torch", "torch-channels-last", "onnxruntime", "openvino")


def networks():
    """A function that builds the network for an alpha. Imports torch, which takes seconds."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def pool(x):
        return None if x is None else F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)

    def each(f, x):
        return tuple(None if group is None else f(group) for group in x)

    def add(a, b):
        return b if a is None else a if b is None else a + b

    class OctConv(nn.Module):
        def __init__(self, c_in, c_out, kernel, stride, alpha_in, alpha_out, strided):
            super().__init__()
            low_in, low_out = int(alpha_in * c_in), int(alpha_out * c_out)
            self.pools = stride == 2 and not strided

            def path(c_from, c_to):
                if c_from == 0 or c_to == 0:
                    return None
                step = stride if strided else 1
                return nn.Conv2d(c_from, c_to, kernel, step, kernel // 2, bias=False)

            self.hh, self.hl = path(c_in - low_in, c_out - low_out), path(c_in - low_in, low_out)
            self.lh, self.ll = path(low_in, c_out - low_out), path(low_in, low_out)

        def forward(self, x):
            high, low = x
            to_high = low
            if self.pools:
                high, low = pool(high), pool(low)
            y_high = self.hh(high) if self.hh else None
            if self.lh:
                from_low = self.lh(to_high)
                if not self.pools:
                    from_low = F.interpolate(from_low, scale_factor=2, mode="nearest")
                y_high = add(y_high, from_low[..., : high.shape[2], : high.shape[3]])
            y_low = self.ll(low) if self.ll else None
            if self.hl:
                y_low = add(y_low, self.hl(pool(high)))
            return y_high, y_low

    class ConvNorm(nn.Module):
        def __init__(self, c_in, c_out, kernel, stride, alpha_in, alpha_out, strided):
            super().__init__()
            self.conv = OctConv(c_in, c_out, kernel, stride, alpha_in, alpha_out, strided)
            low = int(alpha_out * c_out)
            self.high = nn.BatchNorm2d(c_out - low)
            self.low = nn.BatchNorm2d(low) if low else None

        def forward(self, x):
            high, low = self.conv(x)
            return self.high(high), None if low is None else self.low(low)

    class Bottleneck(nn.Module):
        def __init__(self, c_in, planes, stride, alpha_in, alpha, strided):
            super().__init__()
            c_out = 4 * planes
            self.a = ConvNorm(c_in, planes, 1, 1, alpha_in, alpha, strided)
            self.b = ConvNorm(planes, planes, 3, stride, alpha, alpha, strided)
            self.c = ConvNorm(planes, c_out, 1, 1, alpha, alpha, strided)
            projects = c_in != c_out or stride != 1
            self.shortcut = (
                ConvNorm(c_in, c_out, 1, stride, alpha_in, alpha, strided) if projects else None
            )

        def forward(self, x):
            y = each(F.relu, self.a(x))
            y = self.c(each(F.relu, self.b(y)))
            x = self.shortcut(x) if self.shortcut else x
            return each(F.relu, tuple(map(add, y, x)))

    class ResNet50(nn.Module):
        def __init__(self, alpha):
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 64, 7, 2, 3, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, 1),
            )
            blocks, c_in, alpha_in = [], 64, 0.0
            for stage, count in enumerate((3, 4, 6, 3)):
                planes, share = 64 << stage, alpha if stage < 3 else 0.0
                for block in range(count):
                    stride = 2 if block == 0 and stage > 0 else 1
                    strided = alpha == 0.0
                    blocks.append(Bottleneck(c_in, planes, stride, alpha_in, share, strided))
                    c_in, alpha_in = 4 * planes, share
            self.blocks = nn.ModuleList(blocks)
            self.fc = nn.Linear(2048, 1000)

        def forward(self, images):
            x = self.stem(images), None
            for block in self.blocks:
                x = block(x)
            return self.fc(x[0].mean((2, 3)))

    def build(alpha):
        torch.manual_seed(0)
        model = ResNet50(alpha)
        assert sum(p.numel() for p in model.parameters()) == 25_557_032
        return model

    return build


def exported(arguments, batch, alpha):
    """The path of the exported network, which is written if it is not there yet."""
    import torch

    name = arguments.arch.removeprefix("oct-")
    path = os.path.join(arguments.folder, f"{name}-{alpha}-{batch}-{arguments.size}.onnx")
    if not os.path.exists(path):
        os.makedirs(arguments.folder, exist_ok=True)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        images = torch.randn(batch, 3, arguments.size, arguments.size)
        export(torch, builder(arguments)(alpha).eval(), images, path)
    return path


def builder(arguments):
    """A function that builds the network for an alpha."""
    return networks() if arguments.arch == DEFAULT else functools.partial(family, arguments)


def family(arguments, alpha):
    """A network of the family, for inference, with random weights of octresnet."""
    import torch
    from safetensors.torch import load_file

    sys.path.insert(0, os.path.join(ROOT, "crates/burn-octresnet/tests/fixtures"))
    from family import Network

    os.makedirs(arguments.folder, exist_ok=True)
    path = os.path.join(arguments.folder, f"{arguments.arch}-{alpha}.safetensors")
    if not os.path.exists(path):
        command = [arguments.octresnet, "bench", "infer", "--arch", arguments.arch]
        command += ["--alpha", str(alpha), "--weights", path, "--runs", "1", "--json"]
        subprocess.run(command, check=True, capture_output=True)

    class Family(torch.nn.Module):
        def __init__(self, state):
            super().__init__()
            self.names = {name: name.replace(".", "/") for name in state}
            for name, tensor in state.items():
                self.register_buffer(self.names[name], tensor)

        def forward(self, images):
            state = {name: getattr(self, buffer) for name, buffer in self.names.items()}
            return Network(arguments.arch, alpha, state)(images)

    return Family(load_file(path))


def contenders(arguments, batch):
    """Pairs of (name, alpha) and a function that runs once."""
    import torch

    torch.set_num_threads(arguments.threads)
    build = builder(arguments)
    images = torch.randn(batch, 3, arguments.size, arguments.size)
    result = {}
    for alpha in ALPHAS:
        for name in arguments.runtimes:
            if arguments.mode == "train":
                # The other runtimes do not train.
                if name.startswith("torch"):
                    run = torch_step(torch, build(alpha), images, name.endswith("last"))
                    result[name, alpha] = run
            elif name.startswith("torch"):
                run = torch_forward(torch, build(alpha).eval(), images, name.endswith("last"))
                result[name, alpha] = run
            else:
                path = exported(arguments, batch, alpha)
                runner = onnxruntime_runner if name == "onnxruntime" else openvino_runner
                result[name, alpha] = runner(path, images.numpy(), arguments.threads)
    check(result)
    return result


def check(runs):
    """All runtimes must compute the same network."""
    import numpy

    for alpha in ALPHAS:
        logits = {name: run() for (name, a), run in runs.items() if a == alpha}
        logits = {name: numpy.asarray(value) for name, value in logits.items() if value is not None}
        for name, value in logits.items():
            first = next(iter(logits.values()))
            error = abs(value - first).max() / abs(first).max()
            assert error < 1e-3, f"{name} at alpha {alpha} differs by {error:.1e}"


def torch_forward(torch, model, images, channels_last):
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return model(images)

    return run


def torch_step(torch, model, images, channels_last):
    """Forward, loss, backward; no optimizer."""
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    targets = torch.arange(len(images)) % 1000
    model.train()

    def run():
        model.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), targets).backward()

    return run


def export(torch, model, images, path):
    torch.onnx.export(model, (images,), path, input_names=["images"], dynamo=True, verbose=False)


def onnxruntime_runner(path, images, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": images})[0]


def openvino_runner(path, images, threads):
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    return lambda: request.infer([images])[0].copy()


def octresnet_round(arguments, batch):
    """Medians of one run of `octresnet bench`, as {(name, alpha): ms}."""
    command = [arguments.octresnet, "bench", arguments.mode, "--json", "--batch", str(batch)]
    command += ["--arch", arguments.arch, "--size", str(arguments.size), "--runs", str(arguments.runs)]
    command += ["--rows", arguments.rows, "--warmup", str(arguments.warmup)]
    if arguments.mode == "train":
        command.append("--no-memory")
    environment = os.environ | {"RAYON_NUM_THREADS": str(arguments.threads)}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    rows = json.loads(output.stdout)["rows"]
    return {(f"octresnet {row['name']}", row["alpha"]): row["median_ms"] for row in rows}


def measure(arguments, batch):
    times = {}
    runs = contenders(arguments, batch)
    for round in range(arguments.rounds):
        for key, run in runs.items():
            # The first runs after another runtime find cold caches and sleeping threads.
            for _ in range(arguments.warmup):
                run()
            for _ in range(arguments.runs):
                start = time.perf_counter()
                run()
                times.setdefault(key, []).append(1e3 * (time.perf_counter() - start))
            # Threads that spin for more work would take the next one's cores.
            time.sleep(0.2)
        if arguments.octresnet:
            for key, median in octresnet_round(arguments, batch).items():
                times.setdefault(key, []).append(median)
        print(f"round {round + 1} of {arguments.rounds} at batch {batch}", file=sys.stderr)
    return [
        {
            "name": name,
            "alpha": alpha,
            "median_ms": round_ms(statistics.median(ms)),
            "min_ms": round_ms(min(ms)),
            "max_ms": round_ms(max(ms)),
        }
        for (name, alpha), ms in times.items()
    ]


def round_ms(ms):
    return round(ms, 3)


def versions(runtimes):
    names = {"torch"} | {name for name in runtimes if not name.startswith("torch")}
    return {name: __import__(name).__version__ for name in sorted(names)}


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default=DEFAULT, help="as octresnet list has it [default: %(default)s]")
    parser.add_argument("--mode", choices=("infer", "train"), default="infer")
    parser.add_argument("--batch", type=numbers, default=[1], metavar="N[,M..]")
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5, help="per round and contender")
    parser.add_argument("--warmup", type=int, default=1, help="per round and contender, not counted")
    parser.add_argument("--runtimes", default=",".join(RUNTIMES), help="[default: %(default)s]")
    parser.add_argument("--octresnet", metavar="PATH", help="the program, to run beside them")
    parser.add_argument("--rows", default="engine", help="what octresnet runs [default: %(default)s]")
    parser.add_argument("--folder", default="target/bench", help="of exported networks [default: %(default)s]")
    parser.add_argument("--prepare", action="store_true", help="export the networks and stop")
    arguments = parser.parse_args()
    arguments.runtimes = arguments.runtimes.split(",")
    for name in arguments.runtimes:
        if name not in RUNTIMES:
            parser.error(f"there is no runtime '{name}'; use {', '.join(RUNTIMES)}")
    if arguments.arch != DEFAULT and (arguments.mode == "train" or not arguments.octresnet):
        parser.error("--arch is for inference, and needs --octresnet for its weights")
    for batch in arguments.batch:
        if arguments.prepare:
            for alpha in ALPHAS:
                exported(arguments, batch, alpha)
            continue
        result = {
            "arch": arguments.arch,
            "mode": arguments.mode,
            "batch": batch,
            "size": arguments.size,
            "threads": arguments.threads,
            "rows": measure(arguments, batch),
            "versions": versions(arguments.runtimes),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
