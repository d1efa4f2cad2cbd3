"""What a memory makes of the pictures of a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_memory import Decision, FailedPrecondition, Memory
from visual_memory_benchmarks.experiments.gallery import Gallery, Mask, Texts


def ask(memory: Memory, gallery: Gallery, **how: Any) -> list[Decision]:
    """The decisions, in order; ``how`` as in ``Memory.classify``."""
    return memory.classify(vectors=gallery.vectors, **{"neighbors": 0, **how})


def ask_others(memory: Memory, gallery: Gallery, **how: Any) -> list[Decision]:
    """The same of pictures that the memory holds, each decided by all others."""
    return [
        memory.classify(vectors=vector[None], exclude_ids=[id], **{"neighbors": 0, **how})[0]
        for vector, id in zip(gallery.vectors, gallery.ids.tolist(), strict=True)
    ]


def labels(decisions: Sequence[Decision]) -> Texts:
    """(n,)."""
    return np.array([each.label for each in decisions], np.str_)


def right(memory: Memory, gallery: Gallery, **how: Any) -> Mask:
    """Which pictures get their label (n,)."""
    found: Mask = labels(ask(memory, gallery, **how)) == gallery.labels
    return found


def right_by_others(memory: Memory, gallery: Gallery, **how: Any) -> Mask:
    """Which pictures of the memory get their label from all others (n,)."""
    found: Mask = labels(ask_others(memory, gallery, **how)) == gallery.labels
    return found


def accuracy(memory: Memory, gallery: Gallery, **how: Any) -> float:
    """The share of pictures that get their label; nan where nobody has a vote."""
    try:
        return float(right(memory, gallery, **how).mean())
    except FailedPrecondition as error:
        if error.reason != "EMPTY_MEMORY":
            raise
        return np.nan
