#!/usr/bin/env python3
"""Times `octresnet bench data` beside torchvision on the same folder, run by run in turn.

The test folder is made from photos of any kind that are at least 500x375 pixels: random crops of
them, scaled to 500x375 and saved as JPEG of quality 90, which is what an ImageNet photo is like.

    pip install torch torchvision pillow scikit-learn scikit-image
    python scripts/bench_data.py make /tmp/photos --count 2000
    cargo build --release
    python scripts/bench_data.py time /tmp/photos --command target/release/octresnet

Without `--photos`, the sample pictures of scikit-learn and scikit-image are used.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

WIDTH, HEIGHT, QUALITY, CLASSES = 500, 375, 90, 10


def sample_photos():
    """The photographs that scikit-learn and scikit-image carry."""
    import skimage
    import sklearn

    images = Path(sklearn.__file__).parent / "datasets" / "images"
    data = Path(skimage.__file__).parent / "data"
    return [images / "china.jpg", images / "flower.jpg"] + [
        data / name for name in ("retina.jpg", "rocket.jpg", "astronaut.png", "coffee.png")
    ]


def make(folder, photos, count, seed):
    """Writes `count` photos of 500x375 in ten classes."""
    from PIL import Image

    rng = random.Random(seed)
    sources = []
    for path in photos or sample_photos():
        if Path(path).exists():
            image = Image.open(path).convert("RGB")
            if image.width >= WIDTH and image.height >= HEIGHT:
                sources.append(image)
    if not sources:
        sys.exit(f"no photo of at least {WIDTH}x{HEIGHT} pixels: give some with --photos")
    total = 0
    for number in range(count):
        image = sources[number % len(sources)]
        largest = min(image.width / WIDTH, image.height / HEIGHT)
        scale = rng.uniform(1.0, largest)
        width, height = round(WIDTH * scale), round(HEIGHT * scale)
        left = rng.randint(0, image.width - width)
        top = rng.randint(0, image.height - height)
        crop = image.resize((WIDTH, HEIGHT), Image.LANCZOS, (left, top, left + width, top + height))
        if rng.random() < 0.5:
            crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
        path = Path(folder) / f"class{number % CLASSES}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        crop.save(path, quality=QUALITY)
        total += path.stat().st_size
    print(f"{count} photos of {len(sources)} pictures, {total / count / 1000:.0f} kB each")


def torchvision_rate(folder, workers, batch_size):
    """Images per second of one epoch through torchvision's usual training pipeline."""
    import torch
    from torchvision import datasets, transforms

    # One thread per process, as in DataLoader's workers: the rest of the machine is theirs.
    torch.set_num_threads(1)
    steps = [
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    images = datasets.ImageFolder(folder, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(images, batch_size, shuffle=True, num_workers=workers)
    start, seen = time.perf_counter(), 0
    for batch, _ in loader:
        seen += len(batch)
    return seen / (time.perf_counter() - start)


def octresnet_rate(command, folder, workers, batch_size):
    """Images per second of one epoch through ours, from its JSON."""
    arguments = [command, "bench", "data", "--data", folder, "--json"]
    arguments += ["--workers", str(workers), "--batch-size", str(batch_size)]
    output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)["images_per_second"]


def compare(folder, command, workers, rounds, batch_size):
    """Prints the rates of both, measured in turn, as a Markdown table."""
    for path in Path(folder).rglob("*.jpg"):
        path.read_bytes()  # So that the first to be timed does not pay for the disk.
    rates = {(who, n): [] for n in workers for who in ("torchvision", "octresnet")}
    for _ in range(rounds):
        for n in workers:
            rates["torchvision", n].append(torchvision_rate(folder, n, batch_size))
            rates["octresnet", n].append(octresnet_rate(command, folder, n, batch_size))
    print("| workers | torchvision, images/s | octresnet, images/s | ratio of the medians |")
    print("|---|---|---|---|")
    for n in workers:
        theirs, ours = rates["torchvision", n], rates["octresnet", n]
        median = lambda values: sorted(values)[len(values) // 2]
        spread = lambda values: f"{min(values):.0f}–{max(values):.0f}"
        print(f"| {n} | {spread(theirs)} | {spread(ours)} | {median(ours) / median(theirs):.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="action", required=True)
    making = commands.add_parser("make", help="write a test folder")
    making.add_argument("folder")
    making.add_argument("--photos", nargs="+", help="large photos to make it from")
    making.add_argument("--count", type=int, default=2000)
    making.add_argument("--seed", type=int, default=0)
    timing = commands.add_parser("time", help="time both on a folder of class folders")
    timing.add_argument("folder")
    timing.add_argument("--command", default="target/release/octresnet")
    timing.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    timing.add_argument("--rounds", type=int, default=3)
    timing.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()
    if args.action == "make":
        make(args.folder, args.photos, args.count, args.seed)
    else:
        compare(args.folder, args.command, args.workers, args.rounds, args.batch_size)


if __name__ == "__main__":
    main()
