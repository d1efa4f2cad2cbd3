"""Indexes whose vectors are searched on a device; their codes, in RAM, serve work on all rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes.plane_scan import PART_ROWS_MIN
from visual_memory_index.codes.planes import Planes
from visual_memory_index.device.device import Device
from visual_memory_index.device.device_rows import DeviceRows
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.rows import Rows, moves
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.threads import IndexThreads
from visual_memory_index.scan.vectors import ReadRows

COPIED_AT_ONCE = 4096  # rows


class DeviceIndex(ScannedIndex):
    """A ``VectorIndex`` whose queries are searched among ``there``, copies of its rows on a device.

    Up to ``few`` rows are searched by their codes, which takes one thread a moment: they are copied
    there once there are more, and stay until half of them are gone.
    """

    def __init__(self, planes: Planes, there: DeviceRows, threads: IndexThreads, few: int) -> None:
        super().__init__(Blocks(there.dimension), planes, threads)
        self._there, self._few = there, few

    @property
    def is_there(self) -> bool:
        """True if all rows are on the device."""
        return 0 < self.count == self._there.count

    def reserve(self, count: int) -> None:
        super().reserve(count)
        if count > self._few:
            self._there.reserve(count)
            with self._there.changing():  # beside searches, which do not ask the device yet
                self._copy(np.arange(self._there.count, self.count))

    def append(self, vectors: NDArray[np.float32], codes: NDArray[np.uint8] | None = None) -> None:
        first = self.count
        self.reserve(first + len(vectors))
        whole = self._there.count == first
        super().append(vectors, codes)
        if whole and (first or self.count > self._few):
            with self._there.changing():
                self._there.put(np.arange(first, self.count), vectors)

    def remove(self, rows: Rows) -> None:
        there = self.is_there
        _, places = moves(self.count, rows)
        super().remove(rows)
        if there:
            with self._there.changing():
                self._copy(places)
                self._there.truncate(self.count if 2 * self.count > self._few else 0)

    def holds(self, rows: Rows, vectors: NDArray[np.float32]) -> bool:
        same = super().holds(rows, vectors)
        if not self.is_there:
            return same
        ascending = np.sort(rows)
        there = self._there.gather(ascending)
        return same and there.tobytes() == self.gather(ascending).tobytes()

    def close(self) -> None:
        super().close()
        with self._there.changing():
            self._there.truncate(0)

    def _near(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        admitted: NDArray[np.uint16] | None,
    ) -> list[Rows]:
        if self.is_there:
            return self._there.candidates(queries, ks, admitted)
        return super()._near(queries, ks, admitted)

    def _copy(self, rows: Rows) -> None:
        """Copy ascending ``rows`` to the device."""
        for start in range(0, len(rows), COPIED_AT_ONCE):
            part = rows[start : start + COPIED_AT_ONCE]
            self._there.put(part, self.gather(part))


class DeviceIndexes(ScannedIndexes):
    """An ``IndexFactory`` of indexes that search on a device, by default the first GPU.

    Those in the background, of copies that are searched once, stay in RAM. Raises UnfitDevice.
    """

    def __init__(
        self, threads: int | None = None, device: str = "cuda:0", *, few: int = PART_ROWS_MIN
    ) -> None:
        self.device, self._few = Device(device), few
        super().__init__(threads)
        name = self.device.name
        elsewhere = f"the memory of {name}", f"the buffers of the driver of {name}"
        self.unsearchable = *self.unsearchable, *elsewhere

    def new(
        self, dimension: int, *, background: bool = False, read: ReadRows | None = None
    ) -> ScannedIndex:
        if background:
            return super().new(dimension, background=True, read=read)
        there = DeviceRows(dimension, self.device)
        return DeviceIndex(Planes(dimension), there, self._threads, self._few)

    def clear_scratch(self) -> None:
        super().clear_scratch()
        self.device.give_back_unused()
