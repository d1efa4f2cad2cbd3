"""Responses: from the votes of a decision to one of the categories of a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from visual_memory_benchmarks.trials.datasets import NO_ANSWER


class Responder:
    """A rule that turns votes for labels into a category, by a map of each label to a category.

    A category's votes are the mean over its labels, so that many labels are no advantage; labels
    mapped to ``na`` do not count. Of categories with equal votes the first to get any wins; without
    any vote the answer is ``na``.
    """

    def __init__(self, category_of: Mapping[str, str]) -> None:
        self._category_of = category_of
        self._members = Counter(category_of.values())

    def respond(self, scores: Mapping[str, float]) -> str:
        """Return the category, or ``na``, for scores of labels, the winning label first."""
        totals: dict[str, float] = {}
        for label, score in scores.items():
            category = self._category_of[label]
            if category != NO_ANSWER and score > 0:
                totals[category] = totals.get(category, 0.0) + score / self._members[category]
        return max(totals, key=totals.__getitem__, default=NO_ANSWER)
