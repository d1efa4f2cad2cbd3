"""The vectors of a memory by key, where RAM keeps their codes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import CorruptCopy
from visual_memory_index.records.entry import Keys
from visual_memory_index.rows.rows import distinct

Vectors = NDArray[np.float32]


class Originals:
    """The vectors that ``read`` returns from the file of the memory ``name``, and those held.

    ``read`` takes ascending keys, and returns those that are stored, ascending, with their vectors
    (b, d). Readers find an entry in RAM until its deletion is published, which is after the commit:
    until then its vector is held here.
    """

    def __init__(self, name: str, read: Callable[[Keys], tuple[Keys, Vectors]]) -> None:
        self._name, self._read = name, read
        self._held: dict[int, Vectors] = {}

    def hold(self, parts: Iterable[tuple[Keys, Vectors]]) -> None:
        """Hold these vectors (b, d), by key, and no others."""
        self._held = {
            key: vector
            for keys, vectors in parts
            for key, vector in zip(keys.tolist(), vectors, strict=True)
        }

    def __call__(self, keys: Keys) -> Vectors:
        """Return the vectors of entries in RAM: float32 (len(keys), d). Raises CorruptCopy."""
        asked = distinct(keys)
        found, vectors = self._read(asked)
        if len(found) < len(asked):
            gone = np.setdiff1d(asked, found)
            held = self._held  # read after the file, which lacks an entry only once it is held
            try:
                vectors = np.concatenate([vectors, [held[key] for key in gone.tolist()]])
            except KeyError:
                raise CorruptCopy(self._name) from None
            found = np.concatenate([found, gone])
            order = np.argsort(found)
            found, vectors = found[order], vectors[order]
        return vectors[np.searchsorted(found, keys)]
