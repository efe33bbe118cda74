"""Which runs there are: learning rates by one rule for all arms, seeds, equal epochs, equal time."""

import statistics

import work


def tunings(settings):
    return [
        work.training(settings, arm, "tune", rate, settings.epochs, seed)
        for arm in settings.arms
        for rate in settings.rates
        for seed in settings.tuning_seeds
    ]


def tuned(results, settings, arm):
    """{rate: mean top-1 on the pictures to choose with}, of the rates whose runs are finished."""
    found = {}
    for rate in settings.rates:
        runs = [
            results.get(work.training(settings, arm, "tune", rate, settings.epochs, seed))
            for seed in settings.tuning_seeds
        ]
        if None not in runs:
            found[rate] = statistics.mean(run["val_top1"] for run in runs)
    return found


def rate_of(results, settings, arm):
    """The rate with the highest accuracy, of equal ones the smallest; None if one is not tried."""
    found = tuned(results, settings, arm)
    if len(found) < len(settings.rates):
        return None
    return max(sorted(found), key=found.get)


def epochs_of(results, settings, arm, timed):
    """Equal epochs, or as many as fit into the time of the first timed arm, at least one."""
    if not timed:
        return settings.epochs
    names = [settings.timed_arms[0], arm]
    steps = [results.get(work.bench(settings, name, "train", settings.batch)) for name in names]
    if None in steps:
        return None
    return max(1, round(settings.epochs * steps[0]["ms"] / steps[1]["ms"]))


def final(results, settings, arm, seed, timed=False):
    """The key of a reported run, or None while its rate or its epochs are not known."""
    rate, epochs = rate_of(results, settings, arm), epochs_of(results, settings, arm, timed)
    if rate is None or epochs is None:
        return None
    return work.training(settings, arm, "final", rate, epochs, seed)


def planned(settings, timed=False):
    """(network, seed) of all reported runs, seed by seed, so that a study that ends early has some of
    every network."""
    arms = settings.timed_arms if timed else settings.arms
    return [
        (arm, seed)
        for place, seed in enumerate(settings.seeds)
        for arm in arms
        if place < settings.side_seeds or arm not in settings.side_arms
    ]


def finals(results, settings, timed=False):
    """The keys of the reported runs whose rate and epochs are known."""
    runs = [final(results, settings, arm, seed, timed) for arm, seed in planned(settings, timed)]
    return [run for run in runs if run is not None]


def ways(settings):
    """What spoiled pictures a network is shown, question by question."""
    return [settings.corruptions, *((attack, *settings.epsilons) for attack in settings.attacks)]


def shown(results, settings):
    """What finished runs are asked about spoiled pictures: the key of it, and the run."""
    seeds = [seed for seed in settings.shown_seeds if seed in settings.seeds]
    runs = [final(results, settings, arm, seed) for seed in seeds for arm in settings.shown_arms]
    runs = [run for run in runs if run is not None and results.get(run) is not None]
    return [(work.showing(run, way), run) for run in runs for way in ways(settings)]
