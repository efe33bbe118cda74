"""The tables and pictures of the page. Its text is written by hand; what stands between
`<!-- made: NAME -->` and `<!-- end -->` is made here."""

import math
import re
import statistics

import choice
import plots
import work
from settings import HALF, MOST, POOLED, SHARES, STRIDED, at_width
from spread import mean_and_deviation, paired


def label(arm):
    """An arm in words short enough for a table."""
    choice_, _, width = arm.partition("@")
    choice_, _, stride = choice_.partition(":")
    name = choice_.replace("shares=", "").split(";")[0] if "shares" in choice_ else f"α = {choice_}"
    stride = stride or ("strided" if choice_ == "0" else "pooled")
    return f"{name}, {stride}" + (f", width {width}" if width else "")


def accuracies(results, settings, arm, timed=False):
    """{seed: top-1 in percent} of the finished runs."""
    found = {}
    for seed in settings.seeds:
        run = choice.final(results, settings, arm, seed, timed)
        result = run and results.get(run)
        if result:
            found[seed] = 100 * result["val_top1"]
    return found


def milliseconds(results, settings, arm, side, batch):
    result = results.get(work.bench(settings, arm, side, batch))
    return result and result["ms"]


def macs(results, settings, arm):
    result = results.get(work.cost(settings, arm))
    return result and result["macs"] / 1e6


def costs(results, settings, arm):
    """Millions of multiply-adds of an image, and milliseconds of every side."""
    times = [milliseconds(results, settings, arm, *side) for side in sides(settings)]
    return [macs(results, settings, arm), *times]


def cost_names(settings):
    names = ["multiply–adds (M)", "inference, 1 image (ms)"]
    return names + [f"{name}, {settings.batch} (ms)" for name in ["inference", "training step"]]


def sides(settings):
    return [("infer", 1), ("infer", settings.batch), ("train", settings.batch)]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value, digits=1):
    return "–" if value is None else f"{value:.{digits}f}"


def spread(values):
    if not values:
        return "–"
    mean, deviation = mean_and_deviation(list(values))
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def arms_table(results, settings):
    rows = []
    for arm in settings.arms:
        found = accuracies(results, settings, arm)
        runs = [choice.final(results, settings, arm, seed) for seed in found]
        last = [results.get(run) for run in runs]
        rate = choice.rate_of(results, settings, arm)
        train = statistics.mean(100 * run["train_top1"] for run in last) if last else None
        loss = statistics.mean(run["val_loss"] for run in last) if last else None
        rows.append(
            [
                label(arm),
                *(number(value, 1) for value in costs(results, settings, arm)),
                "–" if rate is None else f"{rate:g}",
                str(len(found)),
                spread(found.values()),
                number(loss, 3),
                number(train),
            ]
        )
    head = ["network", *cost_names(settings), "rate", "seeds", "top-1 (%)", "loss", "training top-1"]
    return table(head, rows)


def questions(settings):
    """What is compared with what, and what it tells."""
    narrow = [arm for arm in settings.arms if "@" in arm]
    rows = [
        ("pooled strides, no second frequency", POOLED, STRIDED),
        ("the usual octave network against the usual vanilla one", HALF, STRIDED),
        ("a second frequency, all strides pooled", "0.25", POOLED),
        ("", HALF, POOLED),
        ("", MOST, POOLED),
        ("three frequencies", SHARES, POOLED),
        ("three frequencies against two", SHARES, HALF),
        ("a second frequency, all strides strided", "0.5:strided", STRIDED),
        ("pooled strides with two frequencies", HALF, "0.5:strided"),
        *(("octave against narrow vanilla, pooled", arm, one) for arm in [HALF, MOST] for one in narrow),
    ]
    return [row for row in rows if row[1] in settings.arms and row[2] in settings.arms]


def signed(value):
    return f"{value:+.1f}".replace("-", "−")


def interval(result):
    if result is None:
        return "–"
    mean, half, _ = result
    if math.isinf(half):
        return f"{signed(mean)} (one seed)"
    return f"{signed(mean)} ({signed(mean - half)} to {signed(mean + half)})"


def differences_table(results, settings):
    rows = []
    for question, ours, theirs in questions(settings):
        pair = [accuracies(results, settings, arm) for arm in (ours, theirs)]
        found = paired(*pair)
        seeds = "–" if found is None else str(found[2])
        rows.append([question, label(ours), label(theirs), seeds, interval(found)])
    return table(["", "network", "beside", "seeds", "top-1, points (95 %)"], rows)


def timed_table(results, settings):
    base = accuracies(results, settings, settings.timed_arms[0], timed=True)
    rows = []
    for arm in settings.timed_arms:
        found = accuracies(results, settings, arm, timed=True)
        epochs = choice.epochs_of(results, settings, arm, timed=True)
        own = paired(found, accuracies(results, settings, arm))
        first = arm == settings.timed_arms[0]
        rows.append(
            [
                label(arm),
                number(milliseconds(results, settings, arm, "train", settings.batch), 2),
                "–" if epochs is None else str(epochs),
                str(len(found)),
                spread(found.values()),
                "" if first else interval(paired(found, base)),
                "" if epochs == settings.epochs else interval(own),
            ]
        )
    head = ["network", "training step (ms)", "epochs", "seeds", "top-1 (%)"]
    head += [f"beside {label(settings.timed_arms[0])}", f"beside its {settings.epochs} epochs"]
    return table(head, rows)


def widths_table(results, settings):
    """Times and multiply-adds at every width, as shares of the vanilla network with pooled strides."""
    rows = []
    for width in [settings.width, *settings.clocked_widths]:
        wide = at_width(settings, width)
        base = costs(results, wide, POOLED)
        for arm in wide.arms:
            pairs = zip(costs(results, wide, arm), base)
            cells = [
                "–" if None in (ours, theirs) else f"{ours:.3g} ({100 * ours / theirs:.0f} %)"
                for ours, theirs in pairs
            ]
            rows.append([f"{width:g}", label(arm), *cells])
    return table(["width", "network", *cost_names(settings)], rows)


def rates_table(results, settings):
    rows = []
    for arm in settings.arms:
        found = choice.tuned(results, settings, arm)
        best = choice.rate_of(results, settings, arm)
        cells = []
        for rate in settings.rates:
            text = number(100 * found[rate]) if rate in found else "–"
            cells.append(f"**{text}**" if rate == best else text)
        rows.append([label(arm), *cells])
    return table(["network", *(f"{rate:g}" for rate in settings.rates)], rows)


def seeds_table(results, settings):
    rows = []
    for timed, arms in [(False, settings.arms), (True, settings.timed_arms[1:])]:
        for arm in arms:
            found = accuracies(results, settings, arm, timed)
            epochs = choice.epochs_of(results, settings, arm, timed)
            cells = [number(found.get(seed)) for seed in settings.seeds]
            rows.append([label(arm), "–" if epochs is None else str(epochs), *cells])
    return table(["network", "epochs", *(f"seed {seed}" for seed in settings.seeds)], rows)


def shown(results, settings):
    """{way: {arm: [top-1 in percent of each seed]}}"""
    found = {}
    for what, run in choice.shown(results, settings):
        for way, row in (results.get(what) or {}).items():
            # The images as they are come first in every answer: once is enough.
            if way == "clean" and what["ways"][0] != settings.corruptions[0]:
                continue
            arms = found.setdefault(way, {arm: [] for arm in settings.shown_arms})
            arms[run["arm"]].append(100 * row["top1"])
    # First the images as they are.
    return dict(sorted(found.items(), key=lambda item: item[0] != "clean"))


def progress_table(results, settings):
    """How much of the study is done, so that no gap is taken for a result."""

    def done(whats):
        return sum(results.get(what) is not None for what in whats)

    asked = len(settings.shown_arms) * len(settings.shown_seeds) * len(choice.ways(settings))
    tunings = choice.tunings(settings)
    rows = [
        ("learning rates", done(tunings), len(tunings)),
        *(
            (name, done(choice.finals(results, settings, timed)), len(choice.planned(settings, timed)))
            for name, timed in [("equal epochs", False), ("equal time", True)]
        ),
        ("robustness", done(what for what, _ in choice.shown(results, settings)), asked),
    ]
    return table(["", "done", "of"], [[str(cell) for cell in row] for row in rows])


def robustness_table(results, settings):
    rows = []
    for way, arms in shown(results, settings).items():
        cells = [spread(arms[arm]) for arm in settings.shown_arms]
        rows.append([f"`{way}`", *cells])
    return table(["input", *(label(arm) for arm in settings.shown_arms)], rows)


def write(path, results, settings):
    makers = {
        "progress": progress_table,
        "arms": arms_table,
        "differences": differences_table,
        "timed": timed_table,
        "rates": rates_table,
        "seeds": seeds_table,
        "widths": widths_table,
        "robustness": robustness_table,
    }
    text = path.read_text()
    for name, maker in makers.items():
        block = f"<!-- made: {name} -->\n{maker(results, settings)}\n<!-- end -->"
        text = re.sub(rf"<!-- made: {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.S)
    path.write_text(text)
    colours = dict(zip(settings.arms, plots.PALETTE))
    path.with_suffix(".svg").write_text(costs_picture(results, settings, colours))
    lines = {arm: (label(arm), colours[arm]) for arm in settings.shown_arms if arm in colours}
    picture = plots.robustness(shown(results, settings), lines)
    path.with_name(f"{path.stem}-robustness.svg").write_text(picture)


def costs_picture(results, settings, colours):
    points = []
    for arm in settings.arms:
        values = list(accuracies(results, settings, arm).values())
        points.append(plots.Point(label(arm), colours[arm], values, costs(results, settings, arm)))
    return plots.costs(points, cost_names(settings))
