#!/usr/bin/env python3
"""Build `examples/data/emoji`: a small picture set for the ResNet example.

Every picture is the 64x64 drawing of one emoji, in the Noto ("google") or the
Twemoji ("twitter") style, composited on white. Twelve classes are made from the
`subcategory` field of `emoji.json`; both drawings of an emoji always land in
the same split, so the validation set holds only emoji never trained on.

The drawings come from two npm packages, pinned below:

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0
    python3 -m pip install "Pillow==13.0.0"
    python3 scripts/make_emoji_dataset.py \\
        --google  emoji-datasource-google-16.0.0.tgz \\
        --twitter emoji-datasource-twitter-16.0.0.tgz

`--google` and `--twitter` take a package tarball or the folder it unpacks to;
left out, the script runs `npm pack` itself in a temporary folder. `--check`
verifies the picture tree that is already there and writes nothing.

The result does not depend on the clock, the locale or Python's hash seed: which
flags are kept and which emoji are for validation follows from the SHA-256 of the
code points. A different Pillow may encode the same pixels to different bytes.
"""

import argparse
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image

VERSION = "16.0.0"
VENDORS = ("google", "twitter")
TARBALL_SHA256 = {
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}

# class name -> pattern the whole `subcategory` has to match
CLASSES = {
    "animal": r"animal-.*",
    "building": r"place-(building|religious)",
    "clock": r"time",
    "clothing": r"clothing",
    "face": r"face-.*",
    "flag": r"flag|country-flag|subdivision-flag",
    "food": r"food-.*|drink",
    "hand": r"hands|hand-.*",
    "heart": r"heart",
    "person": r"person|person-(activity|fantasy|gesture|resting|role|sport)",
    "sky": r"sky & weather",
    "vehicle": r"transport-(air|ground|water)",
}
KEEP_ONE_IN = {"flag": 3}  # there are many flags and they look alike
VAL_FRACTION = 0.2
SEED = "burn-octconv emoji 1"  # changes which emoji are kept and held out
SIZE = 64
COLOURS = 256

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUT = ROOT / "examples" / "data" / "emoji"


class Package:
    """Read access to one npm package, as a tarball or as a folder."""

    def __init__(self, vendor, path):
        self.vendor = vendor
        path = Path(path)
        if path.is_dir():
            self.root = path / "package" if (path / "package").is_dir() else path
            self.files = None
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest != TARBALL_SHA256[vendor]:
                sys.exit(f"{path}: SHA-256 {digest} is not that of version {VERSION}")
            wanted = (f"package/img/{vendor}/{SIZE}/", "package/emoji.json", "package/package.json")
            with tarfile.open(path) as tar:
                self.files = {
                    m.name.removeprefix("package/"): tar.extractfile(m).read()
                    for m in tar
                    if m.isfile() and m.name.startswith(wanted)
                }
        name, version = (json.loads(self.read("package.json"))[k] for k in ("name", "version"))
        if (name, version) != (f"emoji-datasource-{vendor}", VERSION):
            sys.exit(f"{path}: holds {name} {version}, not emoji-datasource-{vendor} {VERSION}")

    def read(self, name):
        return self.files[name] if self.files is not None else (self.root / name).read_bytes()

    def picture(self, entry):
        """The drawing of `entry` on a white ground, as an RGB image."""
        data = self.read(f"img/{self.vendor}/{SIZE}/{entry['image']}")
        drawing = Image.open(io.BytesIO(data)).convert("RGBA")
        if drawing.size != (SIZE, SIZE):
            sys.exit(f"{self.vendor} {entry['image']}: {drawing.size}, not {SIZE}x{SIZE}")
        ground = Image.new("RGBA", drawing.size, "white")
        ground.alpha_composite(drawing)
        return ground.convert("RGB")


def npm_pack(folder):
    """Download both packages into `folder`; returns vendor -> tarball."""
    specs = [f"emoji-datasource-{v}@{VERSION}" for v in VENDORS]
    subprocess.run(["npm", "pack", "--silent", *specs], cwd=folder, check=True, stdout=sys.stderr)
    return {v: Path(folder) / f"emoji-datasource-{v}-{VERSION}.tgz" for v in VENDORS}


def rank(entry):
    """A fixed pseudo-random order of the emoji."""
    return hashlib.sha256(f"{SEED}/{entry['unified'].lower()}".encode()).hexdigest()


def select(entries, packages):
    """class name -> [(entry, {vendor: picture})], without repeated pictures.

    Skin-tone variants are not entries of their own in `emoji.json` (they hang
    under `skin_variations`), so taking the entries leaves them out.
    """
    chosen = {}
    seen = set()
    for name, pattern in CLASSES.items():
        kept = []
        for entry in sorted(entries, key=lambda e: e["sort_order"]):
            if not re.fullmatch(pattern, entry["subcategory"]):
                continue
            if not all(entry[f"has_img_{v}"] for v in VENDORS):
                continue
            pictures = {v: packages[v].picture(entry) for v in VENDORS}
            pixels = {(v, p.tobytes()) for v, p in pictures.items()}
            if seen & pixels:  # e.g. Norway, Bouvet Island and Svalbard share a flag
                continue
            seen |= pixels
            kept.append((entry, pictures))
        if name in KEEP_ONE_IN:
            kept.sort(key=lambda item: rank(item[0]))
            kept = kept[: round(len(kept) / KEEP_ONE_IN[name])]
        chosen[name] = kept
    return chosen


def encode(picture):
    """A small PNG: a palette of at most 256 colours, without dithering.

    Pictures of no more than 256 colours (one in eight) keep every pixel; in
    the others each pixel takes the nearest palette colour.
    """
    colours = picture.getcolors(COLOURS)
    if colours is not None:  # exact palette
        palette = sorted(rgb for _, rgb in colours)
        index = {rgb: i for i, rgb in enumerate(palette)}
        paletted = Image.new("P", picture.size)
        paletted.putpalette([c for rgb in palette for c in rgb])
        raw = picture.tobytes()
        paletted.putdata([index[tuple(raw[i : i + 3])] for i in range(0, len(raw), 3)])
    else:
        paletted = picture.quantize(
            COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE
        )
    out = io.BytesIO()
    paletted.save(out, "PNG", optimize=True)
    return out.getvalue()


def write(chosen, out):
    for split in ("train", "val"):
        shutil.rmtree(out / split, ignore_errors=True)
    for name, items in chosen.items():
        ranked = sorted(items, key=lambda item: rank(item[0]))
        held_out = round(len(ranked) * VAL_FRACTION)
        for i, (entry, pictures) in enumerate(ranked):
            folder = out / ("val" if i < held_out else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            for vendor, picture in pictures.items():
                (folder / f"{entry['unified'].lower()}-{vendor}.png").write_bytes(encode(picture))


def check(out):
    """Verify the tree and print its counts as a Markdown table."""
    counts, emoji, size = Counter(), {"train": set(), "val": set()}, 0
    for split in emoji:
        names = sorted(p.name for p in (out / split).iterdir())
        assert names == sorted(CLASSES), f"{split}: classes are {names}"
        for name in names:
            for path in sorted((out / split / name).iterdir()):
                match = re.fullmatch(rf"([0-9a-f-]+)-({'|'.join(VENDORS)})\.png", path.name)
                assert match, f"unexpected file {path}"
                with Image.open(path) as image:
                    assert image.format == "PNG" and image.size == (SIZE, SIZE), path
                    assert "transparency" not in image.info, path
                    rgb = image.convert("RGB")
                    assert rgb.tobytes().count(b"\xff\xff\xff"), f"{path}: no white"
                twin = path.with_name(
                    path.name.replace("google", "twitter")
                    if match[2] == "google"
                    else path.name.replace("twitter", "google")
                )
                assert twin.exists(), f"{path} has no second drawing"
                emoji[split].add(match[1])
                counts[split, name] += 1
                size += path.stat().st_size
            assert counts[split, name], f"{split}/{name} is empty"
    assert not emoji["train"] & emoji["val"], "an emoji is in both splits"
    print("| class | train | val |")
    print("| --- | ---: | ---: |")
    for name in sorted(CLASSES):
        print(f"| {name} | {counts['train', name]} | {counts['val', name]} |")
    sums = [sum(counts[s, c] for c in CLASSES) for s in ("train", "val")]
    print(f"| **all** | **{sums[0]}** | **{sums[1]}** |")
    print(f"{sum(sums)} pictures, {size:,} bytes", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.RawTextHelpFormatter
    )
    for vendor in VENDORS:
        parser.add_argument(
            f"--{vendor}", metavar="PATH", help=f"emoji-datasource-{vendor} tarball or folder"
        )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder to write to")
    parser.add_argument("--check", action="store_true", help="only verify the tree in --out")
    args = parser.parse_args()
    if not args.check:
        with tempfile.TemporaryDirectory() as folder:
            paths = {v: getattr(args, v) for v in VENDORS}
            if not all(paths.values()):
                paths = {**npm_pack(folder), **{v: p for v, p in paths.items() if p}}
            packages = {v: Package(v, paths[v]) for v in VENDORS}
            entries = json.loads(packages[VENDORS[0]].read("emoji.json"))
            write(select(entries, packages), args.out)
    check(args.out)


if __name__ == "__main__":
    main()
