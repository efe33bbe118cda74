"""Means and how sure they are."""

import math
import statistics

# Student's t, 97.5 %, by degrees of freedom from 1.
T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]


def mean_and_deviation(values):
    """Of one value the deviation is None."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def paired(ours, theirs):
    """Mean and half width of the 95 % interval of ours − theirs, {seed: value} each, over the seeds
    that both have; None without any, and an infinite interval with one."""
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return None
    mean, deviation = mean_and_deviation(differences)
    if deviation is None:
        return mean, math.inf, 1
    count = len(differences)
    t = T[min(count - 2, len(T) - 1)]
    return mean, t * deviation / math.sqrt(count), count
