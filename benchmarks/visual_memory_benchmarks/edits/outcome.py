"""Outcomes: measures of the states of one seed, on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.edits.material import (
    CUE_CONFLICT,
    EDGE,
    NATURAL,
    SEEN_BY_PEOPLE,
    SILHOUETTE,
)
from visual_memory_benchmarks.edits.split import Split
from visual_memory_benchmarks.edits.states import State
from visual_memory_benchmarks.errors import UnmatchedImages
from visual_memory_benchmarks.metrics import consistency, shape_bias
from visual_memory_benchmarks.trials.panel import Panel

Weights: TypeAlias = Mapping[str, NDArray[np.float64]]
Values: TypeAlias = NDArray[np.float64]  # (states, r)

STATES_AT_ONCE = 8  # to limit RAM: each is compared with all people


@dataclass(frozen=True, slots=True, eq=False)
class SeedAnswers:
    """The answers of one seed's edited memories, and of people to the same pictures, by set.

    The first memory is the memory before any edit.
    """

    states: Mapping[str, Panel]
    people: Mapping[str, Panel]


def seed_answers(
    split: Split, states: Sequence[State], k: int, people: Mapping[str, Panel]
) -> SeedAnswers:
    """Collect one seed's answers at one k. Raises UnmatchedImages if people lack a picture."""
    numbers = {category: number for number, category in enumerate(split.categories)}
    panels = {
        name: Panel(
            dataset=name,
            condition="all",
            categories=split.categories,
            makers=tuple(state.edit.name for state in states),
            images=tests.images,
            shown=np.array([numbers[each] for each in tests.categories.tolist()], np.int64),
            responses=np.array([state.answers[k][name] for state in states], np.int64),
        )
        for name, tests in split.tests.items()
    }
    same = {name: _same(people[name], panels[name]) for name in SEEN_BY_PEOPLE}
    return SeedAnswers(panels, same)


def _same(people: Panel, panel: Panel) -> Panel:
    """Select people's answers to the pictures of ``panel``.

    Raises UnmatchedImages if people lack one of them.
    """
    found = people.at(np.isin(people.images, panel.images))
    if missing := sorted(set(panel.images.tolist()) - set(found.images.tolist())):
        raise UnmatchedImages(
            people.dataset, "all", "people", missing=missing, remedy="leave these pictures out"
        )
    return found


def votes(seed_answers: SeedAnswers, weights: Weights) -> shape_bias.Votes:
    """Count each memory's answers by shape and by texture to pictures whose cues conflict.

    There is a count for each row of ``weights``, which weighs the pictures.
    """
    panel = seed_answers.states[CUE_CONFLICT]
    found = shape_bias.conflict(panel)
    chosen = np.isin(panel.images, found.panel.images)
    return shape_bias.votes(found, weights[CUE_CONFLICT][:, chosen])


def bias(seed_answers: SeedAnswers, weights: Weights) -> Values:
    """Return each memory's shape bias for each row of ``weights``: (memories, rows).

    Shape bias is shape answers / (shape + texture answers); nan if there are neither.
    """
    return votes(seed_answers, weights).bias


def share(seed_answers: SeedAnswers, weights: Weights, *, cue: str) -> Values:
    """Return each memory's share of answers by ``cue``, shape or texture: (memories, rows).

    Columns are the rows of ``weights``. The two shares show by which of them a shape bias changed.
    """
    found = votes(seed_answers, weights)
    with np.errstate(invalid="ignore"):  # draws without any of the pictures
        shares: Values = getattr(found, cue) / found.trials
    return shares


def accuracy(seed_answers: SeedAnswers, weights: Weights, *, dataset: str) -> Values:
    """Return each memory's share of right answers for each row of weights: (memories, rows).

    Answers are to the pictures of ``dataset``.
    """
    each = weights[dataset]
    with np.errstate(invalid="ignore"):  # draws without any of the pictures
        shares: Values = (seed_answers.states[dataset].correct @ each.T) / each.sum(axis=1)
    return shares


def likeness(seed_answers: SeedAnswers, weights: Weights, *, dataset: str) -> Values:
    """Return each memory's mean error consistency with persons: (memories, rows).

    Answers are to the pictures of ``dataset``; columns are the rows of ``weights``.
    """
    people, states = seed_answers.people[dataset].correct, seed_answers.states[dataset].correct
    found = []
    for start in range(0, len(states), STATES_AT_ONCE):
        some = states[start : start + STATES_AT_ONCE]
        state, person = np.indices((len(some), len(people))).reshape(2, -1)
        correct = np.concatenate([some, people])
        pairs = consistency.compare(correct, state, len(some) + person, weights[dataset])
        values = pairs[consistency.ERROR].reshape(len(some), len(people), -1)
        found.append(consistency.mean(values, axis=1))
    return np.concatenate(found)


def steadiness(seed_answers: SeedAnswers, weights: Weights, *, dataset: str) -> Values:
    """Return each memory's error consistency with the memory before any edit: (memories, rows).

    Answers are to the pictures of ``dataset``; columns are the rows of ``weights``.
    """
    correct = seed_answers.states[dataset].correct
    rows = np.arange(len(correct))
    found = consistency.compare(correct, rows, np.zeros_like(rows), weights[dataset])
    values: Values = found[consistency.ERROR]
    return values


def _over_sets(measure: Callable[..., Values]) -> Callable[[SeedAnswers, Weights], Values]:
    """Return a measure that averages ``measure`` over the datasets in SEEN_BY_PEOPLE."""

    def mean(seed_answers: SeedAnswers, weights: Weights) -> Values:
        found = [measure(seed_answers, weights, dataset=name) for name in SEEN_BY_PEOPLE]
        return consistency.mean(np.stack(found), axis=0)

    return mean


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measure of a memory's answers; if not ``tested``, it is descriptive and gets no p-value.

    ``measure`` returns a value for each memory and row of weights; ``what`` describes it.
    """

    what: str
    measure: Callable[[SeedAnswers, Weights], Values]
    tested: bool = False


OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "shape_bias": Outcome("shape bias, cue-conflict", bias, tested=True),
        "natural_accuracy": Outcome(
            "accuracy on photographs", partial(accuracy, dataset=NATURAL), tested=True
        ),
        "likeness": Outcome(
            "error consistency with people, mean of three sets", _over_sets(likeness), tested=True
        ),
        "steadiness": Outcome(
            "error consistency with the memory before, mean of three sets",
            _over_sets(steadiness),
            tested=True,
        ),
    }
    | {
        f"{cue}_share": Outcome(f"answers that follow {cue}, cue-conflict", partial(share, cue=cue))
        for cue in ("shape", "texture")
    }
    | {
        f"likeness_{name}": Outcome(
            f"error consistency with people, {name}", partial(likeness, dataset=name)
        )
        for name in (CUE_CONFLICT, EDGE, SILHOUETTE)
    }
    | {
        f"accuracy_{name}": Outcome(f"accuracy, {name}", partial(accuracy, dataset=name))
        for name in (EDGE, SILHOUETTE)
    }
)
