"""The pictures of the demo: the user's own, or a sample of Caltech-101."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visual_memory.terminal.output import plural
from visual_memory.terminal.refused import Refused, listed
from visual_memory.types import Limits
from visual_memory_service.pictures import bad_pictures
from visual_memory_service.pictures.pictures import Picture, faults, labelled

SEED = 0
PICTURES_MAX = 600
PER_CLASS_MAX = 40
CLASSES_MAX = 50
PER_CLASS_MIN = 3
UNSEEN_SHARE = 0.2
CALTECH = Path(__file__).with_name("caltech101")
CREDIT = (
    "Pictures: “Caltech 101” by Fei-Fei Li, Marco Andreetto, Marc’Aurelio Ranzato and Pietro "
    "Perona, CaltechDATA, 2022, doi:10.22002/D1.20086, CC BY 4.0; scaled down."
)
DEFAULT_LIMITS = Limits(
    message_bytes=64 << 20, image_bytes=32 << 20, image_pixels=64_000_000, items=10_000
)


@dataclass(frozen=True, slots=True)
class Collection:
    """Pictures by class: ``seen`` to insert, ``unseen`` to classify.

    The class ``held_back`` is inserted after the others. ``credit`` names the source, and is empty
    for the user's own pictures. ``remarks`` are sentences on pictures of a folder that are left
    out.
    """

    title: str
    credit: str
    held_back: str
    seen: Mapping[str, Sequence[Picture]]
    unseen: Mapping[str, Sequence[Picture]]
    remarks: Sequence[str] = ()

    @property
    def count(self) -> int:
        """Count all pictures."""
        return sum(map(len, [*self.seen.values(), *self.unseen.values()]))

    def known(self, part: Mapping[str, Sequence[Picture]]) -> list[Picture]:
        """Return the pictures in ``part`` of all classes but ``held_back``."""
        return [p for label, pictures in part.items() if label != self.held_back for p in pictures]


def collect(images: Path | None) -> Collection:
    """Collect the user's pictures, or ten classes of Caltech-101 by default. Raises Refused."""
    if images:
        classes, remarks = by_class(images)
        return replace(split(f"your pictures in {images}", "", classes), remarks=remarks)
    return split("Caltech-101", CREDIT, by_class(CALTECH)[0], held_back="sunflower")


def by_class(folder: Path) -> tuple[dict[str, list[Picture]], list[str]]:
    """Sample decodable pictures by class, and return remarks on other files. Raises Refused."""
    classes = defaultdict(list)
    found, files = labelled(folder)
    for picture in found:
        classes[picture.label].append(picture)
    sampled, bad = sample(classes)
    chosen = {label: each for label, each in sampled.items() if len(each) >= PER_CLASS_MIN}
    lines = bad_pictures.lines({str(path): why for path, why in (files.bad | bad).items()})
    remarks = [*bad_pictures.remarks_on(files.others, files.remarks), *lines]
    small = [label for label in classes if len(sampled.get(label, classes[label])) < PER_CLASS_MIN]
    if small:
        remarks.append(
            f"Left out, as classes of fewer than {PER_CLASS_MIN} pictures that decode: "
            f"{listed(sorted(small))}."
        )
    large = sum(len(each) for each in classes.values() if len(each) >= PER_CLASS_MIN)
    if len(bad) + sum(map(len, sampled.values())) < large:
        remarks.append(
            f"A sample is taken, {sum(map(len, chosen.values())):,} of "
            f"{plural(len(found), 'picture')}: at most {CLASSES_MAX} classes, and {PER_CLASS_MAX} "
            "pictures of each."
        )
    if len(chosen) < 2:
        raise Refused(
            *lines,
            f"{folder} has {plural(len(chosen), 'folder')} with at least {PER_CLASS_MIN} pictures "
            "that decode; the demo needs two, one for each class.",
        )
    return chosen, remarks


def sample(
    classes: Mapping[str, Sequence[Picture]],
) -> tuple[dict[str, list[Picture]], dict[Path, str]]:
    """Sample classes and pictures; return decodable pictures by class, and faults by path."""
    random_state = random.Random(SEED)
    labels = sorted(label for label in classes if len(classes[label]) >= PER_CLASS_MIN)
    if len(labels) > CLASSES_MAX:
        labels = sorted(random_state.sample(labels, CLASSES_MAX))
    most = min(PER_CLASS_MAX, PICTURES_MAX // max(len(labels), 1))
    chosen, bad = dict[str, list[Picture]](), dict[Path, str]()
    for label in labels:
        pictures = random_state.sample(classes[label], min(most, len(classes[label])))
        found = faults([each.path for each in pictures], DEFAULT_LIMITS)
        chosen[label] = [p for p, why in zip(pictures, found, strict=True) if not why]
        bad |= {p.path: why for p, why in zip(pictures, found, strict=True) if why}
    return chosen, bad


def split(
    title: str, credit: str, classes: Mapping[str, list[Picture]], held_back: str = ""
) -> Collection:
    """Split each class into four fifths ``seen`` and one fifth ``unseen``.

    The collection's ``held_back`` class is by default the largest.
    """
    seen, unseen = {}, {}
    for label, pictures in classes.items():
        kept = max(1, round(UNSEEN_SHARE * len(pictures)))
        unseen[label], seen[label] = pictures[:kept], pictures[kept:]
    largest = max(classes, key=lambda label: len(classes[label]))
    return Collection(title, credit, held_back or largest, seen, unseen)
