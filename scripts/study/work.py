"""Measurements: each asks the command once, and knows the key of its result."""

import csv
import hashlib
import json
import os
import shlex
import shutil
import statistics
import subprocess
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from results import key
from settings import ROOT, network

ROUNDS, SECONDS = 3, 0.5


class Command:
    """The command `octresnet`, on one thread each time and behind whatever else the machine does."""

    def __init__(self, words, runs):
        self.words, self.runs = words, runs

    def __call__(self, *arguments, log=None, nice=19):
        line = ["nice", "-n", str(nice), *self.words, *map(str, arguments)]
        environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
        done = subprocess.run(
            line, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=log
        )
        if done.returncode != 0:
            raise RuntimeError(f"failed: {shlex.join(line)}")
        return done.stdout


def in_turns(jobs, workers):
    """Runs all jobs, some at a time; the first that fails ends the rest."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(job) for job in jobs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        pool.shutdown(cancel_futures=True)
        for future in done:
            if not future.cancelled():
                future.result()


def training(settings, arm, data, rate, epochs, seed):
    """The key of a run: `data` is tune, to choose with, or final, to report."""
    return {
        "kind": "training",
        "config": settings.config,
        "data": data,
        "arm": arm,
        "width": settings.width,
        "rate": rate,
        "epochs": epochs,
        "seed": seed,
    }


def folder(command, run):
    """Where a run lies, under a name that follows from its key."""
    digest = hashlib.sha256(key(run).encode()).hexdigest()[:8]
    arm = "".join(c if c.isalnum() or c in ".-" else "-" for c in run["arm"])
    return command.runs / f"{run['data']}-{arm}-{digest}"


def weights(command, run):
    """The last weights, the best ones being chosen on the very pictures that are reported on."""
    return folder(command, run) / "last.bpk"


def log_of(place):
    return open(place.with_name(f"{place.name}.log"), "a")


def train(command, run):
    """Trains to the last epoch, from the last checkpoint if there is one, and reads the metrics."""
    place = folder(command, run)
    flags = ["--config", run["config"], "--data", command.runs / "data" / run["data"]]
    flags += [*network(run["arm"], run["width"]), "--lr", run["rate"], "--epochs", run["epochs"]]
    flags += ["--seed", run["seed"], "--workers", 1, "--output", place]
    resume = ["--resume"] if (place / "config.json").exists() else []
    with log_of(place) as log:
        command("train", "--plain", *flags, *resume, log=log)
    with open(place / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) < run["epochs"]:
        raise RuntimeError(f"stopped: {place}")
    # Checkpoints are large, and nothing needs those of a finished run.
    shutil.rmtree(place / "checkpoint", ignore_errors=True)
    last = {name: float(rows[-1][name]) for name in ["train_top1", "val_loss", "val_top1"]}
    return {**last, "seconds": round(sum(float(row["seconds"]) for row in rows), 1)}


def cost(settings, arm):
    return {"kind": "cost", "arm": arm, "width": settings.width, "size": settings.size}


def count(command, what):
    """Multiply-adds of an image, and parameters."""
    flags = ["--size", what["size"], "--classes", 12, *network(what["arm"], what["width"])]
    info = json.loads(command("info", "--json", "--arch", "oct-resnet-26", *flags))
    return {name: info[name] for name in ["macs", "params"]}


def bench(settings, arm, side, batch):
    size, width = settings.size, settings.width
    return {
        "kind": "bench",
        "side": side,
        "arm": arm,
        "width": width,
        "size": size,
        "batch": batch,
    }


def clock(command, whats):
    """Milliseconds of several networks in turns, so that a machine that slows down does so for all."""
    times = {key(what): [] for what in whats}
    for _ in range(ROUNDS):
        for what in whats:
            flags = network(what["arm"], what["width"])
            # Of shares the last row tells; the one of alpha before them is not wanted.
            flags += ["--alpha", 0] if "--shares" in flags else []
            flags += ["--arch", "oct-resnet-26", "--size", what["size"], "--batch", what["batch"]]
            flags += ["--rows", "engine", "--seconds", SECONDS, "--json"]
            flags += ["--no-memory"] if what["side"] == "train" else []
            row = json.loads(command("bench", what["side"], *flags, nice=0))["rows"][-1]
            times[key(what)].append(row["median_ms"])
    return [
        {"ms": round(statistics.median(times[key(what)]), 3), "rounds": times[key(what)]}
        for what in whats
    ]


def showing(run, ways):
    """The key of what a trained network says to spoiled pictures."""
    return {**run, "kind": "robustness", "ways": list(ways)}


def show(command, what, run, settings):
    """Top-1 and loss on pictures as they are, and spoiled."""
    if what["ways"][0] in settings.attacks:
        flags = ["--attack", what["ways"][0], "--epsilon", ",".join(what["ways"][1:])]
    else:
        flags = [flag for way in what["ways"] for flag in ("--corrupt", way)]
    with log_of(folder(command, run)) as log:
        arguments = ["evaluate", weights(command, run), *flags, "--workers", 1, "--json"]
        rows = json.loads(command(*arguments, log=log))
    return {row["input"]: {"top1": row["top1"], "loss": row["loss"]} for row in rows}
