"""Choose the rule of decisions by its outcomes on a memory's own entries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.curation.folds import Sample
from visual_memory_index.votes.rule import Rule
from visual_memory_index.votes.voting import Decision

ROUNDING = 1e-9  # where one tested entry differs, the mean and its error are equal
SPREAD = 0.01  # of all probability, evenly over the labels, so that none has probability 0

Numbers: TypeAlias = NDArray[np.float64]

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
    with p the share of the entry's label in all scores, of which SPREAD is spread over the labels
    that it was compared with.
    """

    right: Numbers
    log_loss: Numbers


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

    ``count`` is the number of labels that they were compared with, over which SPREAD is spread.
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
    most = max(means.values())
    slack = ROUNDING * (1.0 + abs(most))
    best = next(rule for rule, mean in means.items() if mean >= most - slack)

    def behind(rule: Rule) -> Estimate:
        found = estimate(values[best] - values[rule], sample, chosen_by)
        return replace(found, mean=0.0) if abs(found.mean) <= slack else found

    candidates = [
        MeasuredRule(
            rule,
            **{name: estimate(one.of(each), sample, one) for name, one in MEASURES.items()},
            behind=behind(rule),
        )
        for rule, each in outcomes.items()
    ]
    near = (
        at for at, each in enumerate(candidates) if each.behind.mean <= each.behind.error + slack
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
