"""Prunes that are taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from visual_memory import Memory, PruneResult


@contextmanager
def without(memory: Memory, **how: Any) -> Iterator[PruneResult]:
    """A memory while what a prune takes has no vote; ``how`` as in ``Memory.prune``."""
    pruned = memory.prune(apply=True, **how)
    try:
        yield pruned
    finally:
        if pruned.ids:
            memory.undo(pruned.operation)


@contextmanager
def without_some(
    memory: Memory, ids: Sequence[str], count: int, rng: np.random.Generator
) -> Iterator[None]:
    """The control of a prune: as many others, at random, have no vote."""
    if not count:
        yield
        return
    chosen = rng.choice(np.asarray(ids), count, replace=False).tolist()
    with without(memory, method="ids", ids=chosen):
        yield
