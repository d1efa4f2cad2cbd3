"""Neighbour-information files: the entries nearest to given pictures, for exchange.

The format of the notebooks published with Geirhos et al. (2024): one JSON object by query id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import ArrayLike

from visual_memory import Memory
from visual_memory.files import whole_file
from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.errors import BadFile, UnnumberedLabels

Classes: TypeAlias = int | tuple[int, ...]

SLACK = 1e-6  # how far rounding may take a distance out of [0, 2] or out of order


def file_name(memory: str, memory_split: str, query: str, query_split: str, model: str) -> str:
    """Return the name of a neighbour-information file, which names both sets with their splits.

    Callers join several memories, or splits, by ``-and-``; ``model`` is the embedder.
    """
    memory, memory_split, query, query_split = (
        each.replace("_", "-").replace("/", "-")
        for each in (memory, memory_split, query, query_split)
    )
    return (
        f"memory-{memory}_msplit-{memory_split}_query-{query}_qsplit-{query_split}"
        f"_{model.replace('/', '-')}_full_neighbor_info.json"
    )


@dataclass(frozen=True, slots=True)
class NeighborInfo:
    """The neighbours of one query, nearest first, with their classes and distances.

    ``image_class`` is the query's class; it has several values for relabelled ImageNet (ReaL): any
    of them is right. ``featurizer`` names the embedder.
    """

    featurizer: str
    image_id: str
    image_class: Classes
    neighbor_image_ids: tuple[str, ...]
    neighbor_classes: tuple[int, ...]
    neighbor_distances: tuple[float, ...]

    @property
    def classes(self) -> frozenset[int]:
        """Return the right classes; empty if ReaL gives none, and then the query is not counted."""
        truth = self.image_class
        return frozenset((truth,) if isinstance(truth, int) else truth)


def read(path: Path) -> dict[str, NeighborInfo]:
    """Read a neighbour-information file: each query's neighbours, by the query's id.

    Raises BadFile if it cannot be read or has another format.
    """
    try:
        queries = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(path, f"cannot be read ({error})", "fetch or export it again") from None
    if not isinstance(queries, dict) or not queries:
        raise BadFile(path, "it is no JSON object by query id", "fetch or export it again")
    for key, value in queries.items():
        if problem := _problem(key, value):
            raise BadFile(path, f"query {key!r}: {problem}", "correct or export it again")
    return {key: _info(value) for key, value in queries.items()}


def _problem(key: str, value: Any) -> str | None:
    fields = NeighborInfo.__dataclass_fields__
    if not isinstance(value, dict) or set(value) != set(fields):
        return f"the fields are not {', '.join(fields)}"
    if not isinstance(value["featurizer"], str) or value["image_id"] != key:
        return "featurizer is no text, or image_id is not the key"
    truth = value["image_class"]
    if not _are(truth if isinstance(truth, list) else [truth], int):
        return "image_class is neither a whole number nor a list of them"
    ids, classes, distances = (value[name] for name in list(fields)[3:])
    if not (_are(ids, str) and _are(classes, int) and _are(distances, int, float)):
        return "the neighbours are not lists of text, whole numbers, numbers"
    if not len(ids) == len(classes) == len(distances):
        return f"{len(ids)} ids, {len(classes)} classes and {len(distances)} distances"
    if not all(-SLACK <= each <= 2 + SLACK for each in distances):
        return "a distance 1 − cosine lies outside of [0, 2]"
    if any(later < earlier - SLACK for earlier, later in pairwise(distances)):
        return "the distances do not ascend"
    return None


def _are(values: Any, *kinds: type) -> bool:
    return isinstance(values, list) and all(
        isinstance(each, kinds) and not isinstance(each, bool) for each in values
    )


def _info(value: dict[str, Any]) -> NeighborInfo:
    fields: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in value.items()
    }
    return NeighborInfo(**fields)


def write(path: Path, queries: Iterable[NeighborInfo]) -> None:
    """Write a neighbour-information file, which appears whole or not at all.

    Queries are taken one at a time, so an iterator needs no RAM for all.
    """
    with whole_file(path, overwrite=True) as file:
        separator = "{"
        for each in queries:
            key = json.dumps(each.image_id, ensure_ascii=False)
            value = json.dumps(asdict(each), ensure_ascii=False, allow_nan=False)
            file.write(f"{separator}\n{key}: {value}".encode())
            separator = ","
        file.write(b"{}\n" if separator == "{" else b"\n}\n")


def export(
    memory: Memory,
    ids: Sequence[str],
    labels: Sequence[str],
    classes: Mapping[str, int],
    *,
    featurizer: str,
    vectors: ArrayLike | None = None,
    images: Sequence[Any] | None = None,
    k: int,
) -> list[NeighborInfo]:
    """Find the ``k`` entries nearest to each query, given as vectors or images.

    ``ids`` and ``labels`` are the queries'; ``classes`` numbers the labels of queries and entries;
    ``featurizer`` names the embedder. Raises UnnumberedLabels if a label has no number, and the
    errors of ``Memory.search``.
    """
    found = memory.search(vectors=vectors, images=images, k=k)
    known = {*labels, *(label for each in found for label in each.labels)}
    if left := sorted(known - set(classes)):
        raise UnnumberedLabels(f"These labels have no class number: {listed(left)}; give them one.")
    return [
        NeighborInfo(
            featurizer=featurizer,
            image_id=id,
            image_class=classes[label],
            neighbor_image_ids=tuple(each.ids),
            neighbor_classes=tuple(classes[label] for label in each.labels),
            neighbor_distances=tuple(each.distances.tolist()),
        )
        for id, label, each in zip(ids, labels, found, strict=True)
    ]
