"""What the study compares, and how much of it."""

from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Names that the tables and the pictures share with the text of the page.
STRIDED, POOLED, HALF, MOST = "0", "0:pooled", "0.5", "0.75"
SHARES = "shares=0.5,0.25,0.25;0.5,0.25,0.25;0.5,0.5"


@dataclass(frozen=True)
class Settings:
    """Everything that decides what is measured; a result is kept under these values."""

    config: str = "configs/emoji.json"
    width: float = 0.25
    epochs: int = 6
    # The same small grid for every arm, and seeds that no reported run has.
    rates: tuple = (0.025, 0.05, 0.1)
    tuning_seeds: tuple = (100,)
    seeds: tuple = (0, 1, 2, 3, 4)
    arms: tuple = (
        STRIDED,
        POOLED,
        "0.25",
        HALF,
        "0.5:strided",
        MOST,
        SHARES,
        "0:pooled@0.2",
        "0:pooled@0.18",
    )
    # Side questions have the first of the seeds.
    side_arms: tuple = ("0.5:strided", SHARES)
    side_seeds: int = 3
    # Those that are trained again for as long as the first of them takes.
    timed_arms: tuple = (POOLED, STRIDED, HALF, MOST)
    shown_arms: tuple = (STRIDED, POOLED, "0.25", HALF, MOST)
    shown_seeds: tuple = (0, 1, 2)
    corruptions: tuple = (
        *("blur:1", "blur:2", "blur:3"),
        *("noise:0.05", "noise:0.1", "noise:0.2"),
        *("jpeg:30", "jpeg:10", "jpeg:5"),
        *("lowpass:0.5", "lowpass:0.25", "lowpass:0.125"),
        *("highpass:0.03", "highpass:0.06", "highpass:0.125"),
    )
    attacks: tuple = ("fgsm", "pgd")
    epsilons: tuple = ("1/255", "2/255", "4/255")
    # Times are measured at these, too: the engine computes 16 channels at a time, and narrow networks
    # give the second frequency fewer.
    clocked_widths: tuple = (0.5, 1.0)
    batch: int = 16
    size: int = 64


def at_width(settings, width):
    """The same arms at another width, but for those that have their own."""
    arms = tuple(arm for arm in settings.arms if "@" not in arm)
    return replace(settings, width=width, arms=arms)


def network(arm, width):
    """The flags of an arm: ALPHA[:STRIDE][@WIDTH], or shares=SHARES with the same endings."""
    choice, _, own_width = arm.partition("@")
    choice, _, stride = choice.partition(":")
    name, _, shares = choice.partition("=")
    flags = ["--shares", shares] if shares and name == "shares" else ["--alpha", choice]
    return [*flags, "--stride", stride or "auto", "--width", own_width or str(width)]
