"""Queries that a memory does not know, with all that decides about them, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory_index.curation import folds
from visual_memory_index.heads.head import Head
from visual_memory_index.heads.products import inverse, rounded_inverse
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_service.decisions.groups import check_groups, check_labels
from visual_memory_service.runtime.batches import leave_one_out_in_batches, nearest_in_batches
from visual_memory_service.runtime.operations import Job

Compare = Callable[[Head], HeadScores]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Some of the queries: their ``rows`` among all, their ``vectors`` and nearest entries.

    ``groups`` are numbers of their groups, of each of which one query is ``drawn``, True (b,), and
    one of each label in it is ``drawn_by_label``; a query that has no group is alone in one.
    ``neighbors`` have the scores of the head of a rule, or of class means if it has none; ``means``
    are those by class means.
    """

    rows: NDArray[np.intp]
    groups: NDArray[np.intp]
    drawn: NDArray[np.bool_]
    drawn_by_label: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    neighbors: index.Neighbors
    means: HeadScores


class RuleHeads:
    """The head of a ``rule``, and class means, of all entries of a copy."""

    def __init__(
        self,
        entries: index.RamCopy,
        rule: index.Rule,
        invert: Callable[[NDArray[np.float64]], NDArray[np.float64] | None] = inverse,
    ) -> None:
        ridge = rule.fitted_ridge  # first, as its statistics are those of means, too
        self._head = None if ridge is None else entries.own_head(ridge, invert=invert)
        self._means = entries.own_head()

    def answer(
        self,
        rows: NDArray[np.intp],
        vectors: NDArray[np.float32],
        near: index.Neighbors,
        compare: Compare,
    ) -> HeldOut:
        """Return queries, each of which is alone in its group, with their ``near`` entries."""
        means = compare(self._means)
        head = means if self._head is None else compare(self._head)
        every = np.ones(len(rows), dtype=bool)
        return HeldOut(rows, rows, every, every, vectors, replace(near, head=head), means)


def ask(
    snapshot: index.RamCopy, rule: index.Rule, queries: NDArray[np.float32], job: Job
) -> Iterator[HeldOut]:
    """Ask unit ``queries`` (n, d), which are no entries. Raises HeadTooLarge, RidgeTooSmall."""
    heads = RuleHeads(snapshot, rule)
    for rows, near in nearest_in_batches(snapshot, queries, rule.k, job.report_progress):
        asked = queries[rows]
        yield heads.answer(rows, asked, near, partial(Head.compare, vectors=asked))


def leave_one_out(snapshot: index.RamCopy, rule: index.Rule, job: Job) -> Iterator[HeldOut]:
    """Ask each entry of all others. Raises HeadTooLarge, RidgeTooSmall."""
    heads, labels = RuleHeads(snapshot, rule), snapshot.columns()[1]
    for rows, near in leave_one_out_in_batches(snapshot, snapshot, rule.k, job.report_progress):
        asked, own = snapshot.vectors.gather(rows), labels[rows].tolist()
        compare = partial(Head.compare_without, queries=asked, labels=own, vectors=asked)
        yield heads.answer(rows, asked, near, compare)


def leave_groups_out(
    snapshot: index.RamCopy, rule: index.Rule, group_of: Mapping[str, str], job: Job
) -> Iterator[HeldOut]:
    """Ask each entry of four fifths of the others, among them none of its group.

    ``group_of`` maps ids to groups; an entry without one is a group of its own. Entries of a label
    in one fold alone are not asked, as it would be unknown. Raises TooFewItems if too few labels or
    groups are left, HeadTooLarge, RidgeTooSmall.
    """
    ids, labels = snapshot.columns()
    sample = folds.sample(ids, labels, group_of, tested_max=len(ids), check=job.check)
    check_labels(len(sample.sizes))
    asked_ids = ids[sample.rows].tolist()
    of_labels = sample.groups * len(sample.sizes) + sample.labels
    drawn = folds.one_of_each(asked_ids, sample.groups, job.check)
    drawn_by_label = folds.one_of_each(asked_ids, of_labels, job.check)
    check_groups(int(drawn.sum()))
    done = 0

    def report(asked: int, _: int) -> None:
        job.report_progress(done + asked, len(sample.rows))

    for fold in range(folds.FOLDS):
        here = sample.folds[sample.rows] == fold
        mine, groups = sample.rows[here], sample.groups[here]
        chosen, by_label = drawn[here], drawn_by_label[here]
        if not len(mine):
            continue
        others = snapshot.without(ids[sample.folds == fold])
        heads = RuleHeads(others, rule, rounded_inverse)
        vectors = snapshot.vectors.gather(mine)
        for rows, near in nearest_in_batches(others, vectors, rule.k, report):
            asked = vectors[rows]
            compare = partial(Head.compare, vectors=asked)
            answered = heads.answer(mine[rows], asked, near, compare)
            yield replace(
                answered,
                groups=groups[rows],
                drawn=chosen[rows],
                drawn_by_label=by_label[rows],
            )
        done += len(mine)
