"""Choose the rule of decisions by folds of a memory's own entries."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.votes.rule import Rule
from visual_memory_index.votes.voting import Decision

FOLDS = 5
TESTED_MAX = 10_000
ROUNDING = 1e-9  # where one tested entry differs, the mean and its error are equal
SPREAD = 0.01  # of all probability, evenly over the labels, so that none has probability 0

Numbers: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = NDArray[np.object_]

CANDIDATES = (
    Rule(balance=1.0, head="means", blend=0.3),
    Rule(balance=1.0, head="discriminants", ridge=10.0),
    Rule(balance=1.0, head="discriminants", ridge=1.0),
    Rule(balance=1.0),
    Rule(balance=0.5),
    Rule(),
)
"""The rules to choose from, the preferred ones first.

They are few because choosing costs: among 12 the chosen rule was worse on average than among these
(decision 0033). None centres the vectors, as the heads do so by themselves.
"""


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


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tested entries, and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class MeasuredRule:
    """A rule as measured; ``behind`` is the lead of the best rule by the measure that chooses."""

    rule: Rule
    accuracy: Estimate
    macro_accuracy: Estimate
    log_loss: Estimate
    behind: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The decisions by one rule about t tested entries.

    ``right`` (t,) is 1 where the decided label is the entry's, else 0. ``log_loss`` (t,) is −log p
    with p the share of the entry's label in all scores, of which SPREAD is spread over all labels.
    """

    right: Numbers
    log_loss: Numbers


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


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over all entries or over labels; lower is better if ``is_loss``."""

    by_label: bool
    is_loss: bool

    def of(self, outcomes: Outcomes) -> Numbers:
        """Return the measured value of each tested entry (t,)."""
        return outcomes.log_loss if self.is_loss else outcomes.right


MEASURES = MappingProxyType(
    {
        "macro_accuracy": Measure(by_label=True, is_loss=False),
        "accuracy": Measure(by_label=False, is_loss=False),
        "log_loss": Measure(by_label=False, is_loss=True),
    }
)


def judged(decisions: Sequence[Decision], labels: Sequence[str], count: int) -> Outcomes:
    """Return the outcomes of n ``decisions`` about entries with these ``labels``.

    ``count`` is the number of all labels, over which SPREAD is spread.
    """
    right = [decision.label == label for decision, label in zip(decisions, labels, strict=True)]
    shares = [
        decision.scores.get(label, 0.0) / math.fsum(decision.scores.values())
        for decision, label in zip(decisions, labels, strict=True)
    ]
    probabilities = (1.0 - SPREAD) * np.array(shares) + SPREAD / count
    return Outcomes(np.array(right, dtype=np.float64), -np.log(probabilities))


def choose(
    sample: Sample, outcomes: Mapping[Rule, Outcomes], measure: str
) -> tuple[int, list[MeasuredRule]]:
    """Return the place of the rule to decide by, and how each of the rules fared, in their order.

    The best rule by one of MEASURES is not always chosen: an earlier one that is behind it by no
    more than one standard error of the difference is preferred, the first of all (Breiman et al.,
    1984, Classification and regression trees, section 3.4.3).
    """
    chosen_by = MEASURES[measure]
    sign = -1.0 if chosen_by.is_loss else 1.0
    values = {rule: sign * chosen_by.of(each) for rule, each in outcomes.items()}
    means = {rule: estimate(each, sample, chosen_by).mean for rule, each in values.items()}
    best = max(means, key=means.__getitem__)
    candidates = [
        MeasuredRule(
            rule,
            **{name: estimate(one.of(each), sample, one) for name, one in MEASURES.items()},
            behind=estimate(values[best] - values[rule], sample, chosen_by),
        )
        for rule, each in outcomes.items()
    ]
    near = (
        at
        for at, each in enumerate(candidates)
        if each.behind.mean <= each.behind.error + ROUNDING * (1.0 + abs(means[best]))
    )
    return next(near), candidates


def estimate(values: Numbers, sample: Sample, measure: Measure) -> Estimate:
    """Return the mean of ``values`` (t,) of the tested entries, with its standard error.

    Each tested entry stands for as many entries of its label as there are, or if ``by_label`` each
    label counts alike. Entries vary around the mean of their label, those of a group together;
    each label has two groups or more.
    """
    tested = np.bincount(sample.labels)
    shares = np.ones(len(tested)) if measure.by_label else sample.sizes.astype(np.float64)
    shares /= shares.sum()
    means = np.bincount(sample.labels, values) / tested
    of_groups = np.unique(np.stack([sample.labels, sample.groups]), axis=1)
    groups = np.bincount(of_groups[0])
    spread = np.sqrt(groups / (groups - 1)) * shares / tested
    around = spread[sample.labels] * (values - means[sample.labels])
    _, of_entry = np.unique(sample.groups, return_inverse=True)
    error = math.sqrt(math.fsum(np.bincount(of_entry, around) ** 2))
    return Estimate(math.fsum(shares * means), error)
