"""Evaluation: how often a memory is right on labelled pictures that it does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Unpack

from visual_memory import _html
from visual_memory.errors import InvalidArgument, refuse
from visual_memory.options import DecisionOptions
from visual_memory.sources import BATCH, Item, fault

if TYPE_CHECKING:
    from visual_memory._transport.imports import Progress
    from visual_memory.client import Memory
    from visual_memory.types import Decision

CONFUSIONS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts of pictures by (label, decided label), and in ``bad`` why pictures were left out.

    ``bad`` maps ids to reasons; ``wrong`` maps the ids of wrongly decided pictures to (label,
    decided label, confidence).
    """

    answers: Counter[tuple[str, str]]
    wrong: dict[str, tuple[str, str, float]]
    bad: dict[str, str]

    @property
    def pictures(self) -> int:
        """Count the classified pictures."""
        return self.answers.total()

    @property
    def correct(self) -> int:
        """Count the correctly classified pictures."""
        return sum(count for (label, decided), count in self.answers.items() if label == decided)

    @property
    def accuracy(self) -> float:
        """Return the share of correctly classified pictures."""
        return self.correct / self.pictures

    @property
    def macro_accuracy(self) -> float:
        """Return the mean of the labels' accuracies."""
        return fmean(hits / count for count, hits in self.by_label().values())

    def by_label(self) -> dict[str, tuple[int, int]]:
        """Map each label to (number of pictures, number classified correctly)."""
        totals = Counter[str]()
        for (label, _), count in self.answers.items():
            totals[label] += count
        return {label: (totals[label], self.answers[label, label]) for label in sorted(totals)}

    def confusions(self) -> list[tuple[str, str, int]]:
        """Return (label, decided label, count) of wrong decisions, the most common first."""
        wrong = [(*pair, count) for pair, count in self.answers.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda each: (-each[2], each))

    def _repr_html_(self) -> str:
        caption = f"{self.correct:,} of {self.pictures:,} right; most confused"
        rows = self.confusions()[:CONFUSIONS_SHOWN]
        return _html.table(("label", "decided", "pictures"), rows, caption)


def evaluate(
    memory: Memory,
    items: Iterable[Item],
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    **how: Unpack[DecisionOptions],
) -> Evaluation:
    """Classify labelled pictures, such as of ``sources.folder``, and count the right answers.

    ``how`` is as of ``classify``. The pictures should not be in the memory, which would find them;
    ``memory.assess`` is for its own. ``progress`` is called with the pictures done, as both
    numbers. Raises InvalidArgument if there are no pictures, and for one that cannot be used,
    naming its id, unless ``skip_bad``.
    """
    answers = Counter[tuple[str, str]]()
    wrong, bad = dict[str, tuple[str, str, float]](), dict[str, str]()
    how.setdefault("neighbors", 0)
    batch, done = list[Item](), 0

    def ask() -> None:
        nonlocal done
        done += len(batch)
        for item, decision in decide(memory, batch, bad, how, skip_bad=skip_bad):
            answers[item.label, decision.label] += 1
            if item.label != decision.label:
                wrong[item.id] = (item.label, decision.label, decision.confidence)
        batch.clear()
        if progress is not None:
            progress(done, done)

    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            ask()
    if batch:
        ask()
    if not answers:
        refuse("items", "have no picture that can be classified")
    return Evaluation(answers, wrong, bad)


def decide(
    memory: Memory, batch: list[Item], bad: dict[str, str], how: DecisionOptions, *, skip_bad: bool
) -> list[tuple[Item, Decision]]:
    """Classify a batch, without the items at fault, which go to ``bad``."""
    items = list(batch)
    while items:
        try:
            decisions = memory.classify([item.image for item in items], **how)
        except InvalidArgument as error:
            at, reason = fault(error)
            if at is None:
                raise
            item = items.pop(at)
            if not skip_bad:
                raise InvalidArgument(f"{item.id} {reason}", reason=error.reason) from None
            bad[item.id] = reason
        else:
            return list(zip(items, decisions, strict=True))
    return []
