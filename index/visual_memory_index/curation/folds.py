"""Part a memory's entries in folds that no group crosses, and draw some to be tested."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
TESTED_MAX = 10_000

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
    ids: Texts, labels: Texts, group_of: Mapping[str, str], tested_max: int = TESTED_MAX
) -> Sample:
    """Part m entries in folds, and draw up to ``tested_max`` of them to be tested.

    ``group_of`` maps ids to groups, such as the scene that several pictures show: a group is not
    parted. An entry without one is a group of its own. A label in one fold alone is not tested, as
    it would be unknown whenever it is asked for. The result depends on the set of entries alone.
    """
    order = np.argsort(ids)
    names = [(id not in group_of, group_of.get(id, id)) for id in ids[order]]
    ranked = sorted(set(names), key=lambda name: (hashed(*name), name))
    number = {name: at for at, name in enumerate(ranked)}
    groups = np.array([number[name] for name in names], dtype=np.intp)
    of_label, codes = np.unique(labels[order], return_inverse=True)
    folds = np.empty(len(ids), dtype=np.intp)
    folds[order] = parted(groups, codes)
    tested = drawn(
        groups, folds[order], codes, [hashed(False, label) for label in of_label], tested_max
    )
    there, numbers = np.unique(codes[tested], return_inverse=True)
    return Sample(
        folds=folds,
        rows=order[tested],
        labels=numbers,
        groups=groups[tested],
        sizes=np.bincount(codes, minlength=len(of_label))[there],
    )


def hashed(own: bool, name: str) -> bytes:
    """Return bytes by which groups and labels are ordered as if at random."""
    return hashlib.sha256(f"{own} {name}".encode()).digest()


def parted(groups: NDArray[np.intp], codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the fold of each entry (m,), given numbers of its group and label (m,).

    Group after group, the larger ones first, joins the fold that has fewest of its labels, of
    these the smallest.
    """
    members: dict[int, Counter[int]] = defaultdict(Counter)
    for group, code in zip(groups.tolist(), codes.tolist(), strict=True):
        members[group][code] += 1
    loads, totals = [Counter[int]() for _ in range(FOLDS)], [0] * FOLDS
    fold_of = np.empty(len(members), dtype=np.intp)
    for group in sorted(members, key=lambda group: (-members[group].total(), group)):
        own = members[group]
        alike = [sum(load[code] * count for code, count in own.items()) for load in loads]
        fold = min(range(FOLDS), key=lambda at: (alike[at], totals[at]))
        fold_of[group] = fold
        loads[fold].update(own)
        totals[fold] += own.total()
    return fold_of[groups]


def drawn(
    groups: NDArray[np.intp],
    folds: NDArray[np.intp],
    codes: NDArray[np.intp],
    ranks: Sequence[bytes],
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
    starts = np.searchsorted(codes[order], np.arange(len(ranks) + 1)).tolist()
    of_label = [order[start:end] for start, end in pairwise(starts)]
    several = [at for at, rows in enumerate(of_label) if len(set(folds[rows].tolist())) > 1]
    several = sorted(several, key=ranks.__getitem__)[: tested_max // 2]
    each, left = tested_max, tested_max
    lengths = sorted(len(of_label[at]) for at in several)
    for behind, length in enumerate(lengths):
        each = left // (len(lengths) - behind)
        if length > each:
            break
        left -= length
    chosen = [of_label[at][:each] for at in several]
    return np.sort(np.concatenate([np.empty(0, dtype=np.intp), *chosen]))
