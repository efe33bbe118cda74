#!/usr/bin/env python3
"""Draws what a program shows on a terminal, at a moment of its run or at its end, as SVG.

    pip install pyte
    scripts/terminal_picture.py docs/training.svg --seconds 60 -- target/release/octresnet train

The program is stopped by Ctrl-C once its picture is taken.
"""

import argparse
import fcntl
import html
import os
import pty
import select
import signal
import struct
import termios
import time
from itertools import groupby
from pathlib import Path

import pyte

WIDTH, HEIGHT, SIZE = 7.8, 17, 13
ALTERNATE = b"\x1b[?1049h"
INK, PAPER = "#d4d4d4", "#1e1e1e"
NAMED = {
    "black": "#1e1e1e",
    "red": "#f14c4c",
    "green": "#23d18b",
    "brown": "#e5e510",
    "blue": "#3b8eea",
    "magenta": "#d670d6",
    "cyan": "#29b8db",
    "white": "#e5e5e5",
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--columns", type=int, default=120)
    parser.add_argument("--lines", type=int, default=34)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def show(args):
    """The screen after the given time, or when the program has ended."""
    screen = pyte.Screen(args.columns, args.lines)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(args.command[0], args.command)
    size = struct.pack("HHHH", args.lines, args.columns, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:
            return screen
        if ALTERNATE in data:
            # A screen of its own, which pyte does not know, begins empty.
            screen.reset()
        stream.feed(data)
    os.kill(pid, signal.SIGINT)
    return screen


def colour(name, default):
    if name == "default":
        return default
    return NAMED.get(name.removeprefix("bright"), f"#{name}")


def draw(screen):
    """A rectangle and a text for every stretch of one style, so that fonts cannot shift columns."""
    width, height = screen.columns * WIDTH + 20, screen.lines * HEIGHT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{SIZE}" xml:space="preserve">',
        f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>',
    ]
    for row in range(screen.lines):
        cells = [(column, screen.buffer[row][column]) for column in range(screen.columns)]
        for style, group in groupby(cells, key=lambda cell: cell[1][1:]):
            group = list(group)
            text = "".join(cell.data for _, cell in group)
            ink, paper = colour(style[0], INK), colour(style[1], PAPER)
            ink, paper = (paper, ink) if group[0][1].reverse else (ink, paper)
            x, y, across = 10 + group[0][0] * WIDTH, 10 + row * HEIGHT, len(group) * WIDTH
            if paper != PAPER:
                box = f'x="{x:.1f}" y="{y}" width="{across:.1f}" height="{HEIGHT}"'
                parts.append(f'<rect {box} fill="{paper}"/>')
            if text.strip():
                bold = ' font-weight="bold"' if group[0][1].bold else ""
                where = f'x="{x:.1f}" y="{y + 13}" textLength="{across:.1f}"'
                parts.append(f'<text {where} fill="{ink}"{bold}>{html.escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    args = arguments()
    args.output.write_text(draw(show(args)))


if __name__ == "__main__":
    main()
