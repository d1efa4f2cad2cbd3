"""Indexes whose vectors are searched on a device; their codes, in RAM, serve work on all rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from visual_memory_index.codes.plane_scan import PART_ROWS_MIN
from visual_memory_index.codes.planes import Planes
from visual_memory_index.device.device_rows import DeviceRows, error_of, first_line, name_of
from visual_memory_index.errors import UnfitDevice
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.rows import Rows, moves
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.threads import IndexThreads
from visual_memory_index.scan.vectors import ReadRows


class DeviceIndex(ScannedIndex):
    """A ``VectorIndex`` whose queries are searched among ``device_rows``, copies of its rows.

    Rows up to ``few`` are searched by their codes, which takes less than asking a device.
    """

    def __init__(
        self,
        planes: Planes,
        device_rows: DeviceRows,
        threads: IndexThreads,
        *,
        few: int,
    ) -> None:
        super().__init__(Blocks(device_rows.dimension), planes, threads)
        self._device_rows, self._few = device_rows, few

    def reserve(self, count: int) -> None:
        super().reserve(count)
        self._device_rows.reserve(count)

    def append(self, vectors: NDArray[np.float32], codes: NDArray[np.uint8] | None = None) -> None:
        first = self.count
        self.reserve(first + len(vectors))
        super().append(vectors, codes)
        self._device_rows.put(np.arange(first, first + len(vectors)), vectors)

    def remove(self, rows: Rows) -> None:
        _, places = moves(self.count, rows)
        super().remove(rows)
        self._device_rows.put(places, self.gather(places))
        self._device_rows.truncate(self.count)

    def holds(self, rows: Rows, vectors: NDArray[np.float32]) -> bool:
        in_order = np.sort(rows)
        there = self._device_rows.gather(in_order)
        return super().holds(rows, vectors) and there.tobytes() == self.gather(in_order).tobytes()

    def _near(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        admitted: NDArray[np.uint16] | None,
    ) -> list[Rows]:
        if self.count <= self._few:
            return super()._near(queries, ks, admitted)
        return self._device_rows.candidates(queries, ks, admitted)


class DeviceIndexes(ScannedIndexes):
    """An ``IndexFactory`` of indexes that search on ``device``, by default the first GPU.

    Those in the background, of copies that are searched once, stay in RAM. Raises UnfitDevice.
    """

    def __init__(
        self, threads: int | None = None, device: str = "cuda:0", *, few: int = PART_ROWS_MIN
    ) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        self._device, self._few = torch.device(device), few
        try:
            error = error_of(torch.mm, self._device)
        except (AssertionError, RuntimeError) as problem:  # PyTorch without CUDA asserts
            raise UnfitDevice(name_of(self._device), first_line(problem)) from None
        if error > 1.0:
            raise UnfitDevice(
                name_of(self._device),
                "its products are further off than float32 allows; "
                "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE must not be set",
            )
        super().__init__(threads)
        self.unsearchable = *self.unsearchable, f"the memory of {name_of(self._device)}"

    def new(
        self, dimension: int, *, background: bool = False, read: ReadRows | None = None
    ) -> ScannedIndex:
        if background:
            return super().new(dimension, background=True, read=read)
        device_rows = DeviceRows(dimension, self._device)
        return DeviceIndex(Planes(dimension), device_rows, self._threads, few=self._few)

    def clear_scratch(self) -> None:
        super().clear_scratch()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
