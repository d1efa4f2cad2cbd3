"""A nearest-neighbour query by vectors, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.filter import Filter


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Unit vectors float32 (n, d), and the number k of nearest entries to find for each vector.

    Only entries that match ``filter`` and are not in ``exclude_ids`` are found. If ``counts_k`` is
    given, the result has the neighbours' misleading counts for that K; with ``sizes``, it has the
    sizes of their labels; with ``head``, the scores by a head with this ``ridge``, see ``fit``;
    with ``means``, the comparison with the class means of all entries, whatever the filter.
    """

    vectors: NDArray[np.float32]
    k: int
    filter: Filter | None = None
    exclude_ids: Sequence[str] = ()
    counts_k: int | None = None
    sizes: bool = False
    head: bool = False
    ridge: float | None = None
    means: bool = False

    @property
    def is_plain(self) -> bool:
        """True if the nearest entries are asked for, and nothing else of the entries."""
        wanted = self.counts_k is not None, self.sizes, self.head, self.means
        return self.filter is None and not any(wanted)

    @property
    def all_have_head(self) -> bool:
        """True if the head is fitted to all entries."""
        return self.head and self.filter is None and not self.exclude_ids


@dataclass(frozen=True, slots=True, eq=False)
class HeadScores:
    """The ``scores`` float64 (n, L) of n queries by a head, for L ``labels`` in byte order.

    ``distances`` (n, L) are those to the class means in the metric of the head. ``counts`` are the
    numbers of entries that the head was fitted to: (L,), or (n, L) where each query has a head of
    its own. A label without an entry scores −∞ and is at ∞.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.float64]
    scores: NDArray[np.float64]
    distances: NDArray[np.float64]

    def row(self, at: int) -> HeadScores:
        """Return those of the query ``at`` alone."""
        part = slice(at, at + 1)
        counts = self.counts[part] if self.counts.ndim > 1 else self.counts
        return HeadScores(self.labels, counts, self.scores[part], self.distances[part])


class Shown(NamedTuple):
    """The revision and the digest of the entries that searches find."""

    revision: int = 0
    digest: str = ""


NOT_OF_A_MEMORY = Shown()


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """The nearest entries of n queries, ascending by distance, equal distances by id in byte order.

    ``ids`` and ``labels`` are objects (n, k), ``distances`` float64 (n, k) in [0, 2]. ``v`` int64
    (n, k) are their misleading counts, and ``sizes`` int64 (n, k) the numbers of entries that have
    their labels, among all entries that the query admits; ``score`` returns the scores of a head
    fitted to these entries, and ``head`` are these scores; ``means`` returns the scores by the
    class means of all entries at the same moment. Each is there only if it was asked for. All is of
    the entries that were ``shown`` to a search of a memory.
    """

    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    distances: NDArray[np.float64]
    v: NDArray[np.int64] | None = None
    sizes: NDArray[np.int64] | None = None
    score: Callable[[], HeadScores] | None = None
    head: HeadScores | None = None
    means: Callable[[], HeadScores] | None = None
    shown: Shown = NOT_OF_A_MEMORY

    def kept(self, mask: NDArray[np.bool_]) -> Neighbors:
        """Return the ids, labels and distances of the columns where ``mask`` (k,) is True."""
        return Neighbors(self.ids[:, mask], self.labels[:, mask], self.distances[:, mask])

    @classmethod
    def joined(cls, parts: Sequence[Neighbors]) -> Neighbors:
        """Return those of the queries of all ``parts``, of which none has scores.

        Parts may be of different states of a memory. Then they differ in k where entries were
        deleted meanwhile, and the least counts; what was ``shown`` has no name.
        """
        if len(parts) == 1:
            return parts[0]
        k = min(each.ids.shape[1] for each in parts)
        shown = {each.shown for each in parts}

        def column(name: str) -> Any:
            values = [getattr(each, name) for each in parts]
            return None if values[0] is None else np.concatenate([each[:, :k] for each in values])

        ids, labels, distances, v, sizes = map(column, ("ids", "labels", "distances", "v", "sizes"))
        one = shown.pop() if len(shown) == 1 else NOT_OF_A_MEMORY
        return cls(ids, labels, distances, v, sizes, shown=one)

    def scored(self) -> Neighbors:
        """Return these neighbours with the scores of the head, which may take long to fit.

        Raises HeadTooLarge, RidgeTooSmall.
        """
        return self if self.score is None else replace(self, head=self.score(), score=None)
