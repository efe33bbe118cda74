#!/usr/bin/env python3
"""Layers of every kind beside Burn's own and PyTorch's vanilla ones, as a table.

    python3 -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python scripts/bench_layers.py --octresnet target/release/octresnet

Each kind runs by `octresnet bench layer --kind KIND` and right after it in PyTorch, in turns of
ROUNDS. Without PyTorch its column has dashes. Times are medians in ms, forward and training (forward
and backward).
"""

import argparse
import json
import os
import statistics
import subprocess
import time

SHARES = ["0.5,0.5", "0.5,0.25,0.25"]
# Channels in and out, kernel, pixels along an axis, frames, batch.
KINDS = {
    "conv1d": (128, 9, 2048, 1, 4),
    "conv2d": (128, 3, 28, 1, 4),
    "conv3d": (64, 3, 28, 8, 1),
    "transpose2d": (128, 3, 28, 1, 4),
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--octresnet", default="target/release/octresnet")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", default="4")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def ours(args, kind):
    """{(name, shares, pass): median ms}, and what the engine computes with."""
    channels, kernel, size, frames, batch = KINDS[kind]
    line = [args.octresnet, "bench", "layer", "--kind", kind, "--json", "--device", "flex"]
    line += ["--channels", f"{channels},{channels}", "--kernel", str(kernel), "--size", str(size)]
    line += ["--frames", str(frames), "--batch", str(batch), "--seconds", args.seconds]
    for shares in SHARES:
        line += ["--shares", shares]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    output = subprocess.run(line, check=True, text=True, stdout=subprocess.PIPE, env=environment)
    result = json.loads(output.stdout)
    rows = result["rows"]
    key = lambda row: (row["name"], ",".join(f"{s:g}" for s in row["shares"]), row["pass"])
    return {key(row): row["median_ms"] for row in rows}, result.get("isa")


def pytorch(args, kind):
    """Medians in ms of forward and of backward, or None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(args.threads)
    channels, kernel, size, frames, batch = KINDS[kind]
    axes = {"conv1d": 1, "conv2d": 2, "conv3d": 3, "transpose2d": 2}[kind]
    layers = {
        "conv1d": torch.nn.Conv1d,
        "conv2d": torch.nn.Conv2d,
        "conv3d": torch.nn.Conv3d,
        "transpose2d": torch.nn.ConvTranspose2d,
    }
    layer = layers[kind](channels, channels, kernel, padding=kernel // 2, bias=False)
    shape = [frames, size, size] if axes == 3 else [size] * axes
    x = torch.randn(batch, channels, *shape, requires_grad=True)
    times = [[], []]
    end = time.perf_counter() + float(args.seconds) / 2
    while len(times[0]) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        y = layer(x)
        middle = time.perf_counter()
        y.backward(torch.ones_like(y))
        times[1].append(time.perf_counter() - middle)
        times[0].append(middle - start)
    return [1000 * statistics.median(side[2:]) for side in times]


def main():
    args = arguments()
    print("| layer | | PyTorch | Burn | ours, vanilla | α = .5 | of ours | of Burn's | .5,.25,.25 | of ours | of Burn's |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    isa = None
    for kind in KINDS:
        rounds = []
        for _ in range(args.rounds):
            rows, isa = ours(args, kind)
            rounds.append((rows, pytorch(args, kind)))

        def ms(name, shares, training):
            passes = ["forward", "backward"] if training else ["forward"]
            sums = [sum(rows[name, shares, part] for part in passes) for rows, _ in rounds]
            return statistics.median(sums)

        for training in [False, True]:
            burn, vanilla = ms("burn", "1", training), ms("ours", "1", training)
            theirs = [sum(times[: 2 if training else 1]) for _, times in rounds if times]
            cells = [f"{statistics.median(theirs):.1f}" if theirs else "–"]
            cells += [f"{burn:.1f}", f"{vanilla:.1f}"]
            for shares in SHARES:
                octave = ms("ours", shares, training)
                cells += [f"{octave:.1f}", f"{octave / vanilla:.2f}", f"{octave / burn:.2f}"]
            print(f"| {kind} | {'training' if training else 'forward'} | {' | '.join(cells)} |", flush=True)
    print(f"\nEngine with {isa}, {args.threads} threads; channels, kernel, pixels, frames, batch: {KINDS}")


if __name__ == "__main__":
    main()
