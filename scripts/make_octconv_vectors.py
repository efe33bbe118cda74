#!/usr/bin/env python3
"""Makes the reference vectors of crates/burn-octconv/tests/vectors/ with PyTorch.

    python -m venv venv && venv/bin/pip install torch octconv safetensors
    venv/bin/python scripts/make_octconv_vectors.py

Two files come out, each with many cases: inputs, kernels, outputs, the weights of a random linear
loss over the outputs, and that loss's gradient of every input and kernel. `tests/pytorch_vectors.rs`
reads them. Everything is computed in float64 and stored as float32; inputs are exact in float32.

`torch_ops.safetensors`: the operator of Chen et al. (https://arxiv.org/abs/1904.05049) written with
F.conv2d, F.avg_pool2d, F.max_pool2d and F.interpolate, for every option of `OctConv2dConfig`.

`octconv_package.safetensors`: the layers of the PyPI package `octconv` 0.1.0 (BrainCreators), which
nobody of this project wrote. What it has in common with the paper's rules, and what not:

    agrees      the four paths, high channels first and their kernel layout; stride 2 pools both
                inputs and then convolves with stride 1, H→L pools twice, L→H is not upsampled;
                nearest-neighbour upsampling; alpha_in = 0, alpha_out = 0 and alpha_out = 1
    bias        one per path where the vanilla layer has one per output channel. The output needs
                only their sum, and the gradient of each is that of the sum (asserted below), so the
                vectors hold the sums
    rounding    high = int((1 - alpha) * channels) and the rest is low; the paper's authors have
                low = int(alpha * channels) and the rest is high. The same where alpha * channels is
                an integer; only such layers are used
    odd sizes   the pooling drops the last row and column (floor mode) where we keep them; only
                sizes are used that stay even
    alpha_in 1  cannot be called: it reads the shape of a high group that does not exist
    missing     groups, dilation, kernels or padding that differ by axis, `same` padding of even
                kernels, the ablations; all in `torch_ops.safetensors`
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from octconv import OctConv2d
from safetensors.torch import save_file

TARGET = Path(__file__).resolve().parent.parent / "crates/burn-octconv/tests/vectors"
DEFAULTS = {
    "stride": [1, 1],
    "dilation": [1, 1],
    "groups": 1,
    "padding": "Same",
    "bias": True,
    "initializer": "Zeros",
    "alpha_in": 0.5,
    "alpha_out": 0.5,
    "strided": False,
    "downsample": "Average",
    "upsample": "Nearest",
    "exchange": "Both",
}
generator = torch.Generator().manual_seed(1904)


def random(*shape):
    """Uniform in [-1, 1), multiples of 2^-10."""
    return torch.randint(-1024, 1024, shape, generator=generator).double() / 1024


def half(size):
    return [-(-s // 2) for s in size]


def channels(total, alpha):
    low = int(alpha * total)
    return total - low, low


# The operator in plain torch


def conv(x, kernel, bias, stride, config):
    """A convolution with the layer's padding: `Same` gives ⌈size / stride⌉ elements, the odd
    padding pixel at the end."""
    options = {"dilation": config["dilation"], "groups": x.shape[1] // kernel.shape[1]}
    if config["padding"] == "Same" and stride == 1:
        return F.conv2d(x, kernel, bias, padding="same", **options)
    if config["padding"] == "Same":
        pad = []
        for axis in (3, 2):  # F.pad starts with the last axis
            size, taps = x.shape[axis], kernel.shape[axis]
            reach = config["dilation"][axis - 2] * (taps - 1) + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            pad += [total // 2, total - total // 2]
    else:
        top, left, bottom, right = config["padding"]["Explicit"]
        pad = [left, right, top, bottom]
    return F.conv2d(F.pad(x, pad), kernel, bias, stride=stride, **options)


def avg_pool(x):
    return F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)


def down(x, kernel, stride, config):
    if config["downsample"] == "Average":
        return conv(avg_pool(x), kernel, None, stride, config)
    if config["downsample"] == "Max":
        return conv(F.max_pool2d(x, 2, 2, ceil_mode=True), kernel, None, stride, config)
    return conv(x, kernel, None, 2 * stride, config)


def up(x, size, config):
    if config["upsample"] == "Nearest":
        x = F.interpolate(x, scale_factor=2, mode="nearest")
    else:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return x[:, :, : size[0], : size[1]]


def octave(p, size, config):
    """[Y^H, Y^L], each a tensor or None."""
    pools = config["stride"] == [2, 2] and not config["strided"]
    stride = 2 if config["stride"] == [2, 2] and config["strided"] else 1
    high, low = p.get("high"), p.get("low")
    if pools:
        high, low = (None if x is None else avg_pool(x) for x in (high, low))
    to_high, to_low = [], []
    if "h2h" in p:
        to_high.append(conv(high, p["h2h"], None, stride, config))
    if "l2h" in p:
        y = conv(p["low"], p["l2h"], None, 1, config)
        to_high.append(y if config["stride"] == [2, 2] else up(y, size, config))
    if "l2l" in p:
        to_low.append(conv(low, p["l2l"], None, stride, config))
    if "h2l" in p:
        to_low.append(down(high, p["h2l"], stride, config))
    outputs = []
    for name, terms in ("bias_high", to_high), ("bias_low", to_low):
        y = sum(terms) if terms else None
        if y is not None and name in p:
            y = y + p[name].reshape(1, -1, 1, 1)
        outputs.append(y)
    return outputs


def parameters(config, size, batch):
    """Random inputs and kernels of everything that exists in the layer."""
    (high_in, low_in), (high_out, low_out) = (
        channels(c, config[a]) for c, a in zip(config["channels"], ("alpha_in", "alpha_out"))
    )
    groups = config["groups"]
    depthwise = groups > 1 and config["channels"] == [groups, groups]
    exchange = "Neither" if depthwise else config["exchange"]
    p = {}
    if high_in:
        p["high"] = random(batch, high_in, *size)
    if low_in:
        p["low"] = random(batch, low_in, *half(size))
    for name, out, into, exists in (
        ("h2h", high_out, high_in, True),
        ("h2l", low_out, high_in, exchange in ("Both", "HighToLow")),
        ("l2h", high_out, low_in, exchange in ("Both", "LowToHigh")),
        ("l2l", low_out, low_in, True),
    ):
        if out and into and exists:
            p[name] = random(out, 1 if depthwise else into // groups, *config["kernel_size"])
    if config["bias"]:
        for name, out in ("bias_high", high_out), ("bias_low", low_out):
            if out:
                p[name] = random(out)
    return p


# Writing


class Vectors:
    def __init__(self):
        self.tensors, self.cases = {}, {}

    def add(self, name, config, size, p, outputs, gradients):
        """`outputs` is [Y^H, Y^L] of the leaves `p`; `gradients` maps the derivatives of the
        package's own parameters to ours, where they differ."""
        tensors = dict(p)
        loss = 0.0
        for group, y in zip(("high", "low"), outputs):
            if y is not None:
                weight = random(*y.shape)
                loss = loss + (y * weight).sum()
                tensors[f"output_{group}"], tensors[f"weight_{group}"] = y, weight
        loss.backward()
        for key, gradient in gradients().items():
            tensors[f"grad_{key}"] = torch.zeros_like(p[key]) if gradient is None else gradient
        for key, tensor in tensors.items():
            self.tensors[f"{name}/{key}"] = tensor.detach().float().contiguous()
        self.cases[name] = {"config": config, "size": size}

    def write(self, path):
        # One entry, since safetensors' map of metadata does not keep an order.
        save_file(self.tensors, path, metadata={"cases": json.dumps(self.cases, sort_keys=True)})
        print(f"{path.name}: {len(self.cases)} cases, {path.stat().st_size} bytes")


def plain(vectors, name, size, *, channels, kernel, batch=1, **options):
    assert options.keys() <= DEFAULTS.keys()
    config = {"channels": channels, "kernel_size": kernel, **DEFAULTS, **options}
    p = {key: x.requires_grad_() for key, x in parameters(config, size, batch).items()}
    outputs = octave(p, size, config)
    vectors.add(name, config, size, p, outputs, lambda: {key: x.grad for key, x in p.items()})


def package(vectors, name, size, *, channels, kernel, batch=1, stride=1, alpha=(0.5, 0.5), bias=True):
    layer = OctConv2d(*channels, kernel, stride, kernel // 2, alpha, bias).double()
    config = {
        "channels": channels,
        "kernel_size": [kernel] * 2,
        **DEFAULTS,
        "stride": [stride] * 2,
        "alpha_in": alpha[0],
        "alpha_out": alpha[1],
        "bias": bias,
    }
    paths = {key: getattr(layer, f"conv_{key}") for key in ("h2h", "h2l", "l2h", "l2l")}
    paths = {key: path for key, path in paths.items() if path is not None}
    p = {
        key: x.requires_grad_()
        for key, x in parameters({**config, "bias": False}, size, batch).items()
    }
    assert paths.keys() == p.keys() - {"high", "low"}, "the package has the same paths"
    for key, path in paths.items():
        assert path.weight.shape == p[key].shape, "the package has the same kernel layout"
        path.weight.data = p[key].detach().clone()
        if bias:
            path.bias.data = random(*path.bias.shape)
    into = {"high": ("h2h", "l2h"), "low": ("l2l", "h2l")}
    if bias:
        for group, keys in into.items():
            terms = [paths[key].bias.detach() for key in keys if key in paths]
            if terms:
                p[f"bias_{group}"] = sum(terms)

    y = layer((p["high"], p["low"]) if "low" in p else p["high"])
    outputs = list(y) if isinstance(y, tuple) else [y, None]
    ours = octave(p, size, config)
    for theirs, our in zip(outputs, ours):
        assert (theirs is None) == (our is None)
        assert theirs is None or torch.allclose(theirs, our, rtol=0, atol=1e-12), name

    def gradients():
        result = {key: p[key].grad for key in ("high", "low") if key in p}
        result |= {key: path.weight.grad for key, path in paths.items()}
        for group, keys in into.items():
            terms = [paths[key].bias.grad for key in keys if bias and key in paths]
            if terms:
                assert all(torch.allclose(terms[0], term) for term in terms)
                result[f"bias_{group}"] = terms[0]
        return result

    vectors.add(name, config, size, p, outputs, gradients)


def main():
    torch.set_default_dtype(torch.float64)
    TARGET.mkdir(parents=True, exist_ok=True)

    v = Vectors()
    plain(v, "middle_3x3", [7, 9], channels=[6, 4], kernel=[3, 3], batch=2)
    plain(v, "first_5x3", [6, 5], channels=[3, 8], kernel=[5, 3], alpha_in=0.0, alpha_out=0.25)
    plain(v, "last_1x1", [5, 7], channels=[8, 5], kernel=[1, 1], alpha_out=0.0, bias=False)
    plain(v, "all_low_in", [7, 5], channels=[4, 6], kernel=[3, 3], alpha_in=1.0)
    plain(v, "all_low_out", [5, 7], channels=[7, 4], kernel=[3, 3], alpha_out=1.0)
    plain(v, "all_low", [5, 3], channels=[3, 4], kernel=[3, 3], alpha_in=1.0, alpha_out=1.0)
    plain(v, "low_to_high", [7, 5], channels=[4, 3], kernel=[3, 3], alpha_in=1.0, alpha_out=0.0)
    plain(v, "uneven_split", [6, 7], channels=[7, 9], kernel=[3, 1], alpha_in=0.3, alpha_out=0.7)
    plain(v, "pooled_stride", [11, 9], channels=[4, 6], kernel=[3, 3], stride=[2, 2], batch=2)
    plain(v, "pooled_stride_alpha_0", [9, 7], channels=[4, 5], kernel=[3, 3], stride=[2, 2],
          alpha_in=0.0, alpha_out=0.0)
    plain(v, "strided_stride", [11, 8], channels=[4, 6], kernel=[3, 3], stride=[2, 2], strided=True)
    plain(v, "stem_7x7", [11, 12], channels=[3, 4], kernel=[7, 7], stride=[2, 2], strided=True,
          alpha_in=0.0, alpha_out=0.0, padding={"Explicit": [3, 3, 3, 3]}, bias=False)
    plain(v, "groups", [6, 7], channels=[8, 12], kernel=[3, 3], groups=2)
    plain(v, "depthwise", [7, 6], channels=[8, 8], kernel=[3, 3], groups=8, alpha_in=0.25,
          alpha_out=0.25)
    plain(v, "dilation", [9, 8], channels=[4, 4], kernel=[3, 3], dilation=[2, 1])
    plain(v, "even_kernel", [7, 8], channels=[4, 4], kernel=[4, 2])
    plain(v, "max_pool", [7, 9], channels=[4, 6], kernel=[3, 3], downsample="Max")
    plain(v, "max_pool_stride", [9, 11], channels=[4, 4], kernel=[3, 3], downsample="Max",
          stride=[2, 2])
    plain(v, "strided_down", [7, 9], channels=[4, 6], kernel=[3, 3], downsample="Strided")
    plain(v, "strided_down_stride", [11, 13], channels=[4, 4], kernel=[3, 3], downsample="Strided",
          stride=[2, 2], strided=True)
    plain(v, "bilinear", [7, 9], channels=[4, 6], kernel=[3, 3], upsample="Bilinear")
    plain(v, "bilinear_one_pixel", [2, 5], channels=[4, 4], kernel=[1, 1], upsample="Bilinear")
    plain(v, "high_to_low_only", [6, 7], channels=[4, 6], kernel=[3, 3], exchange="HighToLow")
    plain(v, "low_to_high_only", [6, 7], channels=[4, 6], kernel=[3, 3], exchange="LowToHigh")
    plain(v, "no_exchange", [7, 6], channels=[4, 6], kernel=[3, 3], exchange="Neither")
    v.write(TARGET / "torch_ops.safetensors")

    v = Vectors()
    package(v, "middle", [8, 6], channels=[6, 8], kernel=3, batch=2)
    package(v, "first", [6, 8], channels=[3, 8], kernel=3, alpha=(0.0, 0.25))
    package(v, "last", [8, 6], channels=[8, 5], kernel=1, alpha=(0.75, 0.0))
    package(v, "no_bias", [6, 6], channels=[4, 8], kernel=5, alpha=(0.25, 0.5), bias=False)
    package(v, "all_low_out", [6, 4], channels=[4, 5], kernel=3, alpha=(0.5, 1.0))
    package(v, "stride", [12, 8], channels=[4, 6], kernel=3, stride=2)
    package(v, "stride_first", [8, 12], channels=[3, 4], kernel=3, stride=2, alpha=(0.0, 0.5))
    package(v, "stride_last", [8, 8], channels=[4, 5], kernel=3, stride=2, alpha=(0.5, 0.0))
    v.write(TARGET / "octconv_package.safetensors")


if __name__ == "__main__":
    main()
