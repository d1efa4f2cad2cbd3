"""The splits by which decision rules are compared with classifiers trained on the same vectors.

They were fixed before the rules were measured on them: rules were developed on other halves of the
pictures. `python benchmarks/decisions/splits.py` prints a digest of all of them, which is that in
splits.sha256. The lists are of names alone, so they need no network.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

SEEDS = range(5)
CROPS = 4  # of each picture, further entries of its label
SETS = {
    "natural16": ("natural16",),
    "caltech20": ("caltech20",),
    "both": ("natural16", "caltech20"),
}
PER_LABEL = (5, 20, 100)
RATIOS = (1, 10, 50)  # of frequent to rare labels, half of all each
NOISES = (
    ("none", 0.0),
    ("uniform", 0.1),
    ("uniform", 0.4),
    ("confusable", 0.1),
    ("confusable", 0.4),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A picture by its path, or one of its CROPS by number from 1; 0 is the whole picture."""

    picture: str
    crop: int
    label: str


@dataclass(frozen=True, slots=True)
class Split:
    """The entries of a memory with the labels given to them, and the queries asked of it.

    ``given`` has the label of each item of ``entries``: the item's own unless it is noise. Queries
    are whole pictures, none of which is in the memory, not even by a crop. ``rare`` are the labels
    with fewer entries.
    """

    entries: Sequence[Item]
    given: Sequence[str]
    queries: Sequence[Item]
    rare: frozenset[str]


def pictures(data: Path, name: str) -> dict[str, list[str]]:
    """Return the paths below ``data`` of the pictures of each label of one of SETS."""
    found: dict[str, list[str]] = {}
    for part in SETS[name]:
        with (data / part / "manifest.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                label = row["file"].partition("/")[0]
                found.setdefault(label, []).append(f"{part}/{row['file']}")
    return {label: sorted(found[label]) for label in sorted(found)}


def split(
    of_label: Mapping[str, Sequence[str]],
    seed: int,
    *,
    per_label: int,
    ratio: int,
    noise: str,
    share: float,
    nearest: Mapping[str, str],
) -> Split:
    """Cut one split: half of the pictures of each label for the memory, half as queries.

    A label has ``per_label`` entries, or as many as there are; a rare one ``ratio`` times fewer,
    but one at least. ``share`` of all entries get another label: any, or the ``nearest``.
    """
    name = f"{seed} {per_label} {ratio} {noise} {share}"
    rng = np.random.default_rng(list(hashlib.sha256(f"split {name}".encode()).digest()))
    labels = list(of_label)
    rare = frozenset(rng.permutation(labels)[: len(labels) // 2].tolist() if ratio > 1 else [])
    entries, queries = list[Item](), list[Item]()
    for label, paths in of_label.items():
        ordered = sorted(paths, key=lambda path: hashlib.sha256(f"{seed} {path}".encode()).digest())
        known, asked = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
        count = max(1, per_label // ratio) if label in rare else per_label
        crops = [Item(path, crop, label) for crop in range(CROPS + 1) for path in known]
        entries += crops[:count]
        queries += [Item(path, 0, label) for path in asked]
    given = [entry.label for entry in entries]
    for at in rng.choice(len(given), round(share * len(given)), replace=False).tolist():
        others = [label for label in labels if label != given[at]]
        given[at] = nearest[given[at]] if noise == "confusable" else str(rng.choice(others))
    return Split(entries, given, queries, rare)


def cells() -> Iterator[tuple[int, int, str, float]]:
    """Yield each combination of entries per label, ratio, kind and share of noise that is asked."""
    for per_label, ratio, (noise, share) in product(PER_LABEL, RATIOS, NOISES):
        if per_label // ratio >= 1 and (ratio == 1 or noise == "none"):
            yield per_label, ratio, noise, share


def digest(data: Path) -> str:
    """Return a hash of all splits, with each label's neighbour in byte order as its nearest."""
    hashed = hashlib.sha256()
    for name, seed, (per_label, ratio, noise, share) in product(SETS, SEEDS, cells()):
        of_label = pictures(data, name)
        labels = list(of_label)
        following = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
        found = split(
            of_label,
            seed,
            per_label=per_label,
            ratio=ratio,
            noise=noise,
            share=share,
            nearest=following,
        )
        lines = [repr((found.entries, found.given, found.queries, sorted(found.rare)))]
        hashed.update(f"{name} {seed} {lines}\n".encode())
    return hashed.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    print(digest(parser.parse_args().data))


if __name__ == "__main__":
    main()
