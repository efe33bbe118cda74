"""Pictures of the page as SVG."""

import statistics
from dataclasses import dataclass

INK, GRID = "#262626", "#e0e0e0"
# Okabe and Ito, whose colours differ for the colour-blind, too, and relatives of the second.
PALETTE = ["#d55e00", "#e69f00", "#56b4e9", "#0072b2", "#7f7f7f", "#009e73", "#cc79a7"]
PALETTE += ["#c9a227", "#8a6d1a", "#5b4a12"]


@dataclass
class Point:
    """A network: its accuracies, and what it costs in each panel."""

    name: str
    colour: str
    values: list
    costs: list

    def ends(self):
        """Mean, and a standard deviation below and above it."""
        mean = statistics.mean(self.values)
        deviation = statistics.stdev(self.values) if len(self.values) > 1 else 0
        return mean, mean - deviation, mean + deviation


@dataclass
class Panel:
    """A rectangle of the picture with its axes."""

    box: tuple  # left, top, right, bottom
    x: tuple  # lowest, highest
    y: tuple

    def at(self, x, y):
        left, top, right, bottom = self.box
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    def grid(self, title, xs, names=None):
        """Lines with their values; `xs` are the places of marks below."""
        left, top, right, bottom = self.box
        parts = [text((left + right) / 2, top - 10, title, size=13)]
        for value in ticks(*self.y):
            _, y = self.at(self.x[0], value)
            parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{GRID}"/>')
            parts.append(text(left - 6, y + 4, f"{value:g}", "end"))
        for x, name in zip(xs, names or [f"{x:g}" for x in xs]):
            parts.append(text(self.at(x, self.y[0])[0], bottom + 16, name))
        return parts


def text(x, y, content, anchor="middle", size=11):
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {where}>{content}</text>"


def ticks(low, high, most=6):
    steps = [n * 10**e for e in range(-3, 4) for n in (1, 2, 5)]
    step = next(step for step in steps if (high - low) / step <= most)
    first = int(low // step)
    marks = [round(n * step, 6) for n in range(first, first + 2 * most + 2)]
    return [mark for mark in marks if low <= mark <= high]


def around(values, share=0.08):
    room = max(share * (max(values) - min(values)), 1e-3)
    return min(values) - room, max(values) + room


def svg(width, height, parts):
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" fill="{INK}">\n'
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def legend(entries, left, top, columns, across):
    """Names with their colours."""
    parts = []
    for place, (name, colour) in enumerate(entries):
        x, y = left + across * (place % columns), top + 20 * (place // columns)
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{colour}"/>')
        parts.append(text(x + 10, y + 4, name, "start"))
    return parts


def costs(points, titles):
    """Accuracy over each cost: the mean of each network with its standard deviation."""
    have = [point for point in points if point.values and None not in point.costs]
    if not have:
        return svg(960, 40, [text(14, 20, "nothing measured yet", "start")])
    parts = [text(14, 20, "top-1 (%) over", "start", 13)]
    y = around([end for point in have for end in point.ends()])
    for place, title in enumerate(titles):
        left = 40 + 234 * place
        x = around([point.costs[place] for point in have])
        panel = Panel((left, 48, left + 196, 300), x, y)
        parts += panel.grid(title, ticks(*x, most=5))
        for point in have:
            (cx, cy), (_, low), (_, high) = (
                panel.at(point.costs[place], end) for end in point.ends()
            )
            parts.append(f'<path d="M{cx:.1f} {low:.1f}V{high:.1f}" stroke="{point.colour}"/>')
            parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="5" fill="{point.colour}"/>')
    parts += legend([(point.name, point.colour) for point in have], 54, 342, 4, 232)
    return svg(960, 360 + 20 * ((len(have) - 1) // 4), parts)


def robustness(shown, lines):
    """A panel for each way to spoil pictures: mean top-1 over its strength, a line for each network.

    `shown` is {way: {network: accuracies}}, `lines` {network: (name, colour)}.
    """
    kinds = {}
    for way in shown:
        kind, _, strength = way.partition(":")
        kinds.setdefault(kind, []).append((strength, way))
    clean = kinds.pop("clean", None)
    if not clean or not kinds:
        return svg(960, 40, [text(14, 20, "nothing measured yet", "start")])
    parts = [text(14, 20, "top-1 (%) of", "start", 13)]
    for place, (kind, steps) in enumerate(kinds.items()):
        steps = [("clean", "clean"), *steps]
        left, top = 44 + 232 * (place % 4), 48 + 220 * (place // 4)
        panel = Panel((left, top, left + 186, top + 160), (-0.2, len(steps) - 0.8), (0, 100))
        parts += panel.grid(kind, range(len(steps)), [name for name, _ in steps])
        for arm, (_, colour) in lines.items():
            spots = [
                panel.at(step, statistics.mean(shown[way][arm]))
                for step, (_, way) in enumerate(steps)
                if shown[way][arm]
            ]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            style = f'fill="none" stroke="{colour}" stroke-width="2"'
            parts.append(f'<polyline points="{line}" {style}/>')
    rows = (len(kinds) + 3) // 4
    parts += legend(lines.values(), 54, 40 + 220 * rows, 5, 180)
    return svg(960, 60 + 220 * rows, parts)
