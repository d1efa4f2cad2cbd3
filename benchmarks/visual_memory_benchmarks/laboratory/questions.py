"""Classification of the pictures of a gallery by a memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory import Decision, FailedPrecondition, Memory
from visual_memory_benchmarks.laboratory.gallery import Gallery, Mask, Texts


def classify(memory: Memory, gallery: Gallery, **how: Any) -> list[Decision]:
    """Classify the gallery, in order; ``how`` as in ``Memory.classify``."""
    return memory.classify(vectors=gallery.vectors, **{"neighbors": 0, **how})


def classify_by_others(
    memory: Memory,
    ids: Iterable[str],
    *,
    images: Sequence[Path] | None = None,
    vectors: NDArray[np.float32] | None = None,
    **how: Any,
) -> list[Decision]:
    """Classify each entry, given by image or vector, by all other entries."""
    kind, queries = ("images", images or ()) if vectors is None else ("vectors", vectors)
    return [
        memory.classify(exclude_ids=[id], **{kind: [query], "neighbors": 0, **how})[0]
        for id, query in zip(ids, queries, strict=True)
    ]


def labels(decisions: Sequence[Decision]) -> Texts:
    """Return the labels (n,) of decisions."""
    return np.array([each.label for each in decisions], np.str_)


def right(memory: Memory, gallery: Gallery, **how: Any) -> Mask:
    """Return True for the pictures that are classified right (n,)."""
    found: Mask = labels(classify(memory, gallery, **how)) == gallery.labels
    return found


def accuracy(memory: Memory, gallery: Gallery, **how: Any) -> float:
    """Return the share of a gallery's pictures classified right; nan if the memory has no voter.

    ``how`` are options of ``Memory.classify``.
    """
    try:
        return float(right(memory, gallery, **how).mean())
    except FailedPrecondition as error:
        if error.reason != "EMPTY_MEMORY":
            raise
        return np.nan
