"""Part a memory's entries in folds that no group crosses, and draw some to be tested."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
TESTED_MAX = 10_000
CHECKED_AFTER = 4096  # names or groups, a few milliseconds

Texts: TypeAlias = NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """All m entries in FOLDS parts, and t entries that are tested.

    ``folds`` (m,) are from 0 to FOLDS − 1. ``rows`` (t,) are the tested entries, in byte order of
    their ids, ``labels`` and ``groups`` (t,) numbers of theirs, from 0 on. ``sizes`` (L,) are the
    numbers of all entries of the L labels that are tested.
    """

    folds: NDArray[np.intp]
    rows: NDArray[np.intp]
    labels: NDArray[np.intp]
    groups: NDArray[np.intp]
    sizes: NDArray[np.intp]


def sample(
    ids: Texts,
    labels: Texts,
    group_of: Mapping[str, str],
    tested_max: int = TESTED_MAX,
    *,
    check: Callable[[], None] = lambda: None,
) -> Sample:
    """Part m entries in folds, and draw up to ``tested_max`` of them to be tested.

    ``group_of`` maps ids to groups, such as the scene that several pictures show: a group is not
    parted. An entry without one is a group of its own. A label in one fold alone is not tested, as
    it would be unknown whenever it is asked for. The result depends on the set of entries alone.
    ``check`` is called often, and may raise.
    """
    order = np.argsort(ids)
    groups = numbered(ids[order].tolist(), group_of, check)
    of_label, codes = np.unique(labels[order], return_inverse=True)
    folds = np.empty(len(ids), dtype=np.intp)
    folds[order] = parted(groups, codes, check)
    ranks = ranked([(False, label) for label in of_label.tolist()], check)
    tested = drawn(groups, folds[order], codes, ranks, tested_max)
    there, numbers = np.unique(codes[tested], return_inverse=True)
    return Sample(
        folds=folds,
        rows=order[tested],
        labels=numbers,
        groups=groups[tested],
        sizes=np.bincount(codes, minlength=len(of_label))[there],
    )


def numbered(
    ids: Sequence[str], group_of: Mapping[str, str], check: Callable[[], None]
) -> NDArray[np.intp]:
    """Return a number for the group of each of ``ids`` (m,), from 0 on, as if at random."""
    places: dict[tuple[bool, str], int] = {}
    of_entry = [
        places.setdefault((id not in group_of, group_of.get(id, id)), len(places)) for id in ids
    ]
    return ranked([*places], check)[np.array(of_entry, dtype=np.intp)]


def ranked(names: Sequence[tuple[bool, str]], check: Callable[[], None]) -> NDArray[np.intp]:
    """Return the places (n,) of different ``names`` in an order as if at random: by SHA-256.

    A name is a text, with True if it is the id of an entry without a group.
    """
    digests = []
    for start in range(0, len(names), CHECKED_AFTER):
        check()
        digests += [
            hashlib.sha256(f"{own} {name}".encode()).digest()
            for own, name in names[start : start + CHECKED_AFTER]
        ]
    ranks = np.empty(len(names), dtype=np.intp)
    ranks[np.argsort(np.array(digests, dtype="S32"))] = np.arange(len(names))
    return ranks


def parted(
    groups: NDArray[np.intp], codes: NDArray[np.intp], check: Callable[[], None]
) -> NDArray[np.intp]:
    """Return the fold of each entry (m,), given numbers of its group and label (m,).

    Group after group, the larger ones first, joins the fold that has fewest of its labels, of
    these the smallest.
    """
    sizes, count = np.bincount(groups), int(codes.max(initial=-1)) + 1
    pairs, members = np.unique(groups * count + codes, return_counts=True)
    ends = np.cumsum(np.bincount(pairs // count)).tolist()
    of_pair, together = (pairs % count).tolist(), members.tolist()
    loads, totals = [[0] * FOLDS for _ in range(count)], [0] * FOLDS
    fold_of = np.empty(len(sizes), dtype=np.intp)
    for done, group in enumerate(np.argsort(-sizes, kind="stable").tolist()):
        if done % CHECKED_AFTER == 0:
            check()
        own = range(ends[group - 1] if group else 0, ends[group])
        alike = loads[of_pair[own[0]]]
        if len(own) > 1:
            alike = [
                sum(loads[of_pair[at]][fold] * together[at] for at in own) for fold in range(FOLDS)
            ]
        *_, fold = min(zip(alike, totals, range(FOLDS), strict=True))
        fold_of[group] = fold
        for at in own:
            loads[of_pair[at]][fold] += together[at]
            totals[fold] += together[at]
    return fold_of[groups]


def drawn(
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    codes: NDArray[np.intp],
    ranks: NDArray[np.intp],
    tested_max: int,
) -> NDArray[np.intp]:
    """Return the rows of up to ``tested_max`` entries, of each label as many, if it has them.

    Of labels with entries in two folds or more, the first by their ``ranks``, at least 2 are drawn:
    one of each group, the lowest groups first, then a second of each, and so on. The rows ascend.
    """
    pairs = np.lexsort((groups, codes))
    begins = np.flatnonzero(np.diff(codes[pairs], prepend=-1) | np.diff(groups[pairs], prepend=-1))
    place = np.empty(len(pairs), dtype=np.intp)  # of an entry among those of its label and group
    sizes = np.diff(begins, append=len(pairs))
    place[pairs] = np.arange(len(pairs)) - np.repeat(begins, sizes)
    order = np.lexsort((groups, place, codes))
    starts = np.searchsorted(codes[order], np.arange(len(ranks) + 1))
    first, last = (end.reduceat(folds[order], starts[:-1]) for end in (np.minimum, np.maximum))
    several = np.flatnonzero(first < last)
    several = several[np.argsort(ranks[several])][: tested_max // 2]
    each, left = tested_max, tested_max
    lengths = np.sort(np.diff(starts)[several]).tolist()
    for behind, length in enumerate(lengths):
        each = left // (len(lengths) - behind)
        if length > each:
            break
        left -= length
    chosen = [order[starts[at] : starts[at + 1]][:each] for at in several.tolist()]
    return np.sort(np.concatenate([np.empty(0, dtype=np.intp), *chosen]))


def one_of_each(
    ids: Sequence[str], groups: NDArray[np.intp], check: Callable[[], None]
) -> NDArray[np.bool_]:
    """Return a mask (t,) of one of each of the ``groups`` (t,), drawn as if at random by its id."""
    order = np.lexsort((ranked([(True, id) for id in ids], check), groups))
    drawn = np.zeros(len(groups), dtype=bool)
    drawn[order[np.unique(groups[order], return_index=True)[1]]] = True
    return drawn
