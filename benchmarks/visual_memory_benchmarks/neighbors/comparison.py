"""Agreement of two neighbour-information files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from visual_memory_benchmarks.neighbors.neighbor_files import NeighborInfo

DEPTHS = (1, 10, 50, 100)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The agreement of two neighbour-information files on the queries that both have.

    ``same_nearest`` is the share of queries with the same nearest neighbour, ``same_order`` with
    the same neighbours in order, down to the shortest list of all; ``overlap`` is the mean share of
    common neighbours by depth; ``largest_difference`` is between distances to the same neighbour,
    None if no query has a common one; ``other_classes`` counts common neighbours of different
    classes; the accuracies are of the nearest neighbour's class, among queries that have a class.
    """

    queries: int
    only_first: int
    only_second: int
    same_nearest: float
    same_order: float
    overlap: dict[int, float]
    largest_difference: float | None
    other_classes: int
    first_accuracy: float | None
    second_accuracy: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    first: Mapping[str, NeighborInfo],
    second: Mapping[str, NeighborInfo],
    depths: Iterable[int] = DEPTHS,
) -> Comparison | None:
    """Compare the neighbours in two neighbour-information files, query by query.

    Neighbours are compared down to each of ``depths``, but for those beyond the shortest list. None
    if no query is in both.
    """
    pairs = [(first[key], second[key]) for key in first if key in second]
    if not pairs:
        return None
    reach = min(len(each.neighbor_image_ids) for pair in pairs for each in pair)
    differences = [each for pair in pairs for each in _differences(*pair)]
    return Comparison(
        queries=len(pairs),
        only_first=len(first) - len(pairs),
        only_second=len(second) - len(pairs),
        same_nearest=_share(_ids(a, 1) == _ids(b, 1) for a, b in pairs),
        same_order=_share(_ids(a, reach) == _ids(b, reach) for a, b in pairs),
        overlap={
            depth: float(np.mean([_overlap(a, b, depth) for a, b in pairs]))
            for depth in depths
            if depth <= reach
        },
        largest_difference=max((distance for distance, _ in differences), default=None),
        other_classes=sum(other for _, other in differences),
        first_accuracy=nearest_accuracy(a for a, _ in pairs),
        second_accuracy=nearest_accuracy(b for _, b in pairs),
    )


def _ids(info: NeighborInfo, depth: int) -> tuple[str, ...]:
    return info.neighbor_image_ids[:depth]


def _overlap(a: NeighborInfo, b: NeighborInfo, depth: int) -> float:
    return len(set(_ids(a, depth)) & set(_ids(b, depth))) / depth


def _share(claims: Iterable[bool]) -> float:
    return float(np.mean(list(claims)))


def _differences(a: NeighborInfo, b: NeighborInfo) -> Iterator[tuple[float, bool]]:
    """Yield the difference in distance of each common neighbour, and whether its class differs."""
    there = {
        id: (distance, kind)
        for id, distance, kind in zip(
            b.neighbor_image_ids, b.neighbor_distances, b.neighbor_classes, strict=True
        )
    }
    for id, distance, kind in zip(
        a.neighbor_image_ids, a.neighbor_distances, a.neighbor_classes, strict=True
    ):
        if id in there:
            yield math.fabs(distance - there[id][0]), kind != there[id][1]


def nearest_accuracy(queries: Iterable[NeighborInfo]) -> float | None:
    """Return the accuracy of the nearest neighbour's class; None if no query has a class."""
    counted = [each for each in queries if each.classes and each.neighbor_classes]
    if not counted:
        return None
    return _share(each.neighbor_classes[0] in each.classes for each in counted)
