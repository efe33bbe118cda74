#!/usr/bin/env python3
"""Writes a ResNet-50 with random weights as safetensors, with torchvision's names:

    scripts/random_resnet.py FILE

For measuring speed: needs nothing but Python.
"""

import json
import math
import random
import struct
import sys
from array import array


def tensors():
    """Name, shape and values of every tensor."""

    def conv(name, shape):
        reach = math.sqrt(6.0 / math.prod(shape[1:]))
        return name, shape, lambda: random.uniform(-reach, reach)

    def norm(name, channels):
        for part, value in [("weight", 0.5), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]:
            yield f"{name}.{part}", [channels], lambda value=value: value

    yield conv("conv1.weight", [64, 3, 7, 7])
    yield from norm("bn1", 64)
    channels = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        middle = 64 << stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            shapes = [[middle, channels, 1, 1], [middle, middle, 3, 3], [4 * middle, middle, 1, 1]]
            for index, shape in enumerate(shapes, 1):
                yield conv(f"{name}.conv{index}.weight", shape)
                yield from norm(f"{name}.bn{index}", shape[0])
            if block == 0:
                yield conv(f"{name}.downsample.0.weight", [4 * middle, channels, 1, 1])
                yield from norm(f"{name}.downsample.1", 4 * middle)
            channels = 4 * middle
    yield conv("fc.weight", [1000, channels])
    yield "fc.bias", [1000], lambda: 0.0


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    random.seed(0)
    header, data = {}, bytearray()
    for name, shape, value in tensors():
        values = array("f", (value() for _ in range(math.prod(shape))))
        if sys.byteorder == "big":
            values.byteswap()
        start = len(data)
        data += values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    with open(sys.argv[1], "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main()
