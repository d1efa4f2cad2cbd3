"""A generated world of vectors in which the effect of edits is known.

Photographs lie on an axis of their category. Cue-conflict pictures lie between the axis of their
texture's photographs and an axis of their shape that no photograph has. So a memory of photographs
answers by texture, and one with a few cue-conflict pictures answers by shape. Edge drawings and
silhouettes lie on axes of their own, far from all of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.edits.edit import KINDS, Kind
from visual_memory_benchmarks.edits.material import (
    CUE_CONFLICT,
    EDGE,
    NATURAL,
    SEEN_BY_PEOPLE,
    SILHOUETTE,
    Material,
    Pictures,
)
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import Panel

CATEGORIES = ("bear", "bird", "boat", "car")
PHOTOGRAPHS, SHAPES, TEXTURES, PEOPLE = 10, 4, 3, 3
NATURAL_AXIS, SHAPE_AXIS, EDGE_AXIS, SILHOUETTE_AXIS = range(4)


def to_kinds(**doses: Sequence[float]) -> dict[str, Kind]:
    """Return kinds of edits by name, with these doses; underscores stand for hyphens."""
    names = {name.replace("_", "-"): tuple(each) for name, each in doses.items()}
    return {name: replace(KINDS[name], doses=each) for name, each in names.items()}


def to_material(seed: int = 0, photographs: int = PHOTOGRAPHS, shapes: int = SHAPES) -> Material:
    """Make the world, with a little noise; each category has one photograph more than the last."""
    rng = np.random.default_rng(seed)
    natural = [
        (f"{category}/{n}.jpg", category, f"{category}/{n}.jpg")
        for more, category in enumerate(CATEGORIES)
        for n in range(photographs + more)
    ]
    items = [(category, f"{category}{n + 1}") for category in CATEGORIES for n in range(shapes)]
    textures = [(c, f"{c}{n + 1}") for c in CATEGORIES for n in range(TEXTURES)]
    conflict = list(product(items, textures))
    drawn = [(f"{category}/{item}.png", category, item) for category, item in items]
    sets = {
        NATURAL: to_pictures("natural", natural, _near(natural, NATURAL_AXIS, rng)),
        CUE_CONFLICT: to_pictures(
            "conflict",
            [(f"{c}/{item}-{texture}.png", c, item) for (c, item), (_, texture) in conflict],
            0.8 * _near([("", c) for (c, _), _ in conflict], SHAPE_AXIS, rng)
            + 0.6 * _near([("", c) for _, (c, _) in conflict], NATURAL_AXIS, rng),
            [texture for _, texture in conflict],
        ),
        EDGE: to_pictures("edges", drawn, _near(drawn, EDGE_AXIS, rng)),
        SILHOUETTE: to_pictures("silhouettes", drawn, _near(drawn, SILHOUETTE_AXIS, rng)),
    }
    blurred = [(f"{file}+low-pass", category, item) for file, category, item in natural]
    return Material(
        sets=sets,
        copies={"low-pass": to_pictures("natural", blurred, _near(natural, EDGE_AXIS, rng))},
        people={name: to_people(name, sets[name], rng) for name in SEEN_BY_PEOPLE},
        sources={"world": seed},
    )


def to_pictures(
    folder: str,
    rows: Sequence[tuple[str, str, str]],
    vectors: NDArray[np.float64],
    textures: Sequence[tuple[str, str]] = (),
) -> Pictures:
    """Make pictures from rows of file, category and item; ``textures`` have category and item."""
    files, categories, items = zip(*rows, strict=True)
    texture_categories, texture_items = zip(*(textures or [("", "")] * len(rows)), strict=True)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Pictures(
        ids=np.array([f"{folder}/{file}" for file in files]),
        categories=np.array(categories),
        items=np.array(items),
        textures=np.array(texture_items),
        texture_categories=np.array(texture_categories),
        vectors=units.astype(np.float32),
    )


def to_people(name: str, pictures: Pictures, rng: np.random.Generator) -> Panel:
    """Make people who are right four times of five."""
    order = np.argsort(pictures.images)
    shown = np.searchsorted(CATEGORIES, pictures.categories[order])
    answers = rng.integers(len(CATEGORIES), size=(PEOPLE, len(shown)))
    right = rng.random(answers.shape) < 0.8
    return Panel(
        dataset=DATASETS[name].name,
        condition="all",
        categories=CATEGORIES,
        makers=tuple(f"subject-{number:02}" for number in range(PEOPLE)),
        images=pictures.images[order],
        shown=shown,
        responses=np.where(right, shown, answers),
    )


def _near(
    rows: Sequence[tuple[str, ...]], axis: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return vectors near the axis of each row's category, its second field."""
    vectors = rng.normal(0, 0.02, (len(rows), 4 * len(CATEGORIES)))
    at = [axis * len(CATEGORIES) + CATEGORIES.index(row[1]) for row in rows]
    vectors[np.arange(len(rows)), at] += 1
    return vectors
