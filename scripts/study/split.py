"""Pictures to train on, to choose with and to report on, as folders of links.

The recipe was chosen by its accuracy on val/, so val/ is what choices are made with here, too; the
pictures that the study reports on are a quarter of train/, on which nothing was ever judged. Both
drawings of an emoji go to the same side.
"""

import hashlib
import shutil

SEED, TEST_SHARE = "burn-octconv study 1", 0.25


def emoji(path):
    """What is drawn: the code points, which the name has in front of who drew it."""
    return path.stem.rsplit("-", 1)[0]


def is_test(paths):
    """The emoji of one class to report on: those with the smallest hashes."""
    names = sorted({emoji(path) for path in paths})
    names.sort(key=lambda name: hashlib.sha256(f"{SEED} {name}".encode()).digest())
    return set(names[: max(1, round(TEST_SHARE * len(names)))])


def parts(source):
    """{(part, class): pictures} of test, tune and train."""
    found = {}
    for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        pictures = sorted(folder.iterdir())
        test = is_test(pictures)
        found["test", folder.name] = [path for path in pictures if emoji(path) in test]
        found["train", folder.name] = [path for path in pictures if emoji(path) not in test]
        found["tune", folder.name] = sorted((source / "val" / folder.name).iterdir())
    return found


def link(pictures, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / picture.name).symlink_to(picture.resolve())


def make(source, target):
    """Image folders below `target`, whose `val` is what each is judged on, and the counts."""
    found = parts(source)
    draft = target.with_name(target.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    for (part, name), pictures in found.items():
        sides = {"train": ["tune/train", "final/train"], "tune": ["tune/val", "final/train"]}
        for side in sides.get(part, ["final/val"]):
            link(pictures, draft / side / name)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    counts = {part: 0 for part in ["train", "tune", "test"]}
    for (part, _), pictures in found.items():
        counts[part] += len(pictures)
    return counts
