#!/usr/bin/env python3
"""Loads exported safetensors into PyTorch with strict=True and compares logits.

    pip install torch torchvision timm safetensors
    cargo build --release -p octresnet
    python scripts/check_pytorch.py target/release/octresnet

What torchvision and timm initialise is converted by the command and back, and must come back to the
bit; so must the small networks of `crates/burn-octresnet/tests/fixtures/make_checkpoints.py`.
"""

import pathlib
import subprocess
import sys
import tempfile

import timm
import torch
import torchvision
from safetensors.torch import load_file

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/burn-octresnet/tests/fixtures"
sys.path.insert(0, str(FIXTURES))

from make_checkpoints import ResNet, randomize  # noqa: E402


def main():
    command = sys.argv[1]
    networks = {
        "torchvision resnet50": lambda: torchvision.models.resnet50(),
        "torchvision resnext50_32x4d": lambda: torchvision.models.resnext50_32x4d(),
        "timm resnet26": lambda: timm.create_model("resnet26"),
        "octave ResNet-26, alpha 0.5": lambda: ResNet([2, 2, 2, 2], 8, 0.5),
        "octave ResNet-50, alpha 0.25": lambda: ResNet([3, 4, 6, 3], 16, 0.25),
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, build in networks.items():
            torch.manual_seed(0)
            model = randomize(build())
            torch.save({"state_dict": model.state_dict()}, folder / "in.pth")
            for step in [["in.pth", "ours.bpk"], ["ours.bpk", "out.safetensors"]]:
                subprocess.run([command, "convert", *step], cwd=folder, check=True)
            other = build()
            other.load_state_dict(load_file(folder / "out.safetensors"), strict=True)
            images = torch.randn(1, 3, 64, 64)
            with torch.no_grad():
                same = torch.equal(model(images), other.eval()(images))
            print(f"{name}: {'the same logits' if same else 'OTHER LOGITS'}")
            if not same:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
