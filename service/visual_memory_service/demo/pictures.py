"""Which pictures the demo shows: the user's, else Caltech-101, else digits."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from visual_memory._terminal.output import plural
from visual_memory._terminal.refused import MissingExtra, Refused
from visual_memory.types import Limits
from visual_memory_service.commands.pictures import Picture, faults, labelled
from visual_memory_service.demo import caltech

SEED = 0
PICTURES_MAX = 600
PER_CLASS_MAX = 40
CLASSES_MAX = 50
PER_CLASS_MIN = 3
UNSEEN_SHARE = 0.2
DIGIT_PIXELS = 64
DEFAULT_LIMITS = Limits(
    message_bytes=64 << 20, image_bytes=32 << 20, image_pixels=64_000_000, items=10_000
)


@dataclass(frozen=True, slots=True)
class Collection:
    """Pictures by class, to remember and to ask about; one class is held back at first."""

    title: str
    held_back: str
    seen: Mapping[str, Sequence[Picture]]
    unseen: Mapping[str, Sequence[Picture]]

    @property
    def count(self) -> int:
        """All pictures."""
        return sum(map(len, [*self.seen.values(), *self.unseen.values()]))

    def known(self, part: Mapping[str, Sequence[Picture]]) -> list[Picture]:
        """The pictures of all classes but the one that is held back."""
        return [p for label, pictures in part.items() if label != self.held_back for p in pictures]


def collect(images: Path | None, folder: Path) -> Collection:
    """The user's pictures, or public ones; ``folder`` may be written to. Raises Refused."""
    if images:
        return split(f"your pictures in {images}", by_class(images))
    try:
        return split("Caltech-101", by_class(caltech.fetch()), held_back="sunflower")
    except caltech.Unreachable as reason:
        print(f"{reason} The demo shows the digits of scikit-learn instead.", file=sys.stderr)
    draw_digits(folder / "digits")
    return split("handwritten digits", by_class(folder / "digits"), held_back="7")


def by_class(folder: Path) -> dict[str, list[Picture]]:
    """A sample of the pictures that decode, by class. Raises Refused."""
    random_state = random.Random(SEED)
    classes = defaultdict(list)
    for picture in labelled(folder)[0]:
        classes[picture.label].append(picture)
    labels = sorted(label for label in classes if len(classes[label]) >= PER_CLASS_MIN)
    if len(labels) > CLASSES_MAX:
        labels = sorted(random_state.sample(labels, CLASSES_MAX))
    most = min(PER_CLASS_MAX, PICTURES_MAX // max(len(labels), 1))
    chosen = {}
    for label in labels:
        pictures = random_state.sample(classes[label], min(most, len(classes[label])))
        found = faults([each.path for each in pictures], DEFAULT_LIMITS)
        chosen[label] = [p for p, fault in zip(pictures, found, strict=True) if not fault]
    chosen = {label: each for label, each in chosen.items() if len(each) >= PER_CLASS_MIN}
    if len(chosen) < 2:
        raise Refused(
            f"{folder} has {plural(len(chosen), 'folder')} with at least {PER_CLASS_MIN} pictures "
            "that decode; the demo needs two, one for each class."
        )
    return chosen


def split(title: str, classes: Mapping[str, list[Picture]], held_back: str = "") -> Collection:
    """Keep one picture in five of each class for asking; hold back the largest class if none."""
    seen, unseen = {}, {}
    for label, pictures in classes.items():
        kept = max(1, round(UNSEEN_SHARE * len(pictures)))
        unseen[label], seen[label] = pictures[:kept], pictures[kept:]
    largest = max(classes, key=lambda label: len(classes[label]))
    return Collection(title, held_back or largest, seen, unseen)


def draw_digits(folder: Path) -> None:
    """Write 8 × 8 digits as larger PNGs, a folder per digit. Raises Refused."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise MissingExtra("scikit-learn", extra="demo", purpose="The demo with digits") from None
    digits = load_digits()
    counts = defaultdict[int, int](int)
    for pixels, digit in zip(digits.images, digits.target.tolist(), strict=True):
        if counts[digit] == PER_CLASS_MAX:
            continue
        counts[digit] += 1
        ink = Image.fromarray((255 - 15.9 * pixels).astype(np.uint8))
        path = folder / str(digit) / f"{counts[digit]:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        ink.resize((DIGIT_PIXELS, DIGIT_PIXELS), Image.Resampling.BICUBIC).save(path)
