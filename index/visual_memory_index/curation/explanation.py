"""Explain a decision: find the fewest entries without which the label would be another."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.votes.balance import balance_factors
from visual_memory_index.votes.voting import Voting, Weights, tally

CELLS_MAX = 1 << 23  # of a proof's table of entries and places they may have, with 16 bytes each
WEIGHED_AT_ONCE = 1 << 16  # cells, whose weights are computed in one call
STATES_MAX = 1 << 19  # of the search for a proof, with some 200 bytes each

Ranks: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Flip:
    """A set of entries whose removal gives a query another label.

    ``ranks`` are the entries' places in the full ranking, ascending from 0; ``label`` is the new
    label. If ``proven_minimal``, no smaller set flips the label, and no set of that size precedes
    this one in lexicographic order. If not, the proof took too much time or RAM, and the set may be
    larger than needed.
    """

    ranks: Ranks
    label: str
    proven_minimal: bool


def smallest_flip(
    labels: NDArray[np.object_],
    distances: NDArray[np.float64],
    k: int,
    voting: Voting,
    balance: float = 0.0,
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Flip | None:
    """Find the fewest entries, of any label, whose removal changes the label of one query.

    ``labels`` and ``distances`` (m,), m ≥ 1, are all entries, nearest first; after the removal the
    k nearest vote. Return None if all entries have one label. ``voting`` must weigh a neighbour by
    its distance and its rank alone, and never weigh a nearer one less. A proof takes at most
    ``seconds``, and some 250 MB of RAM. With a ``balance`` a removal changes the weights of all
    entries of its label, and only a set of one entry is proven.
    """
    ballot = _Ballot(labels, distances, min(k, len(labels)), voting, balance)
    if (labels == ballot.winner).all():
        return None
    deadline = clock() + seconds

    def check_time() -> None:
        if clock() > deadline:
            raise _Unproven

    try:
        if balance:
            ranks, proven = _single_flip(ballot, check_time), True
        else:
            ranks, proven = _first_of_smallest(ballot, check_time), True
    except _Unproven:
        ranks, proven = _nearest_flip(ballot), False
    return Flip(ranks, ballot.winner_without(ranks), proven)


class _Unproven(Exception):
    """The proof would take more time or RAM than allowed."""


class _Ballot:
    """A ranking of m entries, whose nearest ``k`` ≤ m vote, and the ``winner`` of the vote."""

    def __init__(
        self,
        labels: NDArray[np.object_],
        distances: NDArray[np.float64],
        k: int,
        voting: Voting,
        balance: float,
    ) -> None:
        self.labels, self.k = labels, k
        self._distances, self._voting = distances, voting
        self._balance, self._sizes = balance, Counter(labels.tolist()) if balance else Counter()
        self.winner = self.winner_without(())
        # A lead is a sum of at most k weights, and so are the two totals it stands for: each
        # addition rounds by 2⁻⁵³ of all weights, and no k entries weigh more than the nearest.
        self.doubt = 4.0 * (k + 2) * 2.0**-53 * float(voting(distances[:k]).sum())

    def winner_without(self, removed: Ranks) -> str:
        """Return the label that wins without the entries at these ranks."""
        enough = min(len(self.labels), self.k + 1 + max(removed, default=-1))
        kept = np.delete(np.arange(enough), removed)[: self.k]
        weights = self._voting(self._distances[kept])
        if self._balance:
            left = self._sizes - Counter(self.labels[list(removed)].tolist())
            sizes = np.array([left[label] for label in self.labels[kept]], dtype=np.int64)
            weights = weights * balance_factors(sizes, self._balance)
        return next(iter(tally(self.labels[kept], weights)))

    def extent(self, size: int) -> tuple[int, int]:
        """Return (``end``, ``voters``) for the removal of ``size`` entries.

        Only the ``end`` nearest entries can matter, either removed or as voters; ``voters`` of them
        are left to vote.
        """
        end = min(len(self.labels), self.k + size)
        return end, end - size

    def weights(self, start: int, end: int) -> Iterator[Weights]:
        """Yield the weights (k,) in the k places of each entry ranked ``start`` to ``end`` − 1."""
        step = max(1, WEIGHED_AT_ONCE // self.k)
        for first in range(start, end, step):
            distances = self._distances[first : min(first + step, end), np.newaxis]
            yield from self._voting(np.broadcast_to(distances, (len(distances), self.k)))


def _single_flip(ballot: _Ballot, check_time: Callable[[], None]) -> Ranks:
    """Return the rank of the nearest voter whose removal alone flips the label.

    Raises _Unproven if there is none.
    """
    for rank in range(ballot.k):
        check_time()
        if ballot.winner_without((rank,)) != ballot.winner:
            return (rank,)
    raise _Unproven


def _nearest_flip(ballot: _Ballot) -> Ranks:
    """Return the ranks of the winner's nearest entries, as many as flip the label if removed.

    Their number is found by bisection, and may not be the smallest.
    """
    own = np.flatnonzero(ballot.labels == ballot.winner).tolist()
    too_few, enough = 0, len(own)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if ballot.winner_without(tuple(own[:middle])) == ballot.winner:
            too_few = middle
        else:
            enough = middle
    return tuple(own[:enough])


def _first_of_smallest(ballot: _Ballot, check_time: Callable[[], None]) -> Ranks:
    """Return the lexicographically first of the smallest sets of ranks that flip the label.

    ``check_time`` is called often, and may raise.
    """
    for size, rivals in _possible_rivals(ballot, check_time):
        found = [_first_flip_to(ballot, size, rival, check_time) for rival in rivals]
        flips = [ranks for ranks in found if ranks is not None]
        if flips:
            return min(flips)
    raise AssertionError("without all of its entries a label cannot win")


def _possible_rivals(
    ballot: _Ballot, check_time: Callable[[], None]
) -> Iterator[tuple[int, list[str]]]:
    """Yield each number of removed entries, from 1 on, with the rivals that may win without them.

    A rival may win if its best lead over the winner is −doubt, the rounding error, or more. Each
    entry, nearest first, is removed, or takes the next of the k places and gets the weight of that
    place. So the best lead with p places taken follows from the best leads one entry before with p
    and with p − 1: k steps an entry and rival instead of all subsets, whichever labels are removed.
    Row 0 of ``leads`` stands for every label that was not met yet.
    """
    leads = np.full((1, ballot.k + 1), -np.inf)
    leads[0, 0] = 0.0
    row_of: dict[str, int] = {}
    scanned = 0
    for size in range(1, len(ballot.labels)):
        end, places = ballot.extent(size)
        if end * min(ballot.k, size + 1) > CELLS_MAX:
            raise _Unproven
        for label, weights in zip(
            ballot.labels[scanned:end], ballot.weights(scanned, end), strict=True
        ):
            check_time()
            if label != ballot.winner and label not in row_of:
                row_of[label] = len(leads)
                leads = np.concatenate([leads, leads[:1]])
                if leads.size > CELLS_MAX:
                    raise _Unproven
            kept = leads[:, :-1].copy()
            if label == ballot.winner:
                kept -= weights
            else:
                kept[row_of[label]] += weights
            np.maximum(leads[:, 1:], kept, out=leads[:, 1:])
        scanned = end
        hopeful = leads[:, places] >= -ballot.doubt
        yield size, [rival for rival, row in row_of.items() if hopeful[row]]


class _Walk(NamedTuple):
    """A state of the search in ``_first_flip_to``, which goes along the ranking.

    ``rank`` is that of the next entry, ``place`` the number of the next of the k votes. The rest
    are the weights summed so far for the rival and for the winner, in the order of ``tally``.
    """

    rank: int
    place: int
    of_rival: float
    of_winner: float

    def keep(self, voter: int, weight: float) -> _Walk:
        """Return the state after the next entry votes with this ``weight``.

        ``voter`` is 1 if it votes for the rival, −1 for the winner, and 0 for another label.
        """
        return _Walk(
            self.rank + 1,
            self.place + 1,
            self.of_rival + weight if voter > 0 else self.of_rival,
            self.of_winner + weight if voter < 0 else self.of_winner,
        )

    def remove(self) -> _Walk:
        """Return the state after the next entry is removed, so that it does not vote."""
        return self._replace(rank=self.rank + 1)


def _first_flip_to(
    ballot: _Ballot, size: int, rival: str, check_time: Callable[[], None]
) -> Ranks | None:
    """Return the lexicographically first ``size`` ranks without which ``rival`` wins, or None.

    A walk goes along the ranking, removes or keeps each entry, and ends if the rival's best lead is
    surely negative. Of walks that reach the same state only the first is continued. They may differ
    in the label that voted last, which decides a tie, but the rival never wins after a later walk
    alone: such a walk kept an entry of the winner behind all of the rival, where the first did not;
    the first walk with that entry kept and a nearer entry of the winner removed instead precedes
    both, and has the rival win.
    """
    end, places = ballot.extent(size)
    labels = ballot.labels[:end]
    voters = (labels == rival).astype(int) - (labels == ballot.winner).astype(int)
    weights = list(_possible_weights(ballot, size, check_time))
    reach = _best_gains(weights, voters, size, check_time)
    met = set[_Walk]()
    removed: list[int] = []  # by the last walk; the next one shares its first ranks
    walks = [_Walk(0, 0, 0.0, 0.0)]
    while walks:
        check_time()
        walk = walks.pop()
        del removed[walk.rank - walk.place :]
        at = walk.place - _first_place(walk.rank, size)
        lead = walk.of_rival - walk.of_winner
        if at < 0 or walk in met or lead + reach[walk.rank][at] < -ballot.doubt:
            continue
        if len(met) == STATES_MAX:
            raise _Unproven
        met.add(walk)
        if walk.rank == end:
            if ballot.winner_without(ranks := tuple(removed)) != ballot.winner:
                return ranks
            continue
        if walk.place < places:
            weight = float(weights[walk.rank][at])
            walks.append(walk.keep(int(voters[walk.rank]), weight))
        walks.append(walk.remove())
        removed.append(walk.rank)
    return None


def _first_place(rank: int, size: int) -> int:
    """Return the first place that an entry may have when ``size`` entries are removed."""
    return max(0, rank - size)


def _possible_weights(
    ballot: _Ballot, size: int, check_time: Callable[[], None]
) -> Iterator[Weights]:
    """Yield the weights of each entry in all places that it may have, in their order."""
    end, places = ballot.extent(size)
    for rank, weights in enumerate(ballot.weights(0, end)):
        check_time()
        yield weights[_first_place(rank, size) : min(rank + 1, places)].copy()


def _best_gains(
    weights: Sequence[Weights],
    voters: NDArray[np.int64],
    size: int,
    check_time: Callable[[], None],
) -> list[NDArray[np.float64]]:
    """Return the most that entries from each rank on can add to the lead.

    The entry of a rank has ``weights[rank]`` (n,) in the n places that it may have, and adds or
    subtracts them as ``voters[rank]`` says, in the way of ``_Walk.keep``. The result for the rank
    (n + 1,) is by the number of places taken before, from its first place on; it is −∞ if
    the remaining ranks do not fill all places.
    """
    best = np.zeros(1)
    reach = [best]
    for rank in reversed(range(len(weights))):
        check_time()
        n = len(weights[rank])
        shift = _first_place(rank + 1, size) - _first_place(rank, size)
        after = np.concatenate([np.full(shift, -np.inf), best])
        best = after[: n + 1].copy()
        np.maximum(best[:n], after[1 : n + 1] + voters[rank] * weights[rank], out=best[:n])
        reach.append(best)
    return reach[::-1]
