"""Misleading counts, difficulties, and the choice of rows to prune, on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import BadParameter
from visual_memory_index.records.operation import Progress, unreported
from visual_memory_index.rows.distances import distances_of_pairs, unit_rows
from visual_memory_index.rows.multiply import multiply
from visual_memory_index.scan.ranking import score_doubt
from visual_memory_index.votes.voting import Counts

ITERATIONS_MAX = 20
SCORES_AT_ONCE = 4096
PAIRS_AT_ONCE = 1024

AnyInts: TypeAlias = NDArray[np.integer[Any]]
Ids: TypeAlias = NDArray[np.object_]
Rows: TypeAlias = NDArray[np.intp]
Values: TypeAlias = NDArray[np.float64]
Vectors: TypeAlias = NDArray[np.float32]

KEEPS: MappingProxyType[str, Callable[[Values], Values]] = MappingProxyType(
    {"easy": np.positive, "hard": np.negative}
)


def misleading_counts(neighbors: AnyInts, labels: AnyInts) -> tuple[Counts, Counts]:
    """Count how often each entry is among the nearest of another: v if labels differ, c if equal.

    ``neighbors`` (m, w) holds the rows nearest to each entry, itself left out; ``labels`` (m,)
    holds codes. v and c are int64 (m,); all their numbers together sum to m · w (Geirhos et al.,
    2024, section 3.3).
    """
    m, w = neighbors.shape
    counts = np.zeros(2 * m, dtype=np.int64)  # first those with the same label
    step = max(1024, 2 * m // max(1, w))
    for start in range(0, m, step):
        part = neighbors[start : start + step]
        wrong = labels[part] != labels[start : start + step, np.newaxis]
        counts += np.bincount((part + m * wrong).ravel(), minlength=2 * m)
    return counts[m:], counts[:m]


def portion(fraction: float, m: int) -> int:
    """Return the whole number nearest to ``fraction`` of ``m``, halves up.

    Raises BadParameter if ``fraction`` is not from 0 to 1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise BadParameter("fraction", "from 0 to 1", fraction)
    return math.floor(fraction * m + 0.5)


def prune_misleading(v: Counts, c: Counts, *, threshold: int, net: bool = False) -> Rows:
    """Return rows with v ≥ threshold, or v − c ≥ threshold if ``net``.

    ``v`` and ``c`` are those of ``misleading_counts``. Raises BadParameter if ``threshold`` is
    below 1.
    """
    if threshold < 1:
        raise BadParameter("threshold", "at least 1", threshold)
    return np.flatnonzero((v - c if net else v) >= threshold)


def prune_worthless(values: Values, ids: Ids, *, count: int) -> Rows:
    """Return the ``count`` rows of lowest value, equal values by id.

    Raises BadParameter if ``count`` is not from 0 to the number of rows, or a value is NaN.
    """
    _check_count(count, len(ids))
    if np.isnan(values).any():
        raise BadParameter("values", "numbers", math.nan)
    return np.sort(np.lexsort((_ranks(ids), values))[:count])


def prune_random(ids: Ids, *, count: int, seed: int) -> Rows:
    """Return the ``count`` rows whose ids have the lowest hashes keyed by ``seed``.

    The order of the rows does not matter, and a larger count includes the rows of a smaller one.
    Raises BadParameter if ``count`` is not from 0 to the number of rows.
    """
    _check_count(count, len(ids))
    return np.sort(_shuffled(ids, seed)[:count])


def prune_by_difficulty(
    difficulties: Values, ids: Ids, labels: AnyInts, *, kept: int, keep: str, balance: float = 0.0
) -> Rows:
    """Return all rows but the ``kept`` easiest or hardest; of equal ones the first ids are kept.

    ``keep`` says which, "easy" or "hard". If every label were pruned alike, ⌊kept ·
    entries of the label / m⌋ of each would be kept; at least ``balance`` times that number are kept
    of each label (Sorscher et al., 2022). Raises BadParameter if a parameter is out of range.
    """
    _check_count(kept, len(ids), name="kept")
    if keep not in KEEPS:
        raise BadParameter("keep", " or ".join(sorted(KEEPS)), keep)
    if not 0.0 <= balance <= 1.0:
        raise BadParameter("balance", "from 0 to 1", balance)
    order = np.lexsort((_ranks(ids), KEEPS[keep](difficulties)))
    _, codes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_label = np.argsort(codes, kind="stable")
    place = np.empty(len(ids), np.int64)
    place[by_label] = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    alike = kept * sizes // max(1, len(ids))
    promised = place < np.ceil(balance * alike - 1e-9)[codes]  # 0.55 · 20 exceeds 11 in float64
    return np.sort(order[np.argsort(~promised, kind="stable")][kept:])


def class_difficulties(vectors: Vectors, ids: Ids, labels: AnyInts) -> Values:
    """Return the distance of each unit row (m, d) to its label's mean direction, float64 (m,)."""
    order = np.argsort(ids)
    _, first, codes = np.unique(labels[order], return_index=True, return_inverse=True)
    ordered = vectors[order]
    means = _means(ordered, codes, ordered[first])
    difficulties = np.empty(len(ids))
    difficulties[order] = distances_of_pairs(means, codes, ordered, np.arange(len(ids)))
    return difficulties


def prototype_difficulties(
    vectors: Vectors, ids: Ids, *, clusters: int, seed: int, on_progress: Progress = unreported
) -> Values:
    """Return the distance of every unit row (m, d) to the nearest prototype, float64 (m,).

    The prototypes are those of ``prototypes``, with the same parameters. Labels are not used
    (Sorscher et al., 2022). Raises BadParameter, and whatever ``on_progress`` raises.
    """
    found = prototypes(vectors, ids, clusters=clusters, seed=seed, on_progress=on_progress)
    return nearest_prototypes(vectors, found, _in_round(ITERATIONS_MAX, on_progress))[1]


def prototypes(
    vectors: Vectors, ids: Ids, *, clusters: int, seed: int, on_progress: Progress = unreported
) -> Vectors:
    """Run spherical k-means on unit rows (m, d); return the unit centres (c, d).

    c is ``clusters``, or the number of distinct rows if that is less. The first centres are rows
    chosen by keyed hashes of their ids, and there are at most 20 rounds. Neither the order of the
    rows nor the number of threads changes a bit: sums run in the order of ids, and the matrix
    product only rules out centres beyond its error. ``on_progress`` is called several times a
    round. Raises BadParameter, and whatever ``on_progress`` raises.
    """
    if clusters < 1:
        raise BadParameter("clusters", "at least 1", clusters)
    distinct = dict[bytes, int]()
    for row in _shuffled(ids, seed):
        distinct.setdefault(vectors[row].tobytes(), row)
        if len(distinct) == clusters:
            break
    centers = vectors[list(distinct.values())]
    ordered = vectors[np.argsort(ids)]
    before = np.full(len(ids), -1)
    for number in range(ITERATIONS_MAX):
        nearest, _ = nearest_prototypes(ordered, centers, _in_round(number, on_progress))
        if np.array_equal(nearest, before):
            break
        centers, before = _means(ordered, nearest, centers), nearest
    return centers


def nearest_prototypes(
    vectors: Vectors, prototypes: Vectors, on_progress: Progress = unreported
) -> tuple[NDArray[np.intp], Values]:
    """Return the number of the prototype (c, d) nearest to each unit row (m, d), and its distance.

    Of equally near prototypes the first is chosen. A float64 product finds the candidates within
    its error; exact distances decide among them.
    """
    nearest = np.empty(len(vectors), np.intp)
    distances = np.empty(len(vectors))
    turned = prototypes.astype(np.float64).T
    slack = 2.0 * score_doubt(vectors.shape[1])
    for start in range(0, len(vectors), SCORES_AT_ONCE):
        part = slice(start, start + SCORES_AT_ONCE)
        scores = np.minimum(multiply(vectors[part].astype(np.float64), turned), 1.0)
        rows, columns = np.nonzero(scores >= scores.max(axis=1, keepdims=True) - slack)
        exact = distances_of_pairs(vectors[part], rows, prototypes, columns)
        order = np.lexsort((columns, exact, rows))
        _, first = np.unique(rows[order], return_index=True)
        nearest[part], distances[part] = columns[order][first], exact[order][first]
        on_progress(min(part.stop, len(vectors)), len(vectors))
    return nearest, distances


def _in_round(number: int, on_progress: Progress) -> Progress:
    """Return a callback for round ``number`` of k-means that reports progress of all rounds."""
    return lambda done, m: on_progress(number * m + done, (ITERATIONS_MAX + 1) * m)


def _means(vectors: Vectors, groups: NDArray[np.intp], fallback: Vectors) -> Vectors:
    """Return the mean direction of each group of unit rows ``vectors`` (m, d): unit rows (g, d).

    ``groups`` (m,) has each row's group, from 0 to g − 1. A group that is empty, or whose sum is
    zero, gets its row of ``fallback`` (g, d).
    """
    means = np.zeros(fallback.shape)
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], np.arange(len(fallback) + 1))
    for group, (start, stop) in enumerate(pairwise(bounds)):
        members = vectors[order[start:stop]]
        means[group] = members.sum(axis=0, dtype=np.float64) / max(1, len(members))
    units = unit_rows(means.astype(np.float32))
    return np.where(np.isfinite(units), units, fallback)


def _ranks(ids: Ids) -> NDArray[np.intp]:
    ranks = np.empty(len(ids), np.intp)
    ranks[np.argsort(ids)] = np.arange(len(ids))
    return ranks


def _shuffled(ids: Ids, seed: int) -> NDArray[np.intp]:
    """Return all rows, ordered by the hash of their ids under ``seed``."""
    if not 0 <= seed < 2**64:
        raise BadParameter("seed", "from 0 to 2⁶⁴ − 1", seed)
    key = seed.to_bytes(8, "little")
    hashes = [blake2b(id.encode(), key=key, digest_size=16).digest() for id in ids]
    return np.array(sorted(range(len(ids)), key=hashes.__getitem__), np.intp)


def _check_count(count: int, m: int, *, name: str = "count") -> None:
    if not 0 <= count <= m:
        raise BadParameter(name, f"from 0 to {m}, the number of entries", count)
