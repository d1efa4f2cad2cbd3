"""The implementations that must keep the contract of an index, store or registry, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from tests.index.conformance.dict_registry import DictPlace

from visual_memory_index.catalog.registry import Registry
from visual_memory_index.catalog.sqlite_registry import SqliteRegistry
from visual_memory_index.scan.blocks import Blocks
from visual_memory_index.scan.bound import float32_error
from visual_memory_index.scan.distances import UNIT_TOLERANCE
from visual_memory_index.scan.faiss_scan import FaissScan, ScanThreads
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.vectors import Rows, VectorIndex, moves
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.store import Identity, Store
from visual_memory_index.store.stored_files import SearchableTransaction, StoredFiles

T = TypeVar("T")

NewIndex: TypeAlias = Callable[[int], VectorIndex]


THREADS = ScanThreads(2)
SMALL_BLOCK = 8  # rows: there are several blocks from nine rows on
Encode: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def faiss_index(dimension: int, block_rows: int | None = None) -> ScannedIndex:
    rows = Blocks(dimension, block_rows)
    return ScannedIndex(rows, FaissScan(rows, THREADS))


class CodedScan:
    """Scores encoded rows instead of the vectors; each row's error bound is that of its code."""

    best_max = 1024

    def __init__(self, name: str, encode: Encode, dimension: int) -> None:
        self.name, self._encode = name, encode
        self._codes = np.empty((0, dimension), np.float32)
        self._errors = np.empty(0)
        self.error_max = 0.0

    def errors(self, rows: Rows) -> NDArray[np.float64]:
        return self._errors[rows]

    def reserve(self, count: int) -> None:
        """Do nothing: ``append`` makes room."""

    def append(self, vectors: NDArray[np.float32]) -> None:
        codes = self._encode(vectors)
        norms = np.linalg.norm(codes.astype(np.float64), axis=1)
        strays = np.linalg.norm(vectors.astype(np.float64) - codes, axis=1) * (1 + UNIT_TOLERANCE)
        errors = strays + float32_error(vectors.shape[1]) * np.maximum(norms, 1.0) + 1e-9
        self._codes = np.concatenate([self._codes, codes])
        self._errors = np.concatenate([self._errors, errors])
        self.error_max = float(self._errors.max(initial=0.0))

    def remove(self, rows: Rows) -> None:
        count = len(self._codes)
        start, end = moves(count, rows)
        for column in (self._codes, self._errors):
            column[end] = column[start]
        self._codes = self._codes[: count - len(rows)].copy()
        self._errors = self._errors[: count - len(rows)].copy()

    def best(
        self, queries: NDArray[np.float32], most: int, *, background: bool
    ) -> tuple[NDArray[np.float32], Rows]:
        scores = queries @ self._codes.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :most]
        return np.take_along_axis(scores, rows, axis=1), rows

    def run(self, multiply: Callable[[], T], *, background: bool) -> T:
        return multiply()

    def scores(self, queries: NDArray[np.float32], rows: Rows) -> NDArray[np.float32]:
        return queries @ self._codes[rows].T

    def best_of_rows(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        best: NDArray[np.float32] = (queries @ self._codes.T).max(axis=0)
        return best


def halved(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to float16 precision."""
    return vectors.astype(np.float16).astype(np.float32)


def stretched(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows by different factors, so that scores are far off and errors differ."""
    factors = np.array([1.0, 1.25, 0.8, 1.0], np.float32)
    return vectors * factors[vectors[:, :1].view(np.uint32) % 4]


def coded_index(name: str, encode: Encode, dimension: int) -> ScannedIndex:
    return ScannedIndex(Blocks(dimension, SMALL_BLOCK), CodedScan(name, encode, dimension))


class CodedIndexes:
    """An ``IndexFactory`` of indexes that score float16 codes."""

    unsearchable: Sequence[str] = ("the memory of GPU 0",)

    def new(self, dimension: int, *, background: bool = False) -> ScannedIndex:
        return coded_index("float16", halved, dimension)

    def clear_scratch(self, dimension: int) -> None:
        """Do nothing: there are no buffers."""


INDEXES: Mapping[str, NewIndex] = MappingProxyType(
    {
        "scanned": faiss_index,
        "scanned in small blocks": partial(faiss_index, block_rows=SMALL_BLOCK),
        "scanned in float16": partial(coded_index, "float16", halved),
        "scanned with errors that differ": partial(coded_index, "stretched", stretched),
    }
)


class Place(Protocol):
    """A place in which one store can be created, and opened again after it was closed."""

    def create(self, identity: Identity) -> Store:
        """Create a store without entries."""

    def open(self) -> Store:
        """Open the store that was created."""


class SqlitePlace:
    """A place for a store in an SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "m.sqlite"

    def create(self, identity: Identity) -> SqliteStore:
        return SqliteStore.create(self._path, identity)

    def open(self) -> SqliteStore:
        return SqliteStore(self._path)


class SearchableStore(Store, StoredFiles, Protocol):
    """A store that keeps its bytes in local files."""

    def transaction(self) -> AbstractContextManager[SearchableTransaction]: ...


class FiledPlace(Protocol):
    """A place in which a store with local files can be created."""

    def create(self, identity: Identity) -> SearchableStore: ...


PLACES: Mapping[str, Callable[[Path], Place]] = MappingProxyType({"sqlite": SqlitePlace})
FILED: Mapping[str, Callable[[Path], FiledPlace]] = MappingProxyType({"sqlite": SqlitePlace})


class RegistryPlace(Protocol):
    """A place in which one registry can be created, and opened again after it was closed."""

    def open(self) -> Registry: ...


class SqliteRegistryPlace:
    """A place for a registry in an SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "catalog.sqlite"

    def open(self) -> SqliteRegistry:
        return SqliteRegistry(self._path)


REGISTRIES: Mapping[str, Callable[[Path], RegistryPlace]] = MappingProxyType(
    {"sqlite": SqliteRegistryPlace, "dicts": DictPlace}
)
