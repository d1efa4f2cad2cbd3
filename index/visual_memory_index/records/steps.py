"""Long work in short steps, between which other threads of Python go on.

A function of C, such as ``sorted`` or ``json.dumps``, lets none in until it returns; nor does
Python's garbage collector, which goes over long lists of tuples or texts, but not over arrays.
Threads that wait are also kept out by a loop over functions that let them in for a moment, such as
assignments to parts of an array: each time their wait begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.entry import Texts

AT_ONCE = 2048  # texts: about a millisecond


def steps(count: int, size: int = AT_ONCE) -> Iterator[slice]:
    """Yield slices of ``size`` that are all of ``count`` things together, the last one shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def equal(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the texts of ``one`` (n,) that are those of ``other``."""
    same = (each == another for each, another in zip(one, other, strict=True))
    return np.fromiter(same, bool, len(one))


def distinct(values: Texts) -> list[str]:
    """Return the different ``values`` in their order, each where it stands first, in steps."""
    found = dict[str, None]()
    for step in steps(len(values)):
        found |= dict.fromkeys(values[step])
    return [*found]


def ascending(values: Texts) -> list[str]:
    """Return ``values`` as ``sorted`` does, in steps."""
    return [*merge(*(sorted(values[step]) for step in steps(len(values))))]


def to_json(values: Sequence[Any]) -> str:
    """Return a list as ``json.dumps`` does, in steps."""
    parts = (json.dumps(values[step])[1:-1] for step in steps(len(values)))
    return f"[{', '.join(parts)}]"
