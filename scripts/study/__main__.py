"""The study of α and accuracy, whose page is docs/dev/study.md, in one command.

    cargo build --release -p octresnet
    python3 scripts/study                       all of it, from where it stopped
    python3 scripts/study --stages page         the tables and pictures alone, from the results there are
    python3 scripts/study --results /tmp/study.jsonl --runs /tmp/study --epochs 1 --seeds 0 --stages tune final

Stages: `tune` chooses a learning rate for each network; `clock` measures milliseconds and wants a machine
that does nothing else; `final` trains every network with every seed; `timed` trains some again for equal
time; `robustness` shows the trained networks spoiled pictures; `page` writes the tables and pictures. Each
does what has no line yet in the results, a file of JSON lines beside the page, so the study goes on where it
stopped, on another machine too; there `robustness` first trains the networks again whose weights are missing.
Two runs at a time, each on one thread and behind whatever else the machine does. What is compared stands in
settings.py. Needs Python 3.9 and nothing else.
"""

import argparse
import dataclasses
import functools
import shlex
import sys
from pathlib import Path

import page
import split
import work
from choice import finals, shown, tunings
from results import Results
from settings import ROOT, Settings, at_width

STAGES = ["tune", "clock", "final", "timed", "robustness", "page"]


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE")
    parser.add_argument("--arms", nargs="+", help="those of settings.py unless given")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--width", type=float)
    parser.add_argument("--data", type=Path, default=ROOT / "examples/data/emoji")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/study")
    parser.add_argument("--results", type=Path, default=ROOT / "docs/dev/study.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/dev/study.md")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument(
        "--octresnet",
        type=shlex.split,
        default=[str(ROOT / "target/release/octresnet")],
        metavar="COMMAND",
        help="target/release/octresnet unless given",
    )
    return parser.parse_args()


def settings_of(args):
    given = {name: getattr(args, name) for name in ["arms", "seeds", "epochs", "width"]}
    given = {name: value for name, value in given.items() if value is not None}
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    return dataclasses.replace(Settings(), **given)


def measure(results, what, ask):
    """Asks, keeps the answer and says so."""
    name = " ".join(str(value) for value in what.values())
    sys.stderr.write(f"{name} …\n")
    results.add(what, ask(what))


def missing(results, whats):
    """Those without a result, each once."""
    return list({work.key(what): what for what in whats if results.get(what) is None}.values())


def train_all(command, results, runs, workers):
    ask = functools.partial(work.train, command)
    jobs = [functools.partial(measure, results, run, ask) for run in runs]
    work.in_turns(jobs, workers)


def clock_all(command, results, settings):
    """Costs of every arm, and the times of one step of every arm in turns."""
    for what in missing(results, [work.cost(settings, arm) for arm in settings.arms]):
        results.add(what, work.count(command, what))
    for side, batch in page.sides(settings):
        whats = [work.bench(settings, arm, side, batch) for arm in settings.arms]
        # All anew if one is missing: times of different hours do not compare.
        if missing(results, whats):
            sys.stderr.write(f"{side}, {batch} images, width {settings.width} …\n")
            for what, times in zip(whats, work.clock(command, whats)):
                results.add(what, times)


def show_all(command, results, settings, workers):
    whats = {work.key(what): (what, run) for what, run in shown(results, settings)}

    def ask(what):
        return work.show(command, what, whats[work.key(what)][1], settings)

    # On a machine that has the results and not the weights, networks are trained again, and what they
    # then reach takes the place of what is on record.
    lost = {work.key(run): run for what, run in whats.values() if results.get(what) is None}
    lost = [run for run in lost.values() if not work.weights(command, run).exists()]
    train_all(command, results, lost, workers)

    todo = missing(results, [what for what, _ in whats.values()])
    work.in_turns([functools.partial(measure, results, what, ask) for what in todo], workers)


def main():
    args = arguments()
    settings = settings_of(args)
    results = Results(args.results)
    command = work.Command(args.octresnet, args.runs)
    if not (args.runs / "data").exists():
        args.runs.mkdir(parents=True, exist_ok=True)
        print(split.make(args.data, args.runs / "data"), file=sys.stderr)
    for stage in [stage for stage in STAGES if stage in args.stages]:
        if stage == "tune":
            train_all(command, results, missing(results, tunings(settings)), args.workers)
        elif stage == "clock":
            clock_all(command, results, settings)
            for width in settings.clocked_widths:
                clock_all(command, results, at_width(settings, width))
        elif stage == "final":
            train_all(command, results, missing(results, finals(results, settings)), args.workers)
        elif stage == "timed":
            runs = missing(results, finals(results, settings, timed=True))
            train_all(command, results, runs, args.workers)
        elif stage == "robustness":
            show_all(command, results, settings, args.workers)
        else:
            page.write(args.page, results, settings)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, FileNotFoundError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
