"""The columns beside the vectors: key, id and label of each row, in arrays without objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.ram.labels import Codes, Factorized, Labels, factorized
from visual_memory_index.records.entry import Texts
from visual_memory_index.records.filter import Comparison
from visual_memory_index.records.steps import steps
from visual_memory_index.rows import row_kernels
from visual_memory_index.rows.blocks import fresh
from visual_memory_index.rows.rows import Rows, moves

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Bytes = NDArray[np.uint8]

FIRST_ROWS, FIRST_BYTES = 1024, 1 << 15
BYTES_EXPECTED = 40  # of an id: a UUID has 36, and a zero behind it
GROWTH = 1.5
CELLS = 1.5  # for a row: a look-up then reads 2 of them on average, or 5 in vain (Knuth)
WASTED = 0.5  # bytes of removed ids, as a part of those that are left, before all are packed
LARGE = 1 / 8  # of the rows that are left: copying these takes about as long as such a removal


class Arrays(NamedTuple):
    """The columns by row, the texts of the ids, and the cells of two tables of rows.

    An id is the ``lengths`` bytes of ``texts`` from ``starts`` on, as UTF-8 with a zero behind it:
    without, the end of one id and the beginning of the next could look like a third that was
    erased. ``hashes`` are those of the ids. A label is a code of ``Labels``. The tables are those
    of ``row_kernels``: ``by_id`` has the hashes as numbers, ``by_key`` the keys.
    """

    keys: Int64
    starts: Int64
    hashes: Int64
    labels: Codes
    lengths: Int32
    texts: Bytes
    by_id: Int32
    by_key: Int32

    @classmethod
    def room(cls, rows: int, size: int) -> Arrays:
        """Return room for so many rows, whose ids take ``size`` bytes in all.

        Columns and texts take no memory until they are written; cells do.
        """
        cells = fresh((2, int(CELLS * rows)), np.int32)
        cells[:] = row_kernels.EMPTY
        keys, starts, hashes = fresh((3, rows), np.int64)
        labels, lengths = fresh((2, rows), np.int32)
        return cls(keys, starts, hashes, labels, lengths, fresh((size,), np.uint8), *cells)

    @property
    def by_row(self) -> Sequence[Int64 | Int32]:
        """The columns alone."""
        return self.keys, self.starts, self.hashes, self.labels, self.lengths


class Columns:
    """Key, id and label by row, without gaps: the last rows take the places of removed rows.

    Nothing of removed rows is left. Ids and keys are unique. ``reserve`` and ``compact`` may run
    beside readers, which go on with the arrays they have; all other changes need exclusive access.

    ``hash`` gives 64 bits for an id. Python's depends on a random number of the process, so that
    nobody can choose ids with equal hashes.
    """

    def __init__(self, hash: Callable[[str], int] = hash) -> None:
        self._hash = hash
        self._expected = 0  # rows in all, while they come
        self._arrays = Arrays.room(FIRST_ROWS, FIRST_BYTES)
        self._labels = Labels()
        self._count = 0
        self._end = 0  # of the texts
        self._wasted = 0  # bytes before it, of removed ids

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> Int64:
        """The key of each row: int64 (m,), not copied."""
        return self._arrays.keys[: self._count]

    @property
    def hashes(self) -> Int64:
        """The hash of the id of each row: int64 (m,), not copied."""
        return self._arrays.hashes[: self._count]

    def listing(self) -> tuple[Int64, Int64, NDArray[np.object_]]:
        """Return copies of the keys, the hashes of the ids, and the labels of all rows."""
        return self.keys.copy(), self.hashes.copy(), self.labels(np.arange(len(self)))

    @property
    def label_counts(self) -> Counter[str]:
        """The number of rows with each label."""
        return self._labels.counts

    def ids(self, rows: Rows) -> NDArray[np.object_]:
        """Return the ids of ``rows``, in their shape."""
        arrays, wanted = self._arrays, rows.ravel()
        data = row_kernels.copied(arrays.texts, arrays.starts, arrays.lengths, wanted).tobytes()
        ends = np.cumsum(arrays.lengths[wanted], dtype=np.int64).tolist()
        places = zip([0, *ends], ends, strict=False)
        if data.isascii():  # then an id is a piece of one text
            text = str(data, "ascii")
            ids = (text[start : end - 1] for start, end in places)
        else:
            ids = (str(data[start : end - 1], "utf-8") for start, end in places)
        return np.fromiter(ids, object, rows.size).reshape(rows.shape)

    def labels(self, rows: Rows) -> NDArray[np.object_]:
        """Return the labels of ``rows``, in their shape."""
        return self._labels.of(self._arrays.labels[rows])

    def labelled(self, comparison: Comparison) -> NDArray[np.bool_]:
        """Return a mask (m,) of the rows whose labels match a ``comparison``."""
        codes = self._arrays.labels[: self._count]
        if comparison.operator in ("=", "!=") and isinstance(comparison.value, str):
            equal: NDArray[np.bool_] = codes == self._labels.code(comparison.value)
            return equal if comparison.operator == "=" else ~equal
        return self._labels.match(comparison.matches)[codes]

    def count_labels(self, rows: Rows | NDArray[np.bool_]) -> Counter[str]:
        """Count the ``rows`` with each label."""
        return self._labels.count(self._arrays.labels[: self._count][rows])

    def rows_of_ids(self, ids: Texts) -> Rows:
        """Return the row of each of ``ids`` (n,), or −1 where there is none: (n,)."""
        arrays, rows = self._arrays, np.empty(len(ids), dtype=np.intp)
        for step in steps(len(ids)):
            text, lengths = encoded(ids[step])
            rows[step] = row_kernels.find_texts(
                arrays.by_id,
                arrays.hashes,
                arrays.starts,
                arrays.lengths,
                arrays.texts,
                self.hashes_of(ids[step]),
                np.cumsum(lengths),
                text,
            )
        return rows

    def rows_of_keys(self, keys: Int64) -> Rows:
        """Return the row of each of ``keys`` (n,), or −1 where there is none: (n,)."""
        arrays = self._arrays
        rows: Rows = row_kernels.find(arrays.by_key, arrays.keys, keys)
        return rows

    def expect(self, rows: int) -> None:
        """Make room for so many ``rows`` in all, which is kept until they are there."""
        self._expected = rows
        size = max(BYTES_EXPECTED * rows, self._end - self._wasted)
        self._pack(max(rows, self._count), size)

    def size(self, rows: Rows) -> int:
        """Return the bytes that the ids of ``rows`` take, as ``size_of`` has them."""
        return int(self._arrays.lengths[rows].sum(dtype=np.int64))

    def reserve(self, count: int, size: int) -> None:
        """Make room for ``count`` rows more, whose ids take ``size`` bytes (``size_of``).

        It is in memory pages that the system has provided.
        """
        rows = self._count + count
        if rows > len(self._arrays.keys) or self._end + size > len(self._arrays.texts):
            texts = grown(self._end - self._wasted + size)
            self._pack(self._expected if rows <= self._expected else grown(rows), texts)
        for column in self._arrays.by_row:
            column[self._count : rows] = 0
        self._arrays.texts[self._end : self._end + size] = 0

    def compact(self) -> None:
        """Give memory of removed rows back, if it is much."""
        self._give_back(0, 0)

    def append(self, keys: Sequence[int] | Int64, ids: Texts, labels: Texts) -> None:
        """Add rows after the last one, for which room was reserved."""
        arrays, start, end = self._arrays, self._count, self._count + len(ids)
        text, lengths = encoded(ids)
        ends = self._end + np.cumsum(lengths)
        arrays.texts[self._end : self._end + len(text)] = text
        arrays.keys[start:end] = keys
        arrays.starts[start:end], arrays.lengths[start:end] = ends - lengths, lengths
        arrays.hashes[start:end] = self.hashes_of(ids)
        arrays.labels[start:end] = self._labels.add(factorized(labels))
        row_kernels.put(arrays.by_id, arrays.hashes, start, end)
        row_kernels.put(arrays.by_key, arrays.keys, start, end)
        self._count, self._end = end, self._end + len(text)
        if end >= self._expected:
            self._expected = 0

    def remove(self, rows: Rows) -> None:
        """Remove ascending ``rows``; the last rows move to their places, as ``moves`` describes.

        A large removal gives memory back at once, but none of the room that was reserved.
        """
        arrays, (start, end) = self._arrays, moves(self._count, rows)
        room = len(arrays.keys) - self._count, len(arrays.texts) - self._end
        for cells, numbers in ((arrays.by_id, arrays.hashes), (arrays.by_key, arrays.keys)):
            row_kernels.drop(cells, numbers, rows)
            row_kernels.renumber(cells, numbers, start, end)
        self._wasted += row_kernels.erase(arrays.texts, arrays.starts, arrays.lengths, rows)
        self._labels.drop(arrays.labels[rows])
        left = self._count - len(rows)
        for column in arrays.by_row:
            column[end] = column[start]
            column[left : self._count] = 0
        self._count = left
        if len(rows) > LARGE * left:
            self._give_back(*room)

    def relabel(self, rows: Rows, labels: Factorized) -> None:
        """Give distinct ``rows`` other ``labels``."""
        before = self._arrays.labels[rows]
        self._arrays.labels[rows] = self._labels.add(labels)
        self._labels.drop(before)

    def hashes_of(self, ids: Texts) -> Int64:
        """Return the hash of each of ``ids`` (n,): int64 (n,)."""
        return np.fromiter(map(self._hash, ids), np.int64, len(ids))

    def _give_back(self, rows: int, size: int) -> None:
        """Do as ``compact``, and keep room for so many ``rows`` and ``size`` bytes of ids more."""
        left = self._end - self._wasted
        if self._wasted > max(FIRST_BYTES, WASTED * left):
            rows, size = self._count + rows, left + size
            self._pack(max(rows, grown(self._count)), max(size, grown(left)))

    def _pack(self, rows: int, size: int) -> None:
        """Copy all to new arrays, with room for so many ``rows`` and ``size`` bytes of ids."""
        old, count = self._arrays, self._count
        new = Arrays.room(max(FIRST_ROWS, rows), max(FIRST_BYTES, size))
        for before, after in zip(old.by_row, new.by_row, strict=True):
            after[:count] = before[:count]
        self._end = row_kernels.pack(
            old.texts, old.starts[:count], old.lengths, new.texts, new.starts
        )
        self._wasted = 0
        row_kernels.put(new.by_id, new.hashes, 0, count)
        row_kernels.put(new.by_key, new.keys, 0, count)
        self._arrays = new


def grown(size: int) -> int:
    """Return a larger size, so that all is copied seldom as it grows."""
    return int(GROWTH * size)


def size_of(ids: Texts) -> int:
    """Return the bytes that ``ids`` take as UTF-8, a zero behind each."""
    return sum(len("\0".join((*ids[step], "")).encode()) for step in steps(len(ids)))


def encoded(ids: Texts) -> tuple[Bytes, Int64]:
    """Return the ``ids`` (n,) as UTF-8, a zero behind each, and their lengths with it: (n,)."""
    texts = [*map(str.encode, ids)]
    return (
        np.frombuffer(b"\0".join((*texts, b"")), np.uint8),
        np.fromiter(map(len, texts), np.int64, len(texts)) + 1,
    )
