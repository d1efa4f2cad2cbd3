"""Unit vectors for measurements, with neighbours as real features have them, or without any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import unit_rows

Vectors: TypeAlias = NDArray[np.float32]

MADE_AT_ONCE = 50_000
CLASSES, SPREAD = 1000, 0.8


class Made(NamedTuple):
    """Unit ``vectors`` float32 (n, d), and the number of the class of each: int64 (n,)."""

    vectors: Vectors
    classes: NDArray[np.int64]

    @property
    def labels(self) -> list[str]:
        """The label of each class, by vector."""
        return [f"label {number}" for number in self.classes.tolist()]

    def split(self, count: int) -> tuple[Made, Made]:
        """Return the first ``count`` and the others."""
        first, others = slice(count), slice(count, None)
        return self._part(first), self._part(others)

    def _part(self, part: slice) -> Made:
        return Made(self.vectors[part], self.classes[part])


def clustered(count: int, dimension: int, classes: int) -> Iterator[Made]:
    """Yield unit vectors in parts, around as many centres as classes, of a spectrum that decays.

    They are turned at random, as no dimension of an embedder is the first.
    """
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    spectrum = turned / np.sqrt(1 + np.arange(dimension))[:, np.newaxis]
    centres = rng.standard_normal((classes, dimension)) @ spectrum
    for start in range(0, count, MADE_AT_ONCE):
        size = min(MADE_AT_ONCE, count - start)
        noise = SPREAD * rng.standard_normal((size, dimension)) @ spectrum
        chosen = rng.integers(classes, size=size)
        yield Made(unit_rows((centres[chosen] + noise).astype(np.float32)), chosen)


def even(count: int, dimension: int, classes: int) -> Iterator[Made]:
    """Yield unit vectors in parts, evenly distributed: no neighbour is near."""
    rng = np.random.default_rng(0)
    for start in range(0, count, MADE_AT_ONCE):
        size = min(MADE_AT_ONCE, count - start)
        rows = unit_rows(rng.standard_normal((size, dimension), dtype=np.float32))
        yield Made(rows, rng.integers(classes, size=size))


KINDS: Mapping[str, Callable[[int, int, int], Iterator[Made]]] = MappingProxyType(
    {"clustered": clustered, "even": even}
)


def make(kind: str, count: int, dimension: int, classes: int = CLASSES) -> Made:
    """Return ``count`` unit vectors of a kind, with their classes."""
    parts = zip(*KINDS[kind](count, dimension, classes), strict=True)
    return Made(*map(np.concatenate, parts))
