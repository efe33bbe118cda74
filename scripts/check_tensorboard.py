#!/usr/bin/env python3
"""Reads the logs of `octresnet train --log tensorboard` with TensorBoard's own package, and compares them
with the run's metrics:

  octresnet train --log tensorboard --output runs/logged
  python3 -m venv venv && venv/bin/pip install tensorboard
  venv/bin/python scripts/check_tensorboard.py runs/logged
"""

import csv
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TIMES = {"images_per_second", "data_wait"}


def read(folder):
    """All that TensorBoard finds in a folder, none of it left out as it would for its page."""
    logs = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    logs.Reload()
    return logs


def check_rows(logs, part, rows):
    """An epoch's numbers are those of its row, at the last step of its optimizer."""
    steps = [event.step for event in logs.Scalars("epoch")]
    assert steps == sorted(set(steps)) and len(steps) == len(rows), (part, steps)
    names = ["loss", "top1", "top5"] + (sorted(TIMES) if part == "train" else [])
    for name in names:
        events = logs.Scalars(name)
        column = name if name in TIMES else f"{part}_{name}"
        assert [event.step for event in events] == steps, (part, name)
        for event, row in zip(events, rows):
            expected = struct.unpack("f", struct.pack("f", float(row[column])))[0]
            assert event.value == expected, (part, name, event, row)
    return steps


def check_images(logs, steps):
    for name in ["confusion", "predictions"]:
        events = logs.Images(name)
        assert events and events[-1].step == steps[-1], name
        for event in events:
            png = event.encoded_image_string
            assert png.startswith(b"\x89PNG"), name
            # Width and height stand at a fixed place of the file.
            assert struct.unpack(">II", png[16:24]) == (event.width, event.height), name
        print(f"{name}: {len(events)} images of {events[0].width}x{events[0].height}")


def main(run):
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    train, val = (read(run / "tensorboard" / part) for part in ["train", "val"])
    ends = check_rows(train, "train", rows)
    assert check_rows(val, "val", rows) == ends
    for name in ["batch_loss", "learning_rate"]:
        events = train.Scalars(name)
        steps = [event.step for event in events]
        assert steps == list(range(1, ends[-1] + 1)), (name, "steps are missing or there twice")
        times = [event.wall_time for event in events]
        assert times == sorted(times), name
    last = {event.step: event.value for event in train.Scalars("learning_rate")}
    for step, row in zip(ends, rows):
        assert abs(last[step] - float(row["lr"])) <= 1e-6 * last[step], (step, row["lr"])
    check_images(val, ends)
    print(f"{len(rows)} epochs of {ends[-1]} steps in all: as in metrics.csv")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
