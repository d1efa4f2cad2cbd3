"""Indexes whose vectors are searched on a device; their codes, in RAM, serve work on all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.codes.plane_scan import PART_ROWS_MIN
from visual_memory_index.codes.planes import Planes
from visual_memory_index.device.device import Device, DeviceFull
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
    there once there are more, and stay until half of them are gone. Where they find no room there,
    ``crowded`` is called with their number, and they are searched by their codes, too; it is tried
    again once they are twice as many.
    """

    def __init__(
        self,
        planes: Planes,
        there: DeviceRows,
        threads: IndexThreads,
        few: int,
        crowded: Callable[[int], None],
    ) -> None:
        super().__init__(Blocks(there.dimension), planes, threads)
        self._there, self._crowded = there, crowded
        self._few, self._least = few, few
        self.is_there = False

    @property
    def answers_at_once(self) -> bool:
        return super().answers_at_once and not self.is_there

    def reserve(self, count: int) -> None:
        super().reserve(count)
        if self.is_there:
            with suppress(DeviceFull):  # which ``append`` finds, too, while nothing searches there
                self._there.reserve(count)
        elif count > self._few:
            self._move(count)

    def append(self, vectors: NDArray[np.float32], codes: NDArray[np.uint8] | None = None) -> None:
        first = self.count
        super().append(vectors, codes)
        if self.is_there:
            with self._changing():
                self._there.reserve(self.count)
                self._there.put(np.arange(first, self.count), vectors)
        elif self.count > self._few:
            with self._changing():
                self._move(self.count)

    def remove(self, rows: Rows) -> None:
        _, places = moves(self.count, rows)
        super().remove(rows)
        if self.is_there:
            with self._changing():
                self._copy(places)
                self._there.truncate(self.count)
            if 2 * self.count <= self._least:
                self._leave()

    def holds(self, rows: Rows, vectors: NDArray[np.float32]) -> bool:
        same = super().holds(rows, vectors)
        if not self.is_there:
            return same
        ascending = np.sort(rows)
        there = self._there.gather(ascending)
        return same and there.tobytes() == self.gather(ascending).tobytes()

    def close(self) -> None:
        super().close()
        self._leave()

    def _near(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        admitted: NDArray[np.uint16] | None,
    ) -> list[Rows]:
        if self.is_there:
            try:
                return self._there.candidates(queries, ks, admitted)
            except DeviceFull:  # the codes give the same answer
                self._crowded(self.count)
        return super()._near(queries, ks, admitted)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Context manager of a change there that is made in RAM: it raises nothing.

        Rows that find no room there leave; a failure of the device is kept.
        """
        try:
            with self._there.device.keeping_failure():
                yield
        except (DeviceFull, MemoryError):
            self._leave_crowded(self.count)

    def _move(self, count: int) -> None:
        """Make room for ``count`` rows on the device, and copy all rows there.

        Searches do not ask the device yet. Raises MemoryError, DeviceFailed.
        """
        device = self._there.device
        if device.failure:
            return
        try:
            self._there.reserve(count)
            with device.working():
                self._copy(np.arange(self.count))
            self.is_there = True
        except DeviceFull:
            self._leave_crowded(count)
        except BaseException:
            self._leave()
            raise

    def _leave_crowded(self, count: int) -> None:
        self._leave()
        self._few = 2 * count
        self._crowded(count)

    def _leave(self) -> None:
        self.is_there = False
        with self._there.device.keeping_failure():
            self._there.truncate(0)

    def _copy(self, rows: Rows) -> None:
        """Copy ascending ``rows`` to the device."""
        for start in range(0, len(rows), COPIED_AT_ONCE):
            part = rows[start : start + COPIED_AT_ONCE]
            self._there.put(part, self.gather(part))


class DeviceIndexes(ScannedIndexes):
    """An ``IndexFactory`` of indexes that search on a device, by default the first GPU.

    Those in the background, of copies that are searched once, stay in RAM, and so do rows for which
    the device has no room: then ``crowded`` is called with their number. Raises UnfitDevice.
    """

    def __init__(
        self,
        threads: int | None = None,
        device: str = "cuda:0",
        *,
        few: int = PART_ROWS_MIN,
        crowded: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.device, self._few, self._crowded = Device(device), few, crowded
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
        return DeviceIndex(Planes(dimension), there, self._threads, self._few, self._crowded)

    def clear_scratch(self) -> None:
        super().clear_scratch()
        self.device.give_back_unused()
