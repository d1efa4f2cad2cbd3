"""The pruning methods, with their parameters, and the rows that each selects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation import pruning
from visual_memory_index.curation.pruning import Rows, Values, Vectors
from visual_memory_index.errors import NotVoting
from visual_memory_index.records.operation import Progress
from visual_memory_index.votes.voting import Counts


@dataclass(frozen=True, slots=True, eq=False)
class Voters:
    """The m voting entries at one moment, by row, as pruning methods see them.

    ``ids`` and ``labels`` are objects (m,). Costly values are computed on demand: the unit
    ``vectors`` (m, d), the ``counts`` v and c for k neighbours, the ``values`` for k neighbours.
    Each of these functions and ``on_progress`` may raise.
    """

    ids: NDArray[np.object_]
    labels: NDArray[np.object_]
    vectors: Callable[[], Vectors]
    counts: Callable[[int], tuple[Counts, Counts]]
    values: Callable[[int], Values]
    on_progress: Progress


@dataclass(frozen=True, slots=True)
class Hard:
    """Prunes entries with a misleading count for ``k`` of at least ``threshold``.

    If ``minus_correct``, the count of equal labels is subtracted first.
    """

    k: int
    threshold: int
    minus_correct: bool

    def rows(self, voters: Voters) -> Rows:
        """Return the rows that misled the votes of others at least ``threshold`` times, to prune.

        Raises BadParameter if a parameter of the method is out of range.
        """
        v, c = voters.counts(self.k)
        return pruning.prune_misleading(v, c, threshold=self.threshold, net=self.minus_correct)


@dataclass(frozen=True, slots=True)
class Random:
    """Prunes a random share of all entries, the same for equal ids and seed."""

    fraction: float
    seed: int

    def rows(self, voters: Voters) -> Rows:
        """Return the rows to prune, chosen by keyed hashes of their ids.

        Raises BadParameter if a parameter of the method is out of range.
        """
        count = pruning.portion(self.fraction, len(voters.ids))
        return pruning.prune_random(voters.ids, count=count, seed=self.seed)


@dataclass(frozen=True, slots=True)
class Prototype:
    """Prunes all but the easiest or hardest entries: the nearest to, or furthest from, a prototype.

    There are ``clusters`` prototypes; if 0, an entry's prototype is the mean direction of its
    label.
    """

    fraction: float
    clusters: int
    keep: str
    balance: float
    seed: int

    def rows(self, voters: Voters) -> Rows:
        """Return the rows to prune, chosen by the distance to their prototype.

        Raises BadParameter if a parameter of the method is out of range.
        """
        ids, vectors = voters.ids, voters.vectors()
        _, codes = np.unique(voters.labels, return_inverse=True)
        difficulties = (
            pruning.prototype_difficulties(
                vectors,
                ids,
                clusters=self.clusters,
                seed=self.seed,
                on_progress=voters.on_progress,
            )
            if self.clusters
            else pruning.class_difficulties(vectors, ids, codes)
        )
        kept = len(ids) - pruning.portion(self.fraction, len(ids))
        return pruning.prune_by_difficulty(
            difficulties, ids, codes, kept=kept, keep=self.keep, balance=self.balance
        )


@dataclass(frozen=True, slots=True)
class Value:
    """Prunes the entries of the lowest KNN-Shapley values for ``k`` neighbours."""

    fraction: float
    k: int

    def rows(self, voters: Voters) -> Rows:
        """Return the rows to prune, those of the lowest values.

        Raises BadParameter if a parameter of the method is out of range.
        """
        count = pruning.portion(self.fraction, len(voters.ids))
        return pruning.prune_worthless(voters.values(self.k), voters.ids, count=count)


@dataclass(frozen=True, slots=True)
class Ids:
    """Prunes the entries with these ids."""

    ids: Sequence[str]

    def rows(self, voters: Voters) -> Rows:
        """Return the rows of these ids, ascending.

        Raises NotVoting if an id is not among the voters.
        """
        row_of = {id: row for row, id in enumerate(voters.ids)}
        if unknown := [id for id in self.ids if id not in row_of]:
            raise NotVoting(unknown)
        return np.unique(np.array([row_of[id] for id in self.ids], np.intp))


Method: TypeAlias = Hard | Random | Prototype | Value | Ids
