"""Vectors of another embedder for the pictures of a memory, stored until all of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import NoPictures
from visual_memory_index.memory.engine import Engine
from visual_memory_index.store.store import Picture

PREFIX = "reembedded/"
TAG_CHARACTERS = 16
SHOWN = 100


class MissingVectors(Exception):
    """Entries have no new vectors yet, or lost them: embed what is missing, and ask again."""


class Part(NamedTuple):
    """A stored part: vectors of all entries with keys above ``after``, up to ``last``."""

    name: str
    after: int
    last: int


class NewVectors:
    """Vectors of the embedder whose spec is the JSON text ``spec``, of a ``dimension``, by key.

    Parts of them are stored in the memory's file, one after another in the order of keys. An
    entry's picture never changes, so what is stored stays right; an unlearning deletes all of it.
    """

    def __init__(self, engine: Engine, spec: str, dimension: int) -> None:
        self._engine, self._dimension = engine, dimension
        self._prefix = f"{PREFIX}{sha256(spec.encode()).hexdigest()[:TAG_CHARACTERS]}/"
        self._read: tuple[str, dict[int, NDArray[np.float32]]] = ("", {})
        self._newest: Part | None = None  # of the parts that are stored without a gap

    def check_pictures(self) -> None:
        """Check that all entries have stored pictures. Raises NoPictures."""
        with self._engine.reading_file() as store:
            lacking, count = store.without_picture(SHOWN)
        if count:
            raise NoPictures(self._engine.identity.name, count, lacking)

    def missing(self, limit: int) -> list[Picture]:
        """Return up to ``limit`` next pictures that have no vectors yet, by key."""
        with self._engine.reading_file() as store:
            return store.pictures(self._end(), limit)

    def keep(self, keys: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Store unit ``vectors`` (n, d) of the pictures that were ``missing``, by ascending keys.

        Raises FileUnavailable.
        """
        value = np.array(keys, "<i8").tobytes() + vectors.astype("<f4", copy=False).tobytes()
        with self._engine.writer.turn:
            self._engine.check_open()
            part = f"{self._end():016x}-{keys[-1]:016x}"
            self._engine.store.keep_derived(self._prefix + part, value)
            self._newest = self._part(self._prefix + part)

    def count(self) -> int:
        """Return the number of vectors that are stored."""
        with self._engine.reading_file() as store:
            sizes = store.derived_sizes(self._prefix)
        return sum(sizes.values()) // (8 + 4 * self._dimension)

    def of(self, keys: Sequence[int]) -> NDArray[np.float32]:
        """Return the vectors of entries (n, d) by ascending keys.

        Raises MissingVectors; where a part is damaged, all are deleted first.
        """
        found = np.empty((len(keys), self._dimension), np.float32)
        parts = iter(self._parts())
        part = next(parts, None)
        for row, key in enumerate(keys):
            while part is not None and part.last < key:
                part = next(parts, None)
            if part is None or key <= part.after:
                raise MissingVectors
            vector = self._rows(part).get(key)
            if vector is None:
                self.drop()
                raise MissingVectors
            found[row] = vector
        return found

    def drop(self) -> None:
        """Delete all that is stored of these vectors. Raises FileUnavailable."""
        self._read = ("", {})
        with self._engine.writer.turn:
            self._engine.check_open()
            names = [part.name for part in self._parts()]
            self._engine.store.drop_derived(names)

    def drop_others(self) -> None:
        """Delete what is stored of other embedders' vectors. Raises FileUnavailable."""
        with self._engine.writer.turn:
            self._engine.check_open()
            with self._engine.reading_file() as store:
                names = [*store.derived_sizes(PREFIX)]
            others = [name for name in names if not name.startswith(self._prefix)]
            self._engine.store.drop_derived(others)

    def _parts(self) -> list[Part]:
        with self._engine.reading_file() as store:
            names = store.derived_sizes(self._prefix)
        return sorted(map(self._part, names), key=lambda part: part.last)

    def _part(self, name: str) -> Part:
        after, _, last = name.removeprefix(self._prefix).partition("-")
        return Part(name, int(after, 16), int(last, 16))

    def _end(self) -> int:
        """Return the last key of the parts that are stored without a gap."""
        if self._newest is not None:
            with self._engine.reading_file() as store:
                if store.derived_sizes(self._newest.name):  # else they were deleted
                    return self._newest.last
        end = 0
        for part in self._parts():
            if part.after != end:
                break
            end, self._newest = part.last, part
        return end

    def _rows(self, part: Part) -> dict[int, NDArray[np.float32]]:
        """Return the vectors of a part by key; nothing of it if it is damaged."""
        if self._read[0] != part.name:
            with self._engine.reading_file() as store:
                value = store.derived(part.name) or b""
            count = len(value) // (8 + 4 * self._dimension)
            keys = np.frombuffer(value, "<i8", count).tolist()
            rows = np.frombuffer(value, "<f4", offset=8 * count).reshape(count, self._dimension)
            self._read = part.name, dict(zip(keys, rows, strict=True))
        return self._read[1]
