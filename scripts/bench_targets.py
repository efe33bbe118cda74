#!/usr/bin/env python3
"""Prints the table of targets in docs/performance.md from what `scripts/bench.sh` measured.

    scripts/bench_targets.py [FOLDER]

FOLDER (target/bench) holds what `octresnet bench --json` and `bench_runtimes.py` printed; a target
whose measurement is missing gets a dash.
"""

import json
import pathlib
import sys

class Measured:
    """One file of results: {"rows": [{"name", "alpha", "median_ms", ...}]}."""

    def __init__(self, path):
        self.rows = json.loads(path.read_text())["rows"] if path.exists() else []

    def get(self, name, alpha, key="median_ms"):
        for row in self.rows:
            if row["name"] == name and row["alpha"] == alpha:
                return row[key]
        return None


def ratio(numerator, denominator):
    return numerator / denominator if numerator and denominator else None


def targets(folder):
    """Tuples of what is compared, its value, `must`, `aim`, and whether more is better."""
    measured = {name: Measured(folder / f"{name}.json") for name in (
        "infer-1", "infer-8", "train-8", "runtimes-infer-1", "runtimes-infer-8", "runtimes-train-8"
    )}
    one, eight, train = (measured[name] for name in ("infer-1", "infer-8", "train-8"))
    beside_1, beside_8, beside_train = (
        measured[f"runtimes-{name}"] for name in ("infer-1", "infer-8", "train-8")
    )
    ours = "octresnet engine", 0.5

    def shares(rows, key="median_ms"):
        return ratio(rows.get("engine", 0.0, key), rows.get("engine", 0.5, key))

    memory = ratio(train.get("engine", 0.5, "peak_bytes"), train.get("engine", 0.0, "peak_bytes"))
    return [
        ("inference b1: Burn's `Conv2d`, vanilla ÷ ours",
         ratio(one.get("burn-conv2d", 0.0), one.get("engine", 0.5)), 3.6, 5.2, True),
        ("inference b1: ours ÷ OpenVINO",
         ratio(beside_1.get(*ours), beside_1.get("openvino", 0.5)), 1.35, 0.95, False),
        ("inference b8: ours ÷ ONNX Runtime",
         ratio(beside_8.get(*ours), beside_8.get("onnxruntime", 0.5)), 1.15, 0.90, False),
        ("inference b1: our α = 0 ÷ α = .5", shares(one), 1.5, 1.65, True),
        ("inference b8: our α = 0 ÷ α = .5", shares(eight), 1.5, 1.65, True),
        ("training step b8: ours ÷ PyTorch NCHW",
         ratio(beside_train.get(*ours), beside_train.get("torch", 0.5)), 1.1, 0.75, False),
        ("training step b8: our α = 0 ÷ α = .5", shares(train), 1.5, 1.65, True),
        ("peak memory of a training step b8: α = .5 ÷ α = 0", memory, 0.75, 0.65, False),
    ]


def verdict(value, must, aim, more):
    if value is None:
        return "not measured"
    reaches = (lambda bound: value >= bound) if more else (lambda bound: value <= bound)
    return "aim" if reaches(aim) else "must" if reaches(must) else "no"


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/bench")
    if not folder.is_dir():
        sys.exit(f"there is no folder {folder}: run scripts/bench.sh first")
    print("| | must | aim | measured | reached |\n|---|---|---|---|---|")
    for what, value, must, aim, more in targets(folder):
        sign = "≥" if more else "≤"
        shown = "–" if value is None else f"{value:.2f}"
        reached = verdict(value, must, aim, more)
        print(f"| {what} | {sign} {must} | {sign} {aim} | {shown} | {reached} |")
    for path in sorted(folder.glob("*.json")):
        print(f"\n{path.stem}")
        for row in Measured(path).rows:
            peak = row.get("peak_bytes")
            memory = f", peak {peak / 2**20:.0f} MiB" if peak else ""
            span = f"({row['min_ms']:.1f} to {row['max_ms']:.1f})"
            print(f"  {row['name']} {row['alpha']}: {row['median_ms']:.1f} ms {span}{memory}")


if __name__ == "__main__":
    main()
