"""What has to keep the contract of an index or a store: a new one is a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from visual_memory_index.scanned_index import ScannedIndex
from visual_memory_index.vectors import VectorIndex

NewIndex: TypeAlias = Callable[[int], VectorIndex]


class SmallBlocks(ScannedIndex):
    """Has several blocks from nine rows on."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self._block_rows = 8


INDEXES: Mapping[str, NewIndex] = MappingProxyType(
    {"scanned": ScannedIndex, "scanned in small blocks": SmallBlocks}
)
