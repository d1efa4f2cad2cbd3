"""The copy of a memory in RAM, for readers, and the changes that are applied to it.

It is derived from the store, and never written anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.heads.head import Head, check_size, fit
from visual_memory_index.heads.products import Matrix, inverse
from visual_memory_index.ram.answers import Answers
from visual_memory_index.ram.change import Change, no_keys
from visual_memory_index.ram.columns import Columns, size_of
from visual_memory_index.ram.counted_rows import CountedRows
from visual_memory_index.ram.named_rows import NamedRows, rows_ahead, rows_of
from visual_memory_index.ram.originals import Originals
from visual_memory_index.ram.room import check_room
from visual_memory_index.records.entry import CodedEntries, Keys, Texts, VotingEntries
from visual_memory_index.records.filter import Comparison
from visual_memory_index.records.measures import MEASURED_ROWS
from visual_memory_index.records.neighbors import Neighbors, Shown
from visual_memory_index.records.steps import equal
from visual_memory_index.rows.distances import Distances
from visual_memory_index.rows.rows import RowBits, Rows, distinct
from visual_memory_index.scan.ranking import exact_order
from visual_memory_index.scan.vectors import IndexFactory

ROWS_AT_ONCE = 4096
MEASURED_AT_ONCE = 1 << 20  # pairs of a query and a candidate, or those of one query
PART_ROWS, PART_NUMBERS = 4096, 1 << 21  # of vectors, changed while searches wait: some 20 ms
EXACT_PRODUCTS_AT_ONCE = 1e7  # some tens of milliseconds
FEWER_ENTRIES = "run it on a copy of the memory with fewer entries, or with more RAM"
FEWER_AT_ONCE = "remove fewer entries at a time"


class Asked(NamedTuple):
    """Unit ``queries`` float32 (n, d), and the number k of nearest entries of each."""

    queries: NDArray[np.float32]
    k: int


class Found(NamedTuple):
    """The nearest entries of n queries, and the rows (n, k) that they had when found.

    ``head``, if any, fits a head to the entries that were searched, ``means`` one without a ridge
    to all entries.
    """

    neighbors: Neighbors
    rows: Rows
    head: Callable[[], Head] | None = None
    means: Callable[[], Head] | None = None


class RamCopy:
    """Key, id, label and vector of each voting entry, by row; ``pruned`` has no vectors.

    If ``originals`` are given, vectors are not kept but read from there. Row numbers change when
    entries are removed. While a large change is applied in parts, the rows ``hidden`` are those
    that it will have removed, or has added until then. ``prepare`` may run beside readers; all
    other changes need exclusive access.
    """

    def __init__(
        self,
        dimension: int,
        indexes: IndexFactory,
        originals: Originals | None = None,
        *,
        background: bool = False,
    ) -> None:
        self._indexes, self._originals = indexes, originals
        self._columns = columns = Columns()
        read = None if originals is None else lambda rows: originals(columns.keys[rows])
        self.vectors = self._indexes.new(dimension, background=background, read=read)
        self.revision, self.shown = 0, Shown()  # of the file whose rows these become, and are
        self.hidden: RowBits | None = None
        self._hidden_counts, self._pruning = Counter[str](), False
        self._forgotten_counts = Counter[str]()  # of pruned entries that go, but for their rows
        self.voting_count = 0  # of the entries that searches find; needs no lock
        self._ahead = list[NamedRows]()  # of the first changes that were prepared
        self.pruned = Columns()
        self.counted, self.answers = CountedRows(columns, self.vectors), Answers()

    def __len__(self) -> int:
        return self.vectors.count

    @property
    def label_counts(self) -> Counter[str]:
        """The number of voting entries of each label."""
        counts = self._columns.label_counts
        return counts - self._hidden_counts if self._hidden_counts else counts

    @property
    def pruned_counts(self) -> Counter[str]:
        """The number of pruned entries of each label."""
        counts = self.pruned.label_counts - self._forgotten_counts
        return counts + self._hidden_counts if self._pruning else counts

    def close(self) -> None:
        """Give back the memory of all vectors at once; nothing is asked afterwards."""
        self.vectors.close()

    def votes(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return a mask (n,) of the ``ids`` of entries that are in this copy and not pruned."""
        return self._columns.rows_of_ids(ids) >= 0

    def prepare(self, changes: Sequence[Change]) -> None:
        """Make room for ``changes``, to be applied after their commit, and look up what they name.

        Memory that removed entries left is given back, if it is much. If vectors are on disk, those
        removed and added are held until ``finish``. Raises TooLittleRam.
        """
        added = [each.added for each in changes if each.added]
        coming = sum(len(each.keys) for each in added), sum(size_of(each.ids) for each in added)
        keys = np.concatenate([no_keys(), *(each.pruned for each in changes)])
        silenced = self.rows_of_keys(keys)  # others are of entries that come
        size = self._columns.size(silenced) + (coming[1] if len(silenced) < len(keys) else 0)
        for columns, room in ((self._columns, coming), (self.pruned, (len(keys), size))):
            columns.compact()
            columns.reserve(*room)
        self.vectors.reserve(len(self) + coming[0])
        self._ahead = [*rows_ahead(changes, self._columns, self.pruned)]
        if self._originals is not None:
            rows = (
                self._ahead[0].removed
                if len(changes) == 1
                else self.rows_of_keys(
                    np.concatenate([no_keys(), *(each.removed for each in changes)])
                )
            )
            check_room(4 * self.vectors.dimension * len(rows), "Such a removal", FEWER_AT_ONCE)
            starts = range(0, len(rows), ROWS_AT_ONCE)
            parts = (rows[start : start + ROWS_AT_ONCE] for start in starts)
            going = ((self._columns.keys[part], self.vectors.gather(part)) for part in parts)
            self._originals.hold(chain(going, ((each.keys, each.vectors) for each in added)))

    def finish(self) -> None:
        """Hold nothing of the changes that were prepared, once all are applied or none will be."""
        self._ahead = []
        if self._originals is not None:
            self._originals.hold([])

    def apply(self, change: Change) -> Iterator[None]:
        """Apply a committed change; yield wherever searches may come between two parts of it.

        They find all of the new entries or none, if they leave out the rows that are ``hidden``.
        """
        self.revision = change.revision
        after = Shown(change.revision, change.digest)
        self.counted.heads.clear()
        self.answers.clear()
        rows = self._ahead.pop(0) if self._ahead else rows_of(change, self._columns, self.pruned)
        if change.added is not None:
            yield from self._add_in_parts(change.added, replaced=rows.removed)
        self.shown = after
        self._forgotten_counts = self.pruned.count_labels(rows.removed_pruned)
        if change.added is None:
            yield from self._remove_in_parts(rows.removed)
        yield from self._drop_pruned(rows.removed_pruned)
        self._relabel(rows)
        yield from self._remove_in_parts(rows.pruned, prune=True)

    def add(
        self,
        keys: Keys,
        ids: Texts,
        labels: Texts,
        vectors: NDArray[np.float32],
    ) -> None:
        """Add voting entries with ``vectors`` (b, d)."""
        self._add(VotingEntries(keys, ids, labels, vectors))
        self.voting_count = len(self)

    def add_coded(self, entries: CodedEntries) -> None:
        """Add voting entries whose vectors are on disk, to a copy that keeps no statistics."""
        self._columns.reserve(len(entries.ids), size_of(entries.ids))
        self._columns.append(entries.keys, entries.ids, entries.labels)
        self.vectors.append_codes(entries.codes)
        self.voting_count = len(self)

    def expect(self, rows: int) -> None:
        """Make room for the ids and labels of so many ``rows`` that will be added."""
        self._columns.expect(rows)

    def add_pruned(self, keys: Sequence[int] | Keys, ids: Texts, labels: Texts) -> None:
        """Add entries that do not vote."""
        self.pruned.reserve(len(ids), size_of(ids))
        self.pruned.append(keys, ids, labels)

    def labels_of(self, ids: Sequence[str]) -> NDArray[np.object_]:
        """Return the labels of the entries with these ``ids`` (n,), pruned or not, else None."""
        found = np.full(len(ids), None, dtype=object)
        for columns in (self._columns, self.pruned):
            rows = columns.rows_of_ids(ids)
            found[rows >= 0] = columns.labels(rows[rows >= 0])
        return found

    def own_head(
        self, ridge: float | None = None, *, invert: Callable[[Matrix], Matrix | None] = inverse
    ) -> Head:
        """Count all rows and fit a head, in a snapshot that no other thread uses.

        ``invert`` is as for ``fit``. Raises HeadTooLarge, RidgeTooSmall.
        """
        moment = ridge is not None
        check_size(len(self.label_counts), self.vectors.dimension, moment=moment)
        self.counted.keep(moment=moment)
        while not self.counted.go_on(ROWS_AT_ONCE):
            pass
        assert self.counted.statistics is not None
        return fit(self.counted.statistics, ridge, invert=invert)

    def has(self, keys: Keys, labels: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Return a mask (n,) of the entries that vote with this key, and so vector, and label."""
        rows = self._columns.rows_of_keys(keys)
        return (rows >= 0) & equal(self._columns.labels(rows), labels)

    def keys_of_rows(self) -> NDArray[np.int64]:
        """Return the key in the store of the entry in each row: int64 (m,)."""
        return self._columns.keys

    def listing(self) -> tuple[Keys, NDArray[np.int64], NDArray[np.object_]]:
        """Return copies of the keys, the hashes of the ids, and the labels of all rows."""
        return self._columns.listing()

    def hashes_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the hashes by which ``listing`` has these ``ids`` (n,)."""
        return self._columns.hashes_of(ids)

    def columns(self, rows: Rows | None = None) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Return copies of the ids and labels of ``rows``, in their shape, or of all."""
        rows = np.arange(len(self)) if rows is None else rows
        return self._columns.ids(rows), self._columns.labels(rows)

    def rows_of_ids(self, ids: Iterable[str]) -> Rows:
        """Return the rows of the ``ids`` that vote, ascending; other ids are ignored."""
        ids = [*ids]
        if not ids:
            return np.empty(0, dtype=np.intp)
        rows = self._columns.rows_of_ids(ids)
        rows = distinct(rows[rows >= 0])
        return rows if self.hidden is None else rows[~self.hidden.mask()[rows]]

    def rows_of_keys(self, keys: NDArray[np.int64]) -> Rows:
        """Return the rows of the entries with these ``keys`` in the store, in their order.

        Keys of other entries are ignored.
        """
        rows = self._columns.rows_of_keys(keys)
        return rows[rows >= 0]

    def labelled(self, comparison: Comparison) -> NDArray[np.bool_]:
        """Return a mask (m,) of the rows whose labels match a ``comparison``."""
        return self._columns.labelled(comparison)

    def find(self, asked: Sequence[Asked], candidates: Sequence[Rows]) -> list[Found]:
        """Find the nearest of the ``candidates`` of each query by exact distance, ties by id.

        There are candidates for each query of all that is ``asked``; for each k fewer are found if
        one of its queries has fewer.
        """
        vectors = np.concatenate([each.queries for each in asked])
        measured, sizes = self._measured(vectors, candidates), map(len, candidates)
        nearest = list[tuple[Rows, Distances]]()
        for queries, k in asked:
            width = min([k, *islice(sizes, len(queries))])
            nearest.append(self._nearest(width, measured, len(queries)))
        ids, labels = self.columns(np.concatenate([rows.ravel() for rows, _ in nearest]))
        found, end = list[Found](), 0
        for rows, distances in nearest:
            part, end = slice(end, end + rows.size), end + rows.size
            own = Neighbors(
                ids[part].reshape(rows.shape),
                labels[part].reshape(rows.shape),
                distances,
                shown=self.shown,
            )
            found.append(Found(own, rows))
        return found

    def _nearest(
        self, k: int, measured: Iterator[tuple[Rows, Distances]], count: int
    ) -> tuple[Rows, Distances]:
        """Return the nearest (n, k) of the next ``count`` candidates, and how far they are."""
        rows, distances = np.empty((count, k), dtype=np.intp), np.empty((count, k))
        for number, (among, exact) in enumerate(islice(measured, count)):
            order = exact_order(among, exact, self._columns.ids)[:k]
            rows[number], distances[number] = among[order], exact[order]
        return rows, distances

    def count_labels(self, rows: RowBits | None, left_out: Rows) -> Counter[str]:
        """Count the entries of each label in these ``rows``, or in all rows but ``left_out``."""
        if rows is not None:
            return self._columns.count_labels(rows.mask())
        return self.label_counts - self._columns.count_labels(left_out)

    def without(self, ids: Iterable[str] = ()) -> RamCopy:
        """Return a snapshot of the voting entries except ``ids``; pruned entries are not in it.

        It keeps its vectors in RAM. Raises TooLittleRam.
        """
        stays = np.ones(len(self), dtype=bool)
        stays[self.rows_of_ids(ids)] = False
        rows = np.flatnonzero(stays)
        if self._originals is not None:
            wanted = 5 * self.vectors.dimension * len(rows)  # with codes
            check_room(wanted, "Work on all entries", FEWER_ENTRIES)
        copy = RamCopy(self.vectors.dimension, self._indexes, background=True)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            keys, (ids, labels) = self._columns.keys[part], self.columns(part)
            vectors = self.vectors.gather(part)
            copy.add(keys, ids, labels, vectors)
        copy.revision = self.revision
        return copy

    def leave_one_out(self, queries: RamCopy, rows: Rows, k: int) -> Neighbors:
        """Find the ``k`` nearest other entries here for each of ``rows`` of the copy ``queries``.

        Either all the entries of these rows vote here, too, or none does.
        """
        vectors = queries.vectors.gather(rows)
        here = self._columns.rows_of_ids(queries._columns.ids(rows).tolist())
        own = [row[row >= 0] for row in here[:, np.newaxis]]
        k = min(k, len(self) - len(own[0]))
        if not k:
            nothing, none = np.empty((len(rows), 0), dtype=object), np.empty((len(rows), 0))
            return Neighbors(nothing, nothing, none, sizes=none.astype(np.int64))
        candidates = self.vectors.candidates(vectors, [k] * len(rows), own)
        found = self.find([Asked(vectors, k)], candidates)[0].neighbors
        sizes = sizes_of(found.labels, self.label_counts)
        for number, left_out in enumerate(own):
            for label in self._columns.labels(left_out):
                sizes[number] -= found.labels[number] == label
        return replace(found, sizes=sizes)

    def ranked(self, queries: NDArray[np.float32]) -> Rows:
        """Rank every row for each query (n, d), nearest first, ties by id: (n, m)."""
        return self.vectors.rank(queries, self._columns.ids)

    def at(self, query: NDArray[np.float32], rows: Rows) -> Neighbors:
        """Return the entries in ``rows`` (1, m), with their distances to one query (1, d)."""
        distances = self.vectors.distances(query, np.zeros_like(rows[0]), rows[0])[np.newaxis]
        return Neighbors(*self.columns(rows), distances)

    def nearest(self, queries: NDArray[np.float32], k: int) -> Neighbors:
        """Find the ``k`` voting entries nearest to each query (n, d)."""
        nobody = np.empty(0, dtype=np.intp)
        n = len(queries)
        candidates = self.vectors.candidates(queries, [min(k, len(self))] * n, [nobody] * n)
        found = self.find([Asked(queries, k)], candidates)[0].neighbors
        return replace(found, sizes=sizes_of(found.labels, self.label_counts))

    def nearest_others(
        self, rows: Rows, k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
        """Find the ``k`` other rows nearest to each row: numbers int32 (n, k) in no order.

        The second result is float32 (n,): a vector that scores below it is not among the nearest.
        The third, (n,), is True for the rows whose nearest were found, at least one: the others
        would need more exact distances than are computed at once. ``k`` is less than ``len(self)``.
        """
        lists, score_bounds, resolved, unresolved = self.vectors.nearest_others(rows, k)
        left = EXACT_PRODUCTS_AT_ONCE
        for numbers, candidates in unresolved:
            left -= candidates.size * self.vectors.dimension
            query = self.vectors.gather(rows[numbers[:1]])
            exact = self.vectors.distances(query, np.zeros_like(candidates), candidates)
            nearest = candidates[exact_order(candidates, exact, self._columns.ids)][: k + 1]
            for number in numbers:
                lists[number] = nearest[nearest != rows[number]][:k]
            resolved[numbers] = True
            if left <= 0:
                break
        return lists, score_bounds, resolved

    def _measured(
        self, queries: NDArray[np.float32], candidates: Sequence[Rows]
    ) -> Iterator[tuple[Rows, Distances]]:
        """Yield the ``candidates`` of each query with their exact distances to it."""
        counts = np.array([len(rows) for rows in candidates], dtype=np.intp)
        MEASURED_ROWS.add(int(counts.sum()))
        runs = np.flatnonzero(np.diff(np.cumsum(counts) // MEASURED_AT_ONCE)) + 1
        for first, end in pairwise([0, *runs.tolist(), len(counts)]):
            numbers = np.repeat(np.arange(first, end), counts[first:end])
            every = np.concatenate([np.empty(0, dtype=np.intp), *candidates[first:end]])
            exact, done = self.vectors.distances(queries, numbers, every), 0
            for rows in candidates[first:end]:
                start, done = done, done + len(rows)
                yield rows, exact[start:done]

    def _relabel(self, rows: NamedRows) -> None:
        self.counted.relabel(*rows.relabelled)
        self._columns.relabel(*rows.relabelled)
        self.pruned.relabel(*rows.relabelled_pruned)

    def _add_in_parts(self, entries: VotingEntries, replaced: Rows) -> Iterator[None]:
        """Add ``entries``, and remove the rows ``replaced``; yield between two parts.

        Until the last one all that came are hidden. Where entries are replaced, there is one part.
        """
        keys, ids, labels, vectors, codes = entries
        first, count, size = len(self), len(ids), self._part_size()
        for start in range(0, count, count if len(replaced) else size):
            part = slice(start, count if len(replaced) else start + size)
            if start:
                yield
            self.answers.clear()  # they are of as many rows as there were
            own = None if codes is None else codes[part]
            self._add(VotingEntries(keys[part], ids[part], labels[part], vectors[part], own))
            if len(self) < first + count:
                self._hide(np.arange(first, len(self)))
        self.hidden, self._hidden_counts = None, Counter()
        self._remove(replaced)
        self.voting_count = len(self)

    def _remove_in_parts(self, rows: Rows, *, prune: bool = False) -> Iterator[None]:
        """Remove ascending ``rows``, or prune them, the last ones first; yield between two parts.

        The rows that go later keep their numbers: of the last rows, which move to the places of
        those that go, none goes itself.
        """
        if self.counted.statistics is not None and self.counted.hold_up(len(rows)):
            self.counted.drop()
        size = self._part_size()
        self.voting_count = len(self) - len(rows)
        if len(rows) > size:
            self._hide(rows)
            self._pruning = prune
        while len(rows):
            left, part = rows[:-size], rows[-size:]
            if prune:
                ids, labels = self.columns(part)
                self.add_pruned(self._columns.keys[part], ids, labels)
            if self.hidden is not None:
                self._hidden_counts -= self._columns.count_labels(part)
                self.hidden = self.hidden.without(part).of_first(len(self) - len(part))
            self.answers.clear()  # they name rows by number
            self._remove(part)
            rows = left
            if len(rows):
                yield
        self.hidden, self._hidden_counts, self._pruning = None, Counter(), False

    def _drop_pruned(self, rows: Rows) -> Iterator[None]:
        """Remove ascending ``rows`` of pruned entries; yield between two parts."""
        while len(rows):
            part, rows = rows[-PART_ROWS:], rows[:-PART_ROWS]
            self._forgotten_counts -= self.pruned.count_labels(part)
            self.pruned.remove(part)
            if len(rows):
                yield

    def _part_size(self) -> int:
        size = min(PART_ROWS, max(1, PART_NUMBERS // self.vectors.dimension))
        statistics = self.counted.statistics
        return size if statistics is None else min(size, statistics.at_once)

    def _hide(self, rows: Rows) -> None:
        self.hidden = RowBits.of_rows(rows, len(self))
        self._hidden_counts = self._columns.count_labels(rows)

    def _add(self, entries: VotingEntries) -> None:
        start = len(self)
        self._columns.reserve(len(entries.ids), size_of(entries.ids))
        self._columns.append(entries.keys, entries.ids, entries.labels)
        self.vectors.append(entries.vectors, entries.codes)
        if self.counted.count == start:
            self.counted.go_on()

    def _remove(self, rows: Rows) -> None:
        if not len(rows):
            return
        self.counted.remove(rows)
        self.vectors.remove(rows)
        self._columns.remove(rows)


def sizes_of(labels: NDArray[np.object_], counts: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the count of each of ``labels`` (n, k): int64 (n, k)."""
    found = np.array([counts[label] for label in labels.ravel()], dtype=np.int64)
    return found.reshape(labels.shape)
