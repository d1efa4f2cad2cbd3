"""The methods of an engine, and the entries and filters that all engines are given.

All of them hold unit vectors and answer the nearest by cosine. An id is a number, and each entry
has two fields to filter by, made from its id: ``percent`` (id % 100) and ``tenth`` (id % 10).
Engines are set to search exhaustively where they can, and to index the fields where they can.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
Where = tuple[str, int] | None

FIELDS = {"percent": 100, "tenth": 10}
THREADS = os.cpu_count() or 1


def fields(id: int) -> dict[str, int]:
    """Return the fields of the entry with this id."""
    return {name: id % modulus for name, modulus in FIELDS.items()}


def matching(ids: Ids, where: Where) -> NDArray[np.bool_]:
    """Return a mask of the ``ids`` whose entries match."""
    if where is None:
        return np.ones(len(ids), bool)
    name, value = where
    matches: NDArray[np.bool_] = ids % FIELDS[name] == value
    return matches


def padded(rows: Sequence[Sequence[int]], k: int) -> Ids:
    """Return rows of ids as int64 (n, k), −1 where a row is shorter."""
    found = np.full((len(rows), k), -1, np.int64)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = list(ids)[:k]
    return found


class Engine:
    """One engine on the ``folder`` given to it; ``open`` comes first, ``close`` last.

    ``in_ram`` is True if an insertion is in RAM alone when it returns; ``filters``, ``deletes`` and
    ``compacts`` are True if the engine can. It has no ``collections`` if it only searches arrays of
    its user. ``efforts`` are the settings of an approximate one.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    in_ram: ClassVar[bool] = False
    deletes: ClassVar[bool] = True
    filters: ClassVar[bool] = True
    compacts: ClassVar[bool] = False
    collections: ClassVar[bool] = True
    efforts: ClassVar[Sequence[int]] = ()

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder, self.dimension, self.collection = folder, dimension, "bench"

    def another(self, name: str) -> Engine:
        """Return another open collection, of the same server if it is one."""
        folder = self.folder / name
        folder.mkdir()
        engine = type(self)(folder, self.dimension)
        engine.open()
        return engine

    def _beside(self, name: str) -> Self:
        engine = copy(self)
        engine.collection = name
        engine.make()
        return engine

    def make(self) -> None:
        """Make the collection on a server."""

    @property
    def version(self) -> str:
        from importlib.metadata import version

        return version(self.package)

    def open(self) -> None:
        """Open what is stored in the folder, or make it."""

    @abstractmethod
    def insert(self, first: int, vectors: Vectors) -> None:
        """Insert vectors with ids from ``first`` on, as durably as the engine does."""

    def settle(self) -> None:
        """Do what remains after all insertions, so that the engine searches at its speed."""

    def index_fields(self) -> None:
        """Index the fields to filter by, where the engine has such indexes."""

    def tune(self, batch: int, clients: int) -> None:
        """Set this thread, one of ``clients`` at once, to ask ``batch`` queries at a time."""

    def set_effort(self, effort: int) -> None:
        """Set one of ``efforts``."""

    @abstractmethod
    def search(self, queries: Vectors, k: int, where: Where = None) -> Ids:
        """Return the ids of the nearest: int64 (n, k), or −1."""

    def delete(self, ids: Sequence[int]) -> None:
        """Delete entries, each by its id; only where ``deletes``."""
        raise TypeError(f"{self.name} cannot delete")

    def compact(self) -> None:
        """Remove from the files what was deleted, as the manual says; only where ``compacts``."""
        raise TypeError(f"{self.name} cannot compact")

    def pids(self) -> list[int]:
        """Return the processes whose RAM is the engine's."""
        return [os.getpid()]

    def close(self) -> None:
        """Store what is to be stored, and let go."""
