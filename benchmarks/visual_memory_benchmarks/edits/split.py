"""Splits of the material into memory, additions and tests without overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.edits.edit import ADDITION, MISLABELLED
from visual_memory_benchmarks.edits.material import (
    CUE_CONFLICT,
    EDGE,
    NATURAL,
    SEEN_BY_PEOPLE,
    SILHOUETTE,
    Material,
    Pictures,
)
from visual_memory_benchmarks.errors import CannotSplit
from visual_memory_benchmarks.metrics.shape_bias import neither
from visual_memory_benchmarks.trials.trials import Texts

TEST_SHARE, POOL_SHARE = 0.2, 0.3
SHAPES_ADDED, TEXTURES_ADDED = 1 / 2, 1 / 3
DRAWS_MAX = 100


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The pictures and the random orders of one seed.

    ``memory`` is stored before any edit; every edited memory classifies ``tests``. ``additions``
    has the pictures that can be added, by kind: the first of every category, then the second, and
    so on, so n for each category are the first n times the number of categories. Additions with
    wrong labels are cue-conflict pictures in the same order. ``probes`` are conflicting pictures
    that show which entries are like textures. ``removal`` is a random order of the memory's rows,
    ``halved`` a random order of the categories.
    """

    seed: int
    categories: tuple[str, ...]
    memory: Pictures
    tests: Mapping[str, Pictures]
    additions: Mapping[str, Pictures]
    probes: Pictures
    removal: NDArray[np.intp]
    halved: tuple[str, ...]


def split(material: Material, seed: int, dose_max: int) -> Split:
    """Split the material by a seed, with at least ``dose_max`` pictures to add to each category.

    Photographs are dealt to memory, additions and tests within each category. Half of the shape
    items of each category and a third of the textures are for additions, the rest for tests;
    cue-conflict pictures with the shape of the one and the texture of the other are not used.
    Raises CannotSplit.
    """
    rng = np.random.default_rng(seed)
    sets = material.sets
    natural, conflict = sets[NATURAL], sets[CUE_CONFLICT]
    memory, pool, test = _dealt(natural.categories, rng)
    for _ in range(DRAWS_MAX):
        shapes = _some(conflict.items, conflict.categories, SHAPES_ADDED, rng)
        textures = _some(conflict.textures, conflict.texture_categories, TEXTURES_ADDED, rng)
        added = np.isin(conflict.items, shapes) & np.isin(conflict.textures, textures)
        probes = _ranked(conflict.at(added & conflict.conflicting), rng)
        if _fewest(probes, material.categories) >= dose_max:
            break
    additions = {
        ADDITION: _ranked(natural.at(pool), rng),
        CUE_CONFLICT: probes,
        **_drawings(sets, shapes, rng),
    }
    rows = {id: row for row, id in enumerate(natural.ids.tolist())}
    order = np.array([rows[id] for id in additions[ADDITION].ids.tolist()], np.intp)
    additions |= {name: copies.at(order) for name, copies in material.copies.items()}
    for kind, chosen in additions.items():
        if (fewest := _fewest(chosen, material.categories)) < dose_max:
            raise CannotSplit(
                f"Of one category only {fewest} pictures can be added as {kind}, where the largest "
                f"dose needs {dose_max}: give more pictures, or smaller doses."
            )
    tests = {name: sets[name].at(~np.isin(sets[name].items, shapes)) for name in SEEN_BY_PEOPLE}
    tests[CUE_CONFLICT] = tests[CUE_CONFLICT].at(~np.isin(tests[CUE_CONFLICT].textures, textures))
    removal = rng.permutation(len(memory))
    halved = tuple(rng.permutation(material.categories).tolist())
    wrong = neither(probes.categories, probes.texture_categories, rng)
    additions[MISLABELLED] = replace(probes, categories=wrong)
    return Split(
        seed=seed,
        categories=material.categories,
        memory=natural.at(memory),
        tests={NATURAL: natural.at(test), **{name: _by_image(tests[name]) for name in tests}},
        additions=additions,
        probes=probes,
        removal=removal,
        halved=halved,
    )


def _dealt(categories: Texts, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Deal the pictures of each category at random to three parts; return the row numbers of each.

    The parts are memory, additions and tests.
    """
    parts: list[list[NDArray[np.intp]]] = [[], [], []]
    for rows in _by_category(categories, rng):
        test, pool = round(TEST_SHARE * len(rows)), round(POOL_SHARE * len(rows))
        dealt = np.split(rows, [len(rows) - test - pool, len(rows) - test])
        for part, each in zip(parts, dealt, strict=True):
            part.append(each)
    return [np.sort(np.concatenate(part)) for part in parts]


def _some(
    items: Texts, categories: Texts, share: float, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Return a random share of the items of each category, rounded down, but at least one."""
    names, first = np.unique(items, return_index=True)
    chosen = [
        names[rows[: max(1, int(share * len(rows)))]]
        for rows in _by_category(categories[first], rng)
    ]
    return np.concatenate(chosen)


def _by_category(categories: Texts, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    for category in np.unique(categories):
        yield rng.permutation(np.flatnonzero(categories == category))


def _drawings(
    sets: Mapping[str, Pictures], shapes: Texts, rng: np.random.Generator
) -> dict[str, Pictures]:
    """Return edge drawings and silhouettes of the shape items ``shapes``, both in the same order.

    Items without a silhouette have an edge drawing only.
    """
    edges, silhouettes = sets[EDGE], sets[SILHOUETTE]
    chosen = _ranked(edges.at(np.isin(edges.items, shapes)), rng)
    rows = {item: row for row, item in enumerate(silhouettes.items.tolist())}
    same = np.array([rows[item] for item in chosen.items.tolist() if item in rows], np.intp)
    return {"edges": chosen, "silhouettes": silhouettes.at(same)}


def _ranked(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    """Shuffle each category, then interleave: the first of all categories, then the second."""
    ranks = np.empty(len(pictures), np.intp)
    for rows in _by_category(pictures.categories, rng):
        ranks[rows] = np.arange(len(rows))
    return pictures.at(np.lexsort((pictures.categories, ranks)))


def _by_image(pictures: Pictures) -> Pictures:
    """Sort by image name, as panels do."""
    return pictures.at(np.argsort(pictures.images))


def _fewest(pictures: Pictures, categories: tuple[str, ...]) -> int:
    return min(int((pictures.categories == category).sum()) for category in categories)
