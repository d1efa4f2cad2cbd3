"""The summary of one dataset's trials: people, and models compared with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.errors import MissingConditions
from visual_memory_benchmarks.metrics import consistency
from visual_memory_benchmarks.metrics.accuracy import accuracy
from visual_memory_benchmarks.metrics.bootstrap import Resampling, estimate, number
from visual_memory_benchmarks.metrics.confusion import confusion, response_entropy
from visual_memory_benchmarks.metrics.consistency import ERROR, MEASURES, OBSERVED
from visual_memory_benchmarks.metrics.difficulty import difficulty
from visual_memory_benchmarks.trials.datasets import Dataset
from visual_memory_benchmarks.trials.panel import Panel, panels
from visual_memory_benchmarks.trials.trials import Trials, makers

Json: TypeAlias = dict[str, Any]
Draws: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores on one dataset, a column for each row of bootstrap weights.

    ``accuracy`` is (rows,); ``measures``, the mean MEASURES of pairs with people, is (4, rows).
    """

    accuracy: Draws
    measures: Draws


@dataclass(frozen=True, slots=True, eq=False)
class DatasetSummary:
    """The summary of one dataset as JSON, and the scores of people, of models and of their pairs.

    ``models`` and ``pairs`` are by name; ``people`` is None without people. A pair has the MEASURES
    of two models: (4, rows of weights).
    """

    people: Scores | None
    models: Mapping[str, Scores]
    pairs: Mapping[Pair, Draws]
    json: Json


def summarise_dataset(trials: Trials, resampling: Resampling) -> DatasetSummary:
    """Summarise the trials of one dataset. Raises UnmatchedImages, MissingConditions."""
    answers = Answers(trials, resampling)
    people, models = makers(trials)
    human = list(combinations(people, 2))
    against = {model: [(model, person) for person in people] for model in models}
    others = {one: [(one, other) for other in people if other != one] for one in people}
    dataset = trials.dataset
    pairs = {pair: answers.measures([pair], dataset.kept)[:, 0] for pair in combinations(models, 2)}
    return DatasetSummary(
        people=answers.scores(people, human) if people else None,
        models={model: answers.scores([model], against[model]) for model in models},
        pairs=pairs,
        json={
            "kind": dataset.kind,
            "conditions": list(dataset.conditions),
            "excluded_conditions": list(dataset.excluded),
            "humans": answers.describe(people, human) | answers.split(people) if people else None,
            "subjects": {one: answers.describe([one], others[one]) for one in people},
            "models": {model: answers.describe([model], against[model]) for model in models},
            "models_together": answers.split(models) if len(models) > 1 else None,
            "model_pairs": pairs_json(pairs),
        },
    )


def pairs_json(pairs: Mapping[Pair, Draws]) -> list[Json]:
    """Return, for each pair of decision makers, a JSON object with both names and the measures."""
    return [
        {"first": first, "second": second} | measures_json(draws)
        for (first, second), draws in pairs.items()
    ]


def measures_json(draws: Draws) -> Json:
    """Return each of the four MEASURES with its interval as JSON.

    ``draws`` is (4, rows), a column for each row of bootstrap weights.
    """
    squared = MEASURES[consistency.ACCURACY_DIFFERENCE]
    return {
        name: estimate(row, least=0.0 if name == squared else -np.inf).to_json()
        for name, row in zip(MEASURES, draws, strict=True)
    }


class Compared:
    """The four MEASURES of consistency of all pairs of a panel's decision makers, computed once."""

    def __init__(self, panel: Panel, weights: Draws) -> None:
        self._rows = {maker: row for row, maker in enumerate(panel.makers)}
        first, second = np.triu_indices(len(panel.makers), 1)
        self._at = np.zeros((len(panel.makers),) * 2, np.intp)
        self._at[first, second] = self._at[second, first] = np.arange(len(first))
        self._measures = consistency.compare(panel.correct, first, second, weights)

    def of(self, pairs: Sequence[Pair]) -> Draws:
        """Return the MEASURES of ``pairs`` of decision makers: (4, pairs, rows of weights)."""
        first = [self._rows[first] for first, _ in pairs]
        second = [self._rows[second] for _, second in pairs]
        return self._measures[:, self._at[first, second]]


class Answers:
    """The answers to one dataset as a panel for each condition, with bootstrap weights."""

    def __init__(self, trials: Trials, resampling: Resampling) -> None:
        self.dataset: Dataset = trials.dataset
        self.panels = {panel.condition: panel for panel in panels(trials)}
        self.weights = {name: resampling.weights(panel) for name, panel in self.panels.items()}
        self.compared = {
            name: Compared(panel, self.weights[name]) for name, panel in self.panels.items()
        }
        self.within = {
            name: Compared(self.panels[name], self.panels[name].members())
            for name in self.dataset.kept
            if name in self.panels
        }
        for maker in np.unique(trials.makers).tolist():
            if lacking := [name for name in self.dataset.kept if not self._has(name, [maker])]:
                raise MissingConditions(
                    f"{self.dataset.name}: {maker} has no trials in the condition "
                    f"{listed(lacking)}, which the benchmark averages over; finish the run, or "
                    "leave its table out."
                )

    def scores(self, names: Sequence[str], pairs: Sequence[Pair]) -> Scores:
        """Return the accuracy of ``names``, and the mean MEASURES of ``pairs``.

        Both are over the conditions that scores are averaged over (``Dataset.kept``).
        """
        return Scores(
            self.accuracy(names, self.dataset.kept),
            consistency.mean(self.measures(pairs, self.dataset.kept), axis=1),
        )

    def accuracy(self, names: Sequence[str], conditions: Iterable[str]) -> Draws:
        """Return the share of right answers of all of ``names`` in all ``conditions`` together.

        One for each row of weights: (rows,).
        """
        conditions = list(conditions)
        return accuracy(self._of(names, conditions), [self.weights[name] for name in conditions])

    def measures(self, pairs: Sequence[Pair], conditions: Iterable[str]) -> Draws:
        """Return the four MEASURES of pairs of decision makers, averaged over conditions.

        The shape is (4, pairs, rows of weights).
        """
        return consistency.average([self.compared[name].of(pairs) for name in conditions])

    def describe(self, names: Sequence[str], pairs: Sequence[Pair]) -> Json:
        """Summarise as JSON the answers of decision makers together, and the MEASURES of ``pairs``.

        Both are given over all kept conditions, and by condition and category.
        """
        kept = self.dataset.kept
        everywhere = [name for name in self.panels if self._has(name, names)]
        used = self._of(names, kept)
        seen = self._of(names, everywhere)
        return {
            "makers": len(names),
            "images": sum(len(panel.images) for panel in seen),
            "trials": sum(panel.responses.size for panel in seen),
            "trials_used": sum(panel.responses.size for panel in used),
            "correct_used": sum(int(panel.correct.sum()) for panel in used),
            "no_answer": sum(int((panel.responses < 0).sum()) for panel in seen),
            **self._part(names, pairs, kept),
            "by_condition": {
                name: {
                    "excluded": name in self.dataset.excluded,
                    "images": len(self.panels[name].images),
                    "trials": self.panels[name].of(names).responses.size,
                    **self._part(names, pairs, [name]),
                }
                for name in everywhere
            },
            "by_category": self._by_category(names, pairs),
        }

    def split(self, names: Sequence[str]) -> Json:
        """Count the pictures that all, none or some of the decision makers get right.

        The mean MEASURES of their pairs on pictures that some get right are given, too.
        """
        used = self._of(names, self.dataset.kept)
        found = [difficulty(panel.correct) for panel in used]
        pairs = list(combinations(names, 2))
        rest = consistency.average(
            [
                Compared(panel, self.weights[panel.condition] * each["rest"]).of(pairs)
                for panel, each in zip(used, found, strict=True)
            ]
        )
        return {
            "difficulty": {key: sum(int(each[key].sum()) for each in found) for key in found[0]}
            | {"on_the_rest": measures_json(consistency.mean(rest, axis=1))}
        }

    def _part(self, names: Sequence[str], pairs: Sequence[Pair], conditions: Sequence[str]) -> Json:
        found = [self.compared[name].of(pairs) for name in conditions]
        confusions = np.sum([confusion(each) for each in self._of(names, conditions)], axis=0)
        return {
            "accuracy": estimate(self.accuracy(names, conditions)).to_json(),
            **measures_json(consistency.mean(consistency.average(found), axis=1)),
            **_pair_counts(found),
            "response_entropy": float(response_entropy(confusions).mean()),
        }

    def _by_category(self, names: Sequence[str], pairs: Sequence[Pair]) -> Json:
        """Return accuracy and measures for each category; pictures are too few for intervals."""
        used = self._of(names, self.dataset.kept)
        members = {panel.condition: panel.members() for panel in used}
        rates = accuracy(used, list(members.values()))
        found = [self.within[name].of(pairs) for name in members]
        measures = consistency.mean(consistency.average(found), axis=1)
        return {
            category: {
                "accuracy": number(rates[at]),
                **{name: number(row[at]) for name, row in zip(MEASURES, measures, strict=True)},
                **_pair_counts([each[:, :, at : at + 1] for each in found]),
            }
            for at, category in enumerate(self.dataset.categories)
        }

    def _of(self, names: Sequence[str], conditions: Iterable[str]) -> list[Panel]:
        return [self.panels[name].of(names) for name in conditions]

    def _has(self, condition: str, names: Sequence[str]) -> bool:
        return condition in self.panels and set(names) <= set(self.panels[condition].makers)


def _pair_counts(found: Sequence[Draws]) -> Json:
    """Count pairs, pairs without error consistency, and pairs right on the same pictures.

    ``found`` has the MEASURES of the pairs in each condition; counts are summed over conditions.
    Published tools give an undefined error consistency as 1; here it is left out.
    """
    return {
        "pairs": sum(each.shape[1] for each in found),
        "undefined_pairs": sum(int(np.isnan(each[ERROR, :, 0]).sum()) for each in found),
        "identical_pairs": sum(int((each[OBSERVED, :, 0] == 1).sum()) for each in found),
    }
