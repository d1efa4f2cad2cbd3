"""Prunes for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from visual_memory import Memory, PruneResult


@contextmanager
def without(memory: Memory, **how: Any) -> Iterator[PruneResult]:
    """Prune a memory inside the block, and undo it; ``how`` as in ``Memory.prune``."""
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
    """Prune as many other entries at random inside the block: the control of a prune."""
    if not count:
        yield
        return
    chosen = rng.choice(np.asarray(ids), count, replace=False).tolist()
    with without(memory, method="ids", ids=chosen):
        yield
