"""Tuning of a memory: the rule by which it decides best about its own entries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

import numpy as np

import visual_memory_index as index
from visual_memory_index.curation import folds, tuning
from visual_memory_index.errors import HeadTooLarge
from visual_memory_index.heads.head import Head, check_size
from visual_memory_index.heads.products import rounded_inverse
from visual_memory_index.memory import default_rules
from visual_memory_index.memory.default_rules import DefaultRule
from visual_memory_service.decisions.classify import check_voting
from visual_memory_service.decisions.groups import (
    check_key,
    check_labels,
    entries_by,
    ungrouped_count,
)
from visual_memory_service.runtime.batches import ASKED_AT_ONCE
from visual_memory_service.runtime.operations import Job
from visual_memory_service.runtime.served_memory import ServedMemory


@dataclass(frozen=True, slots=True)
class TuneResult:
    """Result of a tuning, as TuneResult in operation.proto; ``chosen`` is one of ``rules``."""

    measure: str
    count: int
    rules: list[tuning.MeasuredRule]
    chosen: int
    applied: bool
    label_count: int
    asked_label_count: int
    group_count: int
    ungrouped_count: int | None


def default_rule_of(served: ServedMemory) -> DefaultRule | None:
    """Return the rule that a tuning set for a memory, or None."""
    found = served.setting(default_rules.SETTING, default_rules.from_json)
    return found[0] if found else None


def default_rule(served: ServedMemory) -> index.Rule:
    """Return the rule of which calls to a memory take what they do not set."""
    found = default_rule_of(served)
    return index.Rule() if found is None else found.rule


def check_tuning(key: str, memory: index.Memory) -> None:
    """Check that a memory can be tuned, before an operation is made.

    Raises EmptyMemory, TooFewItems, and as ``check_key``.
    """
    check_voting(memory)
    check_key(key, memory)
    check_labels(sum(count > 1 for count in memory.label_counts().values()))


def tune_memory(job: Job, *, measure: str, group_by: str, apply: bool) -> str | None:
    """Choose among the rules in ``tuning.CANDIDATES``, by folds of the voting entries.

    Entries with equal values of the metadata key ``group_by``, if it is not empty, are never in two
    folds. With ``apply`` the rule becomes the default as the operation ends, and None is returned,
    else the result as JSON. Raises TooFewItems, Cancelled.
    """
    snapshot, group_of = entries_by(group_by, job.memory)
    sample = folds.sample(*snapshot.columns(), group_of or {}, check=job.check)
    check_labels(len(sample.sizes))
    chosen, measured = tuning.choose(sample, outcomes(snapshot, sample, job), measure)
    found = TuneResult(
        measure=measure,
        count=len(sample.rows),
        rules=measured,
        chosen=chosen,
        applied=apply,
        label_count=len(snapshot.label_counts),
        asked_label_count=len(sample.sizes),
        group_count=len(np.unique(sample.groups)),
        ungrouped_count=ungrouped_count(snapshot, group_of),
    )
    text = json.dumps(asdict(found))
    if not apply:
        return text
    job.memory.operations.tune(
        measured[chosen].rule, operation=job.name, result=text, revision=snapshot.revision
    )
    return None


def outcomes(
    snapshot: index.RamCopy, sample: folds.Sample, job: Job
) -> dict[index.Rule, tuning.Outcomes]:
    """Return the outcomes on a ``sample`` by each candidate, none of which knew the fold asked.

    Rules with a head that this memory is too large for are left out. Raises Cancelled.
    """
    ids, labels = snapshot.columns()
    found = {rule: tuning.Outcomes(*np.empty((2, len(sample.rows)))) for rule in fitting(snapshot)}
    done = 0
    for fold in range(folds.FOLDS):
        asked = np.flatnonzero(sample.folds[sample.rows] == fold)
        if not len(asked):
            continue
        training = snapshot.without(ids[sample.folds == fold])
        heads = fitted(training, found)
        for start in range(0, len(asked), ASKED_AT_ONCE):
            part = asked[start : start + ASKED_AT_ONCE]
            vectors = snapshot.vectors.gather(sample.rows[part])
            wanted = labels[sample.rows[part]].tolist()
            near = {k: training.nearest(vectors, k) for k in {rule.k for rule in found}}
            scores = {kind: head.compare(vectors) for kind, head in heads.items()}
            for rule, each in found.items():
                head = scores.get((rule.head, rule.fitted_ridge))
                decisions = rule.decide(replace(near[rule.k], head=head))
                judged = tuning.judged(decisions, wanted, len(training.label_counts))
                each.right[part], each.log_loss[part] = judged.right, judged.log_loss
            done += len(part)
            job.report_progress(done, len(sample.rows))
    return found


def fitting(snapshot: index.RamCopy) -> Iterator[index.Rule]:
    """Yield the candidates but those with a head that the memory is too large for."""
    for rule in tuning.CANDIDATES:
        with suppress(HeadTooLarge):
            if rule.has_head:
                moment = rule.fitted_ridge is not None
                check_size(len(snapshot.label_counts), snapshot.vectors.dimension, moment=moment)
            yield rule


def fitted(
    training: index.RamCopy, rules: Iterable[index.Rule]
) -> dict[tuple[str, float | None], Head]:
    """Return the heads of ``rules`` by kind and ridge; one with a ridge first, for its moment."""
    kinds = {(rule.head, rule.fitted_ridge) for rule in rules if rule.has_head}
    return {
        (head, ridge): training.own_head(ridge, invert=rounded_inverse)
        for head, ridge in sorted(kinds, key=lambda kind: kind[1] is None)
    }
