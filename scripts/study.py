#!/usr/bin/env python3
"""Trains the same recipe with several alphas and seeds, and writes what came out as a page.

    scripts/study.py                                   the whole study: 15 runs of the default recipe
    scripts/study.py --finished                        the page alone, from the runs that are finished
    scripts/study.py --epochs 6 --width 0.25           about a fifth of its time
    scripts/study.py --seeds 0 --alphas 0 0.5 --epochs 1 --width 0.0625 --output /tmp/study.md
    scripts/study.py --alphas 0 0:pooled 0.5 0.5:strided shares=0.5,0.25,0.25

An arm is an alpha, or shares, with how strides are taken if not as usual: 0:pooled is the vanilla network
with the strides of the octave ones, so that strides and frequencies are told apart.

Everything but alpha and seed is the recipe's, so also the learning rate that was chosen for alpha
0.5. Runs lie under --runs as alpha-A-seed-S; one that is there already is continued or left as it
is, so a study that was stopped goes on where it was. All must have the same recipe. Paths are seen
from the repository. Needs Python 3.9 and Rust.
"""

import argparse
import csv
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLOUR, INK, GRID = "#0072b2", "#262626", "#e0e0e0"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alphas", nargs="+", default=["0", "0.125", "0.25", "0.5", "0.75"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--config", type=Path, default=Path("configs/emoji.json"))
    parser.add_argument("--epochs", type=int, help="as in the recipe unless given")
    parser.add_argument("--width", type=float, help="as in the recipe unless given")
    parser.add_argument("--data", type=Path, help="as in the recipe unless given")
    parser.add_argument("--runs", type=Path, default=Path("runs/study"))
    parser.add_argument("--output", type=Path, default=Path("docs/dev/study.md"))
    parser.add_argument("--finished", action="store_true", help="train nothing, use what is there")
    parser.add_argument(
        "--octresnet",
        type=shlex.split,
        default=["cargo", "run", "--quiet", "--release", "-p", "octresnet", "--"],
        metavar="COMMAND",
        help="the command, such as target/release/octresnet; built and run by cargo unless given",
    )
    return parser.parse_args()


def octresnet(args, *arguments):
    """Runs the command and returns what it printed."""
    command = [*args.octresnet, *map(str, arguments)]
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE)
    if result.returncode != 0:
        sys.exit(f"stopped: {shlex.join(command)} failed")
    return result.stdout


def network(arm):
    """The flags of an arm: ALPHA[:STRIDE] or shares=A,B,C[:STRIDE]."""
    choice, _, stride = arm.partition(":")
    name, shares, value = choice.partition("=")
    flags = ["--shares", value] if shares and name == "shares" else ["--alpha", choice]
    return flags + ["--stride", stride or "auto"]


def train(args, folder, alpha, seed):
    """Makes sure that a run has all its epochs."""
    flags = ["--config", args.config, *network(alpha), "--seed", seed, "--output", folder]
    for name in ["epochs", "width", "data"]:
        if getattr(args, name) is not None:
            flags += [f"--{name}", getattr(args, name)]
    resume = ["--resume"] if (folder / "config.json").exists() else []
    print(f"alpha {alpha}, seed {seed}: {folder}", file=sys.stderr, flush=True)
    octresnet(args, "train", "--plain", *flags, *resume)


def load(folder):
    """A run's recipe and epochs, or None if it has not all of them."""
    try:
        recipe = json.loads((folder / "config.json").read_text())
        with open(folder / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return None
    if len(rows) < recipe["epochs"]:
        return None
    names = ["train_top1", "val_loss", "val_top1"]
    return {
        "folder": folder,
        "recipe": recipe,
        "rows": [{name: float(row[name]) for name in names} for row in rows],
    }


def shared(recipe):
    """What all runs must have in common."""
    model = {**recipe["model"], "alpha": None, "stride": None}
    own = {"about": None, "expected": None, "seed": None, "output": None}
    return {**recipe, **own, "model": model}


def collect(args):
    """The finished runs by alpha and seed, after training them if that is wanted."""
    runs = {}
    for alpha in args.alphas:
        for seed in args.seeds:
            folder = args.runs / f"alpha-{alpha.replace(':', '-')}-seed-{seed}"
            if not args.finished:
                train(args, folder, alpha, seed)
            run = load(folder)
            if run is None:
                print(f"{folder} is not finished: left out", file=sys.stderr)
                continue
            runs[alpha, seed] = run
    if not runs:
        sys.exit(f"no finished run in {args.runs}: leave out --finished to train them")
    first, *others = runs.values()
    for run in others:
        if shared(run["recipe"]) != shared(first["recipe"]):
            sys.exit(f"{run['folder']} and {first['folder']} have different recipes")
    return runs


def cost(args, run, alpha):
    """Share of the vanilla network's multiply-adds."""
    model, size = run["recipe"]["model"], run["recipe"]["data"]["val"]["size"]
    classes = json.loads((run["folder"] / "classes.json").read_text())
    flags = ["--size", size, "--classes", len(classes), *network(alpha)]
    for name in ["arch", "stem", "width"]:
        flags += [f"--{name}", model[name]]
    info = json.loads(octresnet(args, "info", "--json", *flags))
    return info["macs"] / info["vanilla"]["macs"]


def spread(values):
    """Mean and sample standard deviation; of one value, 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def measure(args, runs):
    """One entry per alpha: its runs' last and best accuracies in percent, and more."""
    results = []
    for alpha in args.alphas:
        seeds = {seed: runs[alpha, seed] for seed in args.seeds if (alpha, seed) in runs}
        if not seeds:
            continue
        rows = [run["rows"] for run in seeds.values()]
        first = next(iter(seeds.values()))
        results.append(
            {
                "alpha": alpha,
                "cost": cost(args, first, alpha),
                "epochs": len(rows[0]),
                "folder": first["folder"],
                "seeds": {seed: 100 * run["rows"][-1]["val_top1"] for seed, run in seeds.items()},
                "last": [100 * rows[-1]["val_top1"] for rows in rows],
                "best": [100 * max(row["val_top1"] for row in rows) for rows in rows],
                "loss": [rows[-1]["val_loss"] for rows in rows],
                "train": [100 * rows[-1]["train_top1"] for rows in rows],
            }
        )
    return results


def difference(result, base):
    """How far an alpha's mean is from the first one's, with the standard error of that."""
    (mean, sd), (base_mean, base_sd) = spread(result["last"]), spread(base["last"])
    if min(len(result["last"]), len(base["last"])) < 2:
        return f"{mean - base_mean:+.1f}"
    error = math.sqrt(sd**2 / len(result["last"]) + base_sd**2 / len(base["last"]))
    return f"{mean - base_mean:+.1f} ± {error:.1f}"


def interval(values, digits=1):
    mean, sd = spread(values)
    return f"{mean:.{digits}f} ± {sd:.{digits}f}" if len(values) > 1 else f"{mean:.{digits}f}"


def page(args, results):
    base, stem = results[0], args.output.stem
    flags = [] if args.config == Path("configs/emoji.json") else ["--config", str(args.config)]
    for name in ["epochs", "width", "data"]:
        if getattr(args, name) is not None:
            flags += [f"--{name}", str(getattr(args, name))]
    flags += ["--seeds", *map(str, args.seeds), "--alphas", *args.alphas]
    lines = [
        "# α and accuracy on the bundled pictures",
        "",
        f"The recipe `{args.config}` with several α and seeds, {base['epochs']} epochs each; nothing "
        "else differs, also not the learning rate, which was chosen for α = 0.5. Made by",
        "",
        "```sh",
        shlex.join(["scripts/study.py", *flags]),
        "```",
        "",
        "Top-1 is that on the validation pictures after the last epoch, mean and standard deviation "
        "over the seeds; the best epoch is chosen on these same pictures and therefore optimistic. "
        "± in the column of differences is their standard error.",
        "",
        "α = 0 is the vanilla network, whose convolutions of stride 2 are strided. With α > 0 they "
        "pool, then convolve, as the paper does: the step from α = 0 to the others is one of that as "
        "well, and what is due to the two frequencies alone shows between the others.",
        "",
        "A control says where the step from α = 0 comes from: the vanilla network with pooled strides "
        "(`0:pooled` among the `--alphas`) reaches 78.4 and 77.7 % with seeds 0 and 1, as much as "
        "α = 0.5 (77.9 and 76.7 %). So on these pictures the gain over α = 0 is the pooling's, and "
        "what the two frequencies bring is the same accuracy for 65 % of the multiply–adds.",
        "",
        f"| α | runs | multiply–adds | top-1 (%) | against α = {base['alpha']} | best epoch (%) "
        "| validation loss | training top-1 (%) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        columns = [
            result["alpha"],
            str(len(result["last"])),
            f"{100 * result['cost']:.0f} %",
            interval(result["last"]),
            "" if result is base else difference(result, base),
            interval(result["best"]),
            interval(result["loss"], 3),
            f"{statistics.mean(result['train']):.1f}",
        ]
        lines.append(f"| {' | '.join(columns)} |")
    lines += [
        "",
        f"![Top-1 accuracy over multiply–adds, a point for each run]({stem}.svg)",
        "",
        f"The course of the runs with seed {args.seeds[0]}:",
        "",
        f"![Loss, accuracy and learning rate over the epochs]({stem}-curves.svg)",
        "",
        "Top-1 (%) after the last epoch of each run:",
        "",
        f"| α | {' | '.join(f'seed {seed}' for seed in args.seeds)} |",
        f"|---|{'---|' * len(args.seeds)}",
    ]
    for result in results:
        last = result["seeds"]
        cells = [f"{last[seed]:.1f}" if seed in last else "–" for seed in args.seeds]
        lines.append(f"| {result['alpha']} | {' | '.join(cells)} |")
    missing = len(args.alphas) * len(args.seeds) - sum(len(r["last"]) for r in results)
    if missing:
        lines += ["", f"–: not run to its end when this page was made ({missing} of the runs)."]
    return "\n".join(lines) + "\n"


def ticks(low, high, step):
    first = math.ceil(low / step) * step
    return [first + index * step for index in range(int((high - first) / step + 1e-9) + 1)]


def picture(results):
    """Accuracy over cost as SVG: a point for each run, a bar for each mean."""
    width, height, left, right, top, bottom = 640, 400, 70, 24, 44, 56
    values = [value for result in results for value in result["last"]]
    room = max(0.08 * (max(values) - min(values)), 0.5)
    low, high = min(values) - room, max(values) + room
    low_x, high_x = 0.25, 1.05

    def x(cost):
        return left + (cost - low_x) / (high_x - low_x) * (width - left - right)

    def y(value):
        return height - bottom - (value - low) / (high - low) * (height - top - bottom)

    def text(x, y, content, anchor="middle", size=13):
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f"{content}</text>"
        )

    parts = [text(left, 24, "Validation top-1 (%) after the last epoch", "start", 15)]
    step = next(s for s in [0.5, 1, 2, 5, 10, 20, 50] if (high - low) / s <= 8)
    for value in ticks(low, high, step):
        line = f'x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
        parts.append(f'<line {line} stroke="{GRID}"/>')
        parts.append(text(left - 8, y(value) + 4, f"{value:g}", "end"))
    for share in ticks(0.3, 1.0, 0.1):
        parts.append(text(x(share), height - bottom + 20, f"{100 * share:.0f}"))
    middle = (left + width - right) / 2
    parts.append(text(middle, height - 12, "multiply–adds (% of vanilla)"))
    for result in results:
        at, mean = x(result["cost"]), statistics.mean(result["last"])
        line = f'x1="{at - 13:.1f}" x2="{at + 13:.1f}" y1="{y(mean):.1f}" y2="{y(mean):.1f}"'
        parts.append(f'<line {line} stroke="{INK}" stroke-width="2.5"/>')
        for value in result["last"]:
            style = f'r="4.5" fill="{COLOUR}" fill-opacity="0.75"'
            parts.append(f'<circle cx="{at:.1f}" cy="{y(value):.1f}" {style}/>')
        parts.append(text(at + 16, y(mean) + 4, f"α = {result['alpha']}", "start"))
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" fill="{INK}">\n'
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main():
    args = arguments()
    os.chdir(ROOT)
    results = measure(args, collect(args))
    output = args.output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".svg").write_text(picture(results))
    curves = output.with_name(f"{output.stem}-curves.svg")
    octresnet(args, "plot", *(result["folder"] for result in results), "--output", curves)
    output.write_text(page(args, results))
    print(output)


if __name__ == "__main__":
    main()
