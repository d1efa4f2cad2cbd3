"""The implementations that must keep the contract of an index, store or registry, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from tests.index.conformance.dict_registry import DictPlace
from tests.index.devices import on_device

from visual_memory_index.catalog.registry import Registry
from visual_memory_index.catalog.sqlite_registry import SqliteRegistry
from visual_memory_index.codes.planes import Planes
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.rows import Rows
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.stored_rows import StoredRows
from visual_memory_index.scan.threads import IndexThreads
from visual_memory_index.scan.vectors import VectorIndex
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.store import Identity, Store
from visual_memory_index.store.stored_files import SearchableTransaction, StoredFiles

if TYPE_CHECKING:
    from visual_memory_index.device.device import Device

T = TypeVar("T")

NewIndex: TypeAlias = Callable[[int], VectorIndex]


THREADS = IndexThreads(2)
SMALL_BLOCK = 8  # rows, and 16 of codes: there are several blocks from 17 rows on


def scanned_index(dimension: int, block_rows: int | None = None) -> ScannedIndex:
    return ScannedIndex(Blocks(dimension, block_rows), Planes(dimension, block_rows), THREADS)


def device_index(
    dimension: int, block_rows: int | None = None, few: int = 0, **held: int
) -> ScannedIndex:
    """Return an index that searches on a device, see ``on_device``."""
    device = on_device()
    from visual_memory_index.device.device_rows import DeviceRows
    from visual_memory_index.device.indexes import DeviceIndex

    there = DeviceRows(dimension, shared_device(device), block_rows, **held)
    return DeviceIndex(Planes(dimension), there, THREADS, few, lambda count: None)


@cache
def shared_device(name: str) -> Device:
    """Return a device, which takes a moment to be checked."""
    from visual_memory_index.device.device import Device

    return Device(name)


class StoredIndex(ScannedIndex):
    """An index that reads its vectors from rows beside it."""

    def __init__(self, dimension: int) -> None:
        self._beside = Blocks(dimension)
        rows = StoredRows(dimension, self._beside.gather)
        super().__init__(rows, Planes(dimension), THREADS)

    def append(self, vectors: NDArray[np.float32], codes: NDArray[np.uint8] | None = None) -> None:
        self._beside.append(vectors)
        super().append(vectors, codes)

    def remove(self, rows: Rows) -> None:
        self._beside.remove(rows)
        super().remove(rows)


class ElsewhereIndexes(ScannedIndexes):
    """An ``IndexFactory`` that says that its indexes also keep vectors out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.unsearchable = ("the memory of GPU 0",)


INDEXES: Mapping[str, NewIndex] = MappingProxyType(
    {
        "scanned": scanned_index,
        "scanned in small blocks": partial(scanned_index, block_rows=SMALL_BLOCK),
        "stored": StoredIndex,
        "on a device": device_index,
        "on a device, in small blocks": partial(device_index, block_rows=SMALL_BLOCK),
        "on a device, a few at a time": partial(device_index, scores=100, pairs=20),
        "on a device from 20 rows on": partial(device_index, few=20),
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
