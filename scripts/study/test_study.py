"""What the study's numbers rest on: python3 -m unittest discover scripts/study"""

import tempfile
import unittest
from pathlib import Path

import choice
import split
import work
from results import Results
from settings import ROOT, Settings, network
from spread import paired


class Study(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_no_emoji_is_on_two_sides(self):
        counts = split.make(ROOT / "examples/data/emoji", self.folder / "data")
        names = {
            side: {split.emoji(path) for path in (self.folder / "data" / side).rglob("*.png")}
            for side in ["tune/train", "tune/val", "final/train", "final/val"]
        }
        self.assertFalse(names["tune/train"] & names["tune/val"])
        self.assertFalse(names["final/train"] & names["final/val"])
        self.assertEqual(names["final/train"], names["tune/train"] | names["tune/val"])
        self.assertEqual(sum(counts.values()), 2068)
        self.assertAlmostEqual(counts["test"] / 2068, 0.2, delta=0.01)

    def test_the_interval_is_student_s(self):
        # Differences 1, 2, 3, 4, 5: mean 3, deviation √2.5, t of 4 degrees 2.776.
        ours, theirs = {n: 2 * n for n in range(1, 6)}, {n: n for n in range(0, 6)}
        mean, half, count = paired(ours, theirs)
        self.assertEqual((mean, count), (3, 5))
        self.assertAlmostEqual(half, 2.776 * (2.5 / 5) ** 0.5)
        self.assertIsNone(paired({1: 1.0}, {2: 1.0}))

    def test_arms_are_flags(self):
        self.assertEqual(
            network("0:pooled@0.2", 0.25),
            ["--alpha", "0", "--stride", "pooled", "--width", "0.2"],
        )
        self.assertEqual(
            network("shares=0.5,0.25,0.25;0.5,0.5;1", 0.25),
            ["--shares", "0.5,0.25,0.25;0.5,0.5;1", "--stride", "auto", "--width", "0.25"],
        )

    def test_rates_and_epochs_follow_from_results_that_outlive_the_process(self):
        settings = Settings(arms=("0",), timed_arms=("0:pooled", "0"), rates=(0.1, 0.2), epochs=8)
        results = Results(self.folder / "study.jsonl")
        self.assertIsNone(choice.final(results, settings, "0", 0))
        for run, top1 in zip(choice.tunings(settings), [0.5, 0.6]):
            results.add(run, {"val_top1": top1})
        for arm, ms in [("0:pooled", 3.0), ("0", 2.0)]:
            results.add(work.bench(settings, arm, "train", settings.batch), {"ms": ms})
        again = Results(self.folder / "study.jsonl")
        run = choice.final(again, settings, "0", 0, timed=True)
        self.assertEqual((run["rate"], run["epochs"], run["data"]), (0.2, 12, "final"))


if __name__ == "__main__":
    unittest.main()
