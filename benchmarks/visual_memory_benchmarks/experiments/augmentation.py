"""Augmentation: do distorted copies in the memory help with that distortion, and with others?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from visual_memory_benchmarks.distortions.registry import distort
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery, joined, parts
from visual_memory_benchmarks.laboratory.intervals import Values, over_pictures
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables

LEVELS: Mapping[str, str] = MappingProxyType(
    {
        "colour": "bw",
        "uniform-noise": "0.1",
        "salt-and-pepper": "0.2",
        "low-pass": "5",
        "high-pass": "1.0",
        "contrast": "c10",
        "phase-scrambling": "90",
        "eidolonI": "8-10-10",
    }
)
UNDISTORTED = "none"
ALONE, MORE = "nothing", "other clean pictures"


@partial(
    Experiment,
    "A memory augmented by one distortion, asked about the others",
    papers=(29, 32),
    data=("natural16",),
    intervals=intervals.PICTURES,
    comparison=(
        "Geirhos et al. train networks on one distortion and find no help with others; here copies "
        "are remembered, and the networks have seen clean pictures only. The course may be "
        "compared, values may not. Most distortions make pictures grey: the row colour says what "
        "grey copies do by themselves."
    ),
)
def augmentation(
    laboratory: Laboratory,
    *,
    levels: Mapping[str, str] = LEVELS,
    k: int = 10,
    seed: int = 0,
) -> Tables:
    """Classify a third of the pictures by memories of another third.

    A memory holds that third alone, with distorted copies of it, or with the remaining third.
    """
    gallery, pictures = laboratory.gallery("natural16"), laboratory.pictures("natural16")
    numbers = parts(gallery.labels, (1 / 3, 1 / 3, 1 / 3), np.random.default_rng(seed))
    embed = laboratory.embedders[0].of

    def seen(part: int, name: str) -> Gallery:
        """Return the third ``part`` of the pictures, embedded under the distortion ``name``."""
        chosen = gallery.at(numbers[part])
        shown = [pictures[at] for at in numbers[part]]
        if name == UNDISTORTED:
            return replace(chosen, vectors=embed(shown))
        copies = [
            distort(picture, name, levels[name], seed=seed, picture_id=id)
            for picture, id in zip(shown, chosen.ids.tolist(), strict=True)
        ]
        ids = np.array([f"{name}/{id}" for id in chosen.ids])
        return Gallery(ids, chosen.labels, embed(copies))

    base = seen(0, UNDISTORTED)
    added = {ALONE: base, MORE: joined([base, seen(1, UNDISTORTED)])}
    added |= {name: joined([base, seen(0, name)]) for name in levels}
    queried = {name: seen(2, name) for name in (UNDISTORTED, *levels)}
    right: dict[tuple[str, str], Values] = {}
    for name, entries in added.items():
        memory = laboratory.memory(name, entries)
        for distortion, queries in queried.items():
            right[name, distortion] = questions.right(memory, queries, k=k).astype(np.float64)
    return {
        "pairs": [
            {
                "remembered": name,
                "asked": distortion,
                "accuracy": over_pictures(found),
                "gain": over_pictures(found - right[ALONE, distortion]),
                "gain_over_clean": over_pictures(found - right[MORE, distortion]),
            }
            for (name, distortion), found in right.items()
        ],
        "transfer": [_transfer(name, levels, right) for name in (MORE, *levels)],
    }


def _transfer(name: str, levels: Mapping[str, str], right: Mapping[tuple[str, str], Values]) -> Row:
    """Return the gain in accuracy of the memory ``name`` over the memory without copies.

    It is given under the distortion ``name`` (None if this is not in ``levels``), as the mean under
    other distortions, and without distortion. ``right`` has 1 for right answers, by memory and
    distortion.
    """
    gains = {each: right[name, each] - right[ALONE, each] for each in (UNDISTORTED, *levels)}
    others = [gains[each] for each in levels if each != name]
    return {
        "remembered": name,
        "same": over_pictures(gains[name]) if name in levels else None,
        "others": over_pictures(np.mean(others, axis=0)) if others else None,
        "undistorted": over_pictures(gains[UNDISTORTED]),
    }
