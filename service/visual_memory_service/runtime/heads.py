"""The head of a memory: its class means, by which labels without a vote are scored."""

from __future__ import annotations

from visual_memory_index import RamCopy
from visual_memory_index.heads.head import Head, fit
from visual_memory_index.heads.statistics import Statistics


def head_of(snapshot: RamCopy) -> Head:
    """Fit a head without ridge to the voting entries of a ``snapshot``, at least one."""
    statistics = Statistics(snapshot.vectors.dimension, moment=False)
    labels = snapshot.columns()[1].tolist()
    start = 0
    for block in snapshot.vectors.blocks():
        statistics.add(labels[start : start + len(block)], block)
        start += len(block)
    return fit(statistics)
