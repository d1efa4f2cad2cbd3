"""Unit vectors in the memory of a device, and the rows there that could be nearest to a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from visual_memory_index.codes.bound import float32_error, reach
from visual_memory_index.errors import DeviceFailed
from visual_memory_index.rows.rows import Rows

FIRST_ROWS, LAST_BYTES = 256, 1 << 28  # of blocks: each doubles the room, up to 256 MB
SCORES = 1 << 26  # held at a time: 256 MB
LEAST = -2.0  # below every score; rows that are not admitted have less
OF_WORD = 16  # rows


class DeviceRows:
    """Unit vectors float32 (m, d) on ``device``, one per row, in blocks: growing copies nothing.

    Rows at the end that become unused are zeroed, and so are queries. Not safe for threads: nothing
    may read while rows are put or dropped. A device that fails to take a change raises nothing
    then, since the change is made elsewhere too, but with every search afterwards. Other methods
    raise DeviceFailed, or MemoryError if the device's memory is full.
    """

    def __init__(self, dimension: int, device: torch.device, block_rows: int | None = None) -> None:
        self.dimension, self.count, self._device = dimension, 0, device
        self._block_rows = block_rows
        self._blocks: list[torch.Tensor] = []
        self._starts = [0]  # of each block, and of the next
        self._failure: str | None = None
        self._error = float32_error(dimension)

    def reserve(self, count: int) -> None:
        """Make room for ``count`` rows in all."""
        with self._working():
            while (room := self._starts[-1]) < count:
                most = max(FIRST_ROWS, LAST_BYTES // (4 * self.dimension))
                rows = self._block_rows or min(max(FIRST_ROWS, room), most)
                shape = rows, self.dimension
                self._blocks.append(torch.zeros(shape, dtype=torch.float32, device=self._device))
                self._starts.append(room + rows)

    def put(self, rows: Rows, vectors: NDArray[np.float32]) -> None:
        """Write ``vectors`` (n, d) to ascending ``rows``, for which there is room."""
        with self._changing():
            for number, start, end in self._runs(rows):
                inside = slice(*(int(rows[at]) - self._starts[number] for at in (start, end - 1)))
                part = torch.from_numpy(np.ascontiguousarray(vectors[start:end]))
                self._blocks[number][inside.start : inside.stop + 1].copy_(part)
            if len(rows):
                self.count = max(self.count, int(rows[-1]) + 1)

    def truncate(self, count: int) -> None:
        """Keep the first ``count`` rows, and zero the others."""
        with self._changing():
            for start, block in self._filled():
                block[max(0, count - start) :].zero_()
            self.count = count
            while len(self._blocks) > 1 and self._starts[-2] >= count:
                self._blocks.pop()
                self._starts.pop()

    def gather(self, rows: Rows) -> NDArray[np.float32]:
        """Copy ascending ``rows`` into one array in RAM: float32 (len(rows), d)."""
        gathered = np.empty((len(rows), self.dimension), np.float32)
        with self._working():
            for number, start, end in self._runs(rows):
                first, last = (int(rows[at]) - self._starts[number] for at in (start, end - 1))
                gathered[start:end] = self._blocks[number][first : last + 1].cpu().numpy()
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
        """
        if self._failure is not None:
            raise DeviceFailed(name_of(self._device), self._failure)
        step = max(1, SCORES // max(1, self.count))
        found = list[Rows]()
        with self._working():
            kept = None if admitted is None else self._mask(admitted)
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                found += self._reaching(queries[part], np.array(ks[part]), kept)
        return found

    def _reaching(
        self, queries: NDArray[np.float32], ks: NDArray[np.int64], kept: torch.Tensor | None
    ) -> list[Rows]:
        asked = torch.empty(queries.shape, dtype=torch.float32, device=self._device)
        try:
            asked.copy_(torch.from_numpy(np.ascontiguousarray(queries)))
            filled = self._filled()
            scores = [torch.mm(asked, block.T) for _, block in filled]
        finally:
            asked.zero_()
        if kept is not None:
            for (start, block), each in zip(filled, scores, strict=True):
                each.masked_fill_(~kept[start : start + len(block)], -torch.inf)
        most = min(int(ks.max()), self.count)
        best = [each.topk(min(most, each.shape[1]), dim=1).values for each in scores]
        top = torch.cat(best, dim=1).topk(most, dim=1).values.cpu().numpy()
        lowest = top[np.arange(len(ks)), np.minimum(ks, self.count) - 1]
        reached = np.array([max(reach(float(each), self._error), LEAST) for each in lowest])
        floors = np.nextafter(reached.astype(np.float32), np.float32(-np.inf))
        floors_there = torch.from_numpy(floors[:, np.newaxis]).to(self._device)
        pairs = [(each >= floors_there).nonzero().cpu().numpy() for each in scores]
        numbers = np.concatenate([each[:, 0] for each in pairs])
        places = zip(pairs, filled, strict=True)
        rows = np.concatenate([each[:, 1] + start for each, (start, _) in places])
        by_query = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers, minlength=len(ks)))
        return [*np.split(rows[by_query].astype(np.intp), ends[:-1])]

    def _mask(self, admitted: NDArray[np.uint16]) -> torch.Tensor:
        """Return a mask (m,) on the device, given 16 rows in a number."""
        words = torch.from_numpy(admitted.astype(np.int32)).to(self._device)
        bits = torch.arange(OF_WORD, dtype=torch.int32, device=self._device)
        return ((words[:, None] >> bits) & 1).bool().flatten()[: self.count]

    def _filled(self) -> list[tuple[int, torch.Tensor]]:
        """Return for each block with rows the number of its first row, and these rows."""
        return [
            (start, block[: self.count - start])
            for start, block in zip(self._starts, self._blocks, strict=False)
            if start < self.count
        ]

    def _runs(self, rows: Rows) -> Iterator[tuple[int, int, int]]:
        """Yield each block with some of the ascending ``rows``, and positions in ``rows``.

        Rows from one position to the other are in the block, and follow each other.
        """
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(numbers) != 0)) + 1
        for start, end in pairwise([0, *breaks.tolist(), len(rows)] if len(rows) else []):
            yield int(numbers[start]), start, end

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Context manager of work on the device. Raises DeviceFailed, MemoryError."""
        try:
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError:
            raise MemoryError(f"the memory of {name_of(self._device)} is full") from None
        except RuntimeError as problem:
            raise DeviceFailed(name_of(self._device), first_line(problem)) from None

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Context manager of a change; a failure is kept, for searches to raise."""
        try:
            with torch.inference_mode():
                yield
        except RuntimeError as problem:
            self._failure = self._failure or first_line(problem)


def first_line(problem: Exception) -> str:
    """Return what an error of PyTorch says, without the advice that follows."""
    return str(problem).partition("\n")[0].rstrip(".")


def name_of(device: torch.device) -> str:
    """Return the name of a device for people, such as "GPU 0"."""
    return f"GPU {device.index or 0}" if device.type == "cuda" else device.type.upper()


def error_of(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], device: torch.device
) -> float:
    """Return the largest error of products on a device, as a share of what the bound allows.

    Some of the vectors have products that are far off where numbers are cut short, as TF32 does.
    """
    flat = np.full((64, 768), 768**-0.5, np.float32)
    rows = np.concatenate([flat, np.random.default_rng(0).standard_normal((4096, 768))])
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    there = torch.from_numpy(unit).to(device)
    found = multiply(there[:128], there.T).cpu().numpy().astype(np.float64)
    exact = unit[:128].astype(np.float64) @ unit.T.astype(np.float64)
    return float(np.abs(found - exact).max()) / float32_error(768)
