"""Analysis of the recorded states: each edit against its control, by every outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, TypeAlias

import numpy as np

from visual_memory_benchmarks.edits.edit import Edit
from visual_memory_benchmarks.edits.material import NATURAL, SEEN_BY_PEOPLE
from visual_memory_benchmarks.edits.outcome import (
    OUTCOMES,
    Outcome,
    SeedAnswers,
    Weights,
    seed_answers,
)
from visual_memory_benchmarks.edits.protocol import Protocol
from visual_memory_benchmarks.edits.records import States
from visual_memory_benchmarks.edits.resampling import (
    Draws,
    Population,
    holm,
    p_value,
    population,
    seed_weights,
)
from visual_memory_benchmarks.edits.split import Split
from visual_memory_benchmarks.edits.states import State
from visual_memory_benchmarks.metrics.bootstrap import COVERAGE, number, percentiles
from visual_memory_benchmarks.trials.panel import Panel

Json: TypeAlias = dict[str, Any]

ALPHA, DECIMALS = 0.05, 12
DRAWS_AT_ONCE = 2000  # to limit RAM: a draw has weights of all items and values of all states
SEEDS, SHAPES, PHOTOGRAPHS = range(3)  # each is drawn by a generator of its own


@dataclass(frozen=True, slots=True, eq=False)
class Dealt:
    """A seed's split, its edited memories, and the items by which its test sets are resampled.

    ``states`` has the measurements; ``edited`` and ``controls`` are the indices in it of each edit
    and of its control.
    """

    split: Split
    populations: Mapping[str, Population]
    states: tuple[State, ...]
    edited: tuple[int, ...]
    controls: tuple[int, ...]

    def weights(self, draws: slice) -> Weights:
        """Map each test set to the weights of its n pictures in the draws selected: (draws, n)."""
        return {
            name: self.populations[name].weights(tests.items, draws)
            for name, tests in self.split.tests.items()
        }


def analyse(
    people: Mapping[str, Panel], splits: Sequence[Split], states: States, protocol: Protocol
) -> Json:
    """Return measurements of edited memories, their outcomes, and contrasts of edits, as JSON.

    ``people`` has people's answers by test set, ``states`` the memories' answers before and after
    each edit of ``protocol``, for each of ``splits``. A contrast compares an edit with its control
    by one k and outcome: both means over seeds, and their difference with its interval and p-value.
    The p-values of one k are adjusted as one family. Outcomes that are not tested are given for the
    first k alone.
    """
    draws = seed_weights(len(splits), protocol.resamples, SEEDS)
    dealt = _dealt(splits, states, protocol)
    before: list[Json] = []
    contrasts: list[Json] = []
    for k in protocol.ks:
        seeds_answers = [seed_answers(each.split, each.states, k, people) for each in dealt]
        rows: list[Json] = []
        for name, outcome in OUTCOMES.items():
            if outcome.tested or k == protocol.ks[0]:
                about = {"k": k, "outcome": name}
                level, found = _contrasts(outcome, dealt, seeds_answers, draws, protocol.edits)
                before.append(about | level)
                rows += [about | row for row in found]
        contrasts += _adjusted(rows)
    return {
        "statistics": _statistics(splits, contrasts, protocol),
        "edits": [_edit_json(edit, splits, states, protocol) for edit in protocol.edits],
        "outcomes": {
            name: {"what": outcome.what, "tested": outcome.tested}
            for name, outcome in OUTCOMES.items()
        },
        "before": before,
        "contrasts": contrasts,
        "states": [state.to_json() for each in dealt for state in each.states],
    }


def _dealt(splits: Sequence[Split], states: States, protocol: Protocol) -> list[Dealt]:
    """Return each seed's measurements in ``states``, in the order of ``Protocol.all``.

    All seeds share the resamples of their pictures.
    """
    shapes = _population(splits, SEEN_BY_PEOPLE, protocol.resamples, SHAPES)
    photographs = _population(splits, (NATURAL,), protocol.resamples, PHOTOGRAPHS)
    populations = {NATURAL: photographs, **dict.fromkeys(SEEN_BY_PEOPLE, shapes)}
    dealt = []
    for split in splits:
        order = protocol.all(split.seed, states)
        controls = [protocol.control(edit, split.seed, states) for edit in protocol.edits]
        dealt.append(
            Dealt(
                split,
                populations,
                states=tuple(states[split.seed, edit] for edit in order),
                edited=tuple(map(order.index, protocol.edits)),
                controls=tuple(map(order.index, controls)),
            )
        )
    return dealt


def _population(
    splits: Sequence[Split], names: Sequence[str], resamples: int, seed: int
) -> Population:
    tests = [split.tests[name].items for split in splits for name in names]
    return population(np.concatenate(tests), resamples, seed)


def _contrasts(
    outcome: Outcome,
    dealt: Sequence[Dealt],
    seeds_answers: Sequence[SeedAnswers],
    draws: Draws,
    edits: Sequence[Edit],
) -> tuple[Json, list[Json]]:
    """Return an outcome's mean before any edit, and a row for each edit against its control.

    ``draws`` are the weights of the seeds in each draw; ``dealt`` and ``seeds_answers`` have an
    element for each seed.
    """
    level = np.zeros(len(draws))
    drawn = np.zeros((len(edits), len(draws)))
    edited = np.empty((len(dealt), len(edits)))
    controls = np.empty_like(edited)
    for start in range(0, len(draws), DRAWS_AT_ONCE):
        rows = slice(start, start + DRAWS_AT_ONCE)
        for at, (each, seen) in enumerate(zip(dealt, seeds_answers, strict=True)):
            values = outcome.measure(seen, each.weights(rows))
            of_edits, of_controls = values[list(each.edited)], values[list(each.controls)]
            level[rows] += draws[rows, at] * values[0]
            drawn[:, rows] += draws[rows, at] * (of_edits - of_controls)
            if start == 0:
                edited[at], controls[at] = of_edits[:, 0], of_controls[:, 0]
    drawn = np.round(drawn, DECIMALS)  # so that seeds that cancel out give 0
    found = [
        {
            "kind": edit.kind,
            "dose": edit.dose,
            "edited": number(edited[:, at].mean()),
            "control": number(controls[:, at].mean()),
            "difference": percentiles(drawn[at, 0], drawn[at, 1:]).to_json(),
            "by_seed": [number(each) for each in edited[:, at] - controls[:, at]],
            "p": p_value(drawn[at]) if outcome.tested else None,
        }
        for at, edit in enumerate(edits)
    ]
    level = np.round(level, DECIMALS)
    return percentiles(level[0], level[1:]).to_json(), found


def _adjusted(rows: Sequence[Json]) -> list[Json]:
    """Add p-values adjusted by Holm; the family is all of ``rows`` that have a p-value."""
    family = [row for row in rows if row["p"] is not None]
    adjusted = dict(zip(map(id, family), holm([row["p"] for row in family]), strict=True))
    return [row | {"p_holm": adjusted.get(id(row))} for row in rows]


def _statistics(splits: Sequence[Split], contrasts: Sequence[Json], protocol: Protocol) -> Json:
    """Describe the statistics as JSON: parameters, p-values per family, pictures tested.

    ``families`` has the number of p-values for each k, ``tests`` the mean number of pictures per
    seed in each test set.
    """
    tested = Counter(str(row["k"]) for row in contrasts if row["p"] is not None)
    return {
        "seeds": len(splits),
        "resamples": protocol.resamples,
        "coverage": COVERAGE,
        "alpha": ALPHA,
        "families": {str(k): tested[str(k)] for k in protocol.ks},
        "tests": {
            name: mean(len(split.tests[name]) for split in splits) for name in splits[0].tests
        },
    }


def _edit_json(edit: Edit, splits: Sequence[Split], states: States, protocol: Protocol) -> Json:
    kind = protocol.kinds[edit.kind]
    return {
        "kind": edit.kind,
        "dose": edit.dose,
        "what": kind.what,
        "unit": kind.unit,
        "control": kind.control,
        "sizes": [states[split.seed, edit].size for split in splits],
    }
