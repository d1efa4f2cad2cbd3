"""What has to keep the contract of an index or a store: a new one is a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias

from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.vectors import VectorIndex
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.store import Identity, Store

NewIndex: TypeAlias = Callable[[int], VectorIndex]


class SmallBlocks(ScannedIndex):
    """Has several blocks from nine rows on."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self._block_rows = 8


INDEXES: Mapping[str, NewIndex] = MappingProxyType(
    {"scanned": ScannedIndex, "scanned in small blocks": SmallBlocks}
)


class Place(Protocol):
    """Where one store can be made, and opened again after it was closed."""

    def create(self, identity: Identity) -> Store:
        """A store that holds no entry."""

    def open(self) -> Store:
        """The store that was made here."""


class SqlitePlace:
    """A file in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "m.sqlite"

    def create(self, identity: Identity) -> Store:
        return SqliteStore.create(self._path, identity)

    def open(self) -> Store:
        return SqliteStore(self._path)


PLACES: Mapping[str, Callable[[Path], Place]] = MappingProxyType({"sqlite": SqlitePlace})
