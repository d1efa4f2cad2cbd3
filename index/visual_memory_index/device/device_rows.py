"""Unit vectors in the memory of a device, and the rows there that could be nearest to a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from visual_memory_index.codes.bound import float32_error, reach
from visual_memory_index.device.device import Device
from visual_memory_index.rows.rows import Rows

FIRST_ROWS, LAST_BYTES = 256, 1 << 28  # of blocks: each doubles the room, up to 256 MB
SCORES, PAIRS = 1 << 26, 1 << 22  # held at a time: 256 MB, 64 MB
LEAST = -2.0  # below every score; rows that are not admitted have less
OF_WORD = 16  # rows
PUT_AT_ONCE = 4096  # rows that are copied in RAM, since PyTorch takes no arrays that are read-only


class DeviceRows:
    """Unit vectors float32 (m, d) on a device, one per row, in blocks: growing copies nothing.

    Rows at the end that become unused are zeroed, and so are queries. Not safe for threads: nothing
    may read while rows are put or dropped. What fails inside ``device.keeping_failure``, where rows
    are changed, raises nothing there, since the change is made elsewhere too, but in every other
    call from then on: DeviceFailed.
    """

    def __init__(
        self,
        dimension: int,
        device: Device,
        block_rows: int | None = None,
        scores: int = SCORES,
        pairs: int = PAIRS,
    ) -> None:
        self.dimension, self.count = dimension, 0
        self.device, self._block_rows = device, block_rows
        self._scores, self._pairs = scores, pairs
        self._blocks: list[torch.Tensor] = []
        self._starts = [0]  # of each block, and of the next
        self._error = float32_error(dimension)

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows in all. Raises DeviceFull, DeviceFailed."""
        if count <= self._starts[-1]:  # entries are deleted also if the device has failed
            return
        with self.device.working():
            while (room := self._starts[-1]) < count:
                most = max(FIRST_ROWS, LAST_BYTES // (4 * self.dimension))
                rows = self._block_rows or min(max(FIRST_ROWS, room), most)
                self._blocks.append(self.device.zeros((rows, self.dimension)))
                self._starts.append(room + rows)

    def put(self, rows: Rows, vectors: NDArray[np.float32]) -> None:
        """Write ``vectors`` (n, d) to ascending ``rows``, for which there is room."""
        for block, places, part in self._parts(rows):
            copied = torch.from_numpy(np.array(vectors[part], np.float32)).to(self.device.torch)
            block.index_copy_(0, places, copied)
            copied.zero_()
        if len(rows):
            self.count = max(self.count, int(rows[-1]) + 1)

    def truncate(self, count: int) -> None:
        """Keep the first ``count`` rows, and zero the others; give back what is unused."""
        for start, block in self._filled():
            block[max(0, count - start) :].zero_()
        self.count = count
        while self._blocks and self._starts[-2] >= count:
            self._blocks.pop()
            self._starts.pop()

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ascending ``rows`` into one array in RAM: float32 (len(rows), d)."""
        gathered = np.empty((len(rows), self.dimension), np.float32)
        with self.device.working():
            for block, places, part in self._parts(rows):
                gathered[part] = block.index_select(0, places).cpu()
        return gathered

    def candidates(
        self,
        queries: NDArray[np.float32],
        ks: Sequence[int],
        admitted: NDArray[np.uint16] | None,
    ) -> list[Rows]:
        """Return for each unit query (n, d) rows that include its k ≥ 1 nearest, ascending.

        All rows as near as the k-th are included. If ``admitted`` is given, rows are chosen from
        those whose bit in it is set, 16 in a number; all of them, if they are not more than k.
        Raises DeviceFull, DeviceFailed.
        """
        step = max(1, self._scores // max(1, self.count))
        found = list[Rows]()
        with self.device.working():
            kept = None if admitted is None else self._mask(admitted)
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                found += self._reaching(queries[part], np.array(ks[part]), kept)
        return found

    def _reaching(
        self, queries: NDArray[np.float32], ks: NDArray[np.int64], kept: torch.Tensor | None
    ) -> list[Rows]:
        filled = self._filled()
        asked = self.device.zeros(queries.shape)
        try:
            asked.copy_(torch.from_numpy(np.array(queries, np.float32)))
            scores = [torch.mm(asked, block.T) for _, block in filled]
        finally:
            asked.zero_()
        if kept is not None:
            for (start, block), each in zip(filled, scores, strict=True):
                each.masked_fill_(~kept[start : start + len(block)], -torch.inf)
        reached = self._floors(scores, ks)
        marks = [each >= reached for each in scores]
        pairs = sum(int(each.sum()) for each in marks)
        if pairs > self._pairs and len(queries) > 1:  # very many rows as near as the k-th
            half = len(queries) // 2
            del scores, marks
            first = self._reaching(queries[:half], ks[:half], kept)
            return first + self._reaching(queries[half:], ks[half:], kept)
        places = [each.nonzero().cpu().numpy() for each in marks]
        rows = [each[:, 1] + start for each, (start, _) in zip(places, filled, strict=True)]
        ends = [np.cumsum(np.bincount(each[:, 0], minlength=len(ks))) for each in places]
        parts = [np.split(each, end[:-1]) for each, end in zip(rows, ends, strict=True)]
        return [np.concatenate(each).astype(np.intp) for each in zip(*parts, strict=True)]

    def _floors(self, scores: Sequence[torch.Tensor], ks: NDArray[np.int64]) -> torch.Tensor:
        """Return the score that the k nearest rows of each query reach: (n, 1)."""
        most = min(int(ks.max()), self.count)
        best = [each.topk(min(most, each.shape[1]), dim=1).values for each in scores]
        top = torch.cat(best, dim=1).topk(most, dim=1).values.cpu().numpy()
        lowest = top[np.arange(len(ks)), np.minimum(ks, self.count) - 1]
        reached = np.array([max(reach(float(each), self._error), LEAST) for each in lowest])
        below = np.nextafter(reached.astype(np.float32), np.float32(-np.inf))
        return torch.from_numpy(below[:, np.newaxis]).to(scores[0].device)

    def _mask(self, admitted: NDArray[np.uint16]) -> torch.Tensor:
        """Return a mask (m,) on the device, given 16 rows in a number."""
        words = torch.from_numpy(admitted.astype(np.int32)).to(self.device.torch)
        bits = torch.arange(OF_WORD, dtype=torch.int32, device=self.device.torch)
        return ((words[:, None] >> bits) & 1).bool().flatten()[: self.count]

    def _filled(self) -> list[tuple[int, torch.Tensor]]:
        """Return for each block with rows the number of its first row, and these rows."""
        return [
            (start, block[: self.count - start])
            for start, block in zip(self._starts, self._blocks, strict=False)
            if start < self.count
        ]

    def _parts(self, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor, slice]]:
        """Yield each block with some of the ascending ``rows``, their places, and which they are.

        They are not many, so that little memory is needed to copy them.
        """
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        breaks = np.flatnonzero(np.diff(numbers)) + 1
        steps = np.arange(PUT_AT_ONCE, len(rows), PUT_AT_ONCE)
        ends = np.unique(np.concatenate([breaks, steps])).tolist()
        for start, end in pairwise([0, *ends, len(rows)] if len(rows) else []):
            number = int(numbers[start])
            places = torch.from_numpy(rows[start:end] - self._starts[number])
            yield self._blocks[number], places.to(self.device.torch), slice(start, end)
