from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.benchmarks.edits.made import CATEGORIES, to_material

from visual_memory_benchmarks.edits.edit import NOTHING, Edit
from visual_memory_benchmarks.edits.material import CUE_CONFLICT, EDGE, NATURAL, SEEN_BY_PEOPLE
from visual_memory_benchmarks.edits.outcome import OUTCOMES, SeedAnswers, Values, seed_answers
from visual_memory_benchmarks.edits.split import split
from visual_memory_benchmarks.edits.states import State
from visual_memory_benchmarks.errors import UnmatchedImages
from visual_memory_benchmarks.trials.panel import Panel

WORLD = to_material()
DEALT = split(WORLD, 0, 2)
ONCE = {name: np.ones((1, len(tests))) for name, tests in DEALT.tests.items()}
EDITS = [NOTHING, Edit("edges", 1), Edit("edges", 2)]


def answers(seed: int) -> dict[str, list[int]]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(len(CATEGORIES), size=len(t)).tolist() for name, t in DEALT.tests.items()
    }


STATES = [State(0, edit, 0, 0, "", {10: answers(at)}) for at, edit in enumerate(EDITS)]
SITTING = seed_answers(DEALT, STATES, 10, WORLD.people)


def measured(outcome: str, seen: SeedAnswers = SITTING) -> Values:
    return OUTCOMES[outcome].measure(seen, ONCE)[:, 0]


def named(state: State, dataset: str) -> list[str]:
    return [CATEGORIES[answer] for answer in state.answers[10][dataset]]


def naive_kappa(one: list[bool], other: list[bool]) -> float:
    n = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    p, q = sum(one) / n, sum(other) / n
    expected = p * q + (1 - p) * (1 - q)
    return (observed - expected) / (1 - expected) if expected < 1 else np.nan


def right(state: State, dataset: str) -> list[bool]:
    shown = DEALT.tests[dataset].categories
    return [
        answer == category for answer, category in zip(named(state, dataset), shown, strict=True)
    ]


def people_right(person: int, dataset: str) -> list[bool]:
    people = WORLD.people[dataset]
    answer = dict(zip(people.images.tolist(), people.correct[person].tolist(), strict=True))
    return [answer[image] for image in DEALT.tests[dataset].images.tolist()]


def panel_at(panel: Panel, rows: NDArray[np.intp]) -> Panel:
    return replace(
        panel,
        images=panel.images[rows],
        shown=panel.shown[rows],
        responses=panel.responses[:, rows],
    )


def test_shape_bias_is_counted_over_conflicting_pictures() -> None:
    tests = DEALT.tests[CUE_CONFLICT]
    for state, bias, shape, texture in zip(
        STATES,
        measured("shape_bias"),
        measured("shape_share"),
        measured("texture_share"),
        strict=True,
    ):
        rows = zip(
            named(state, CUE_CONFLICT), tests.categories, tests.texture_categories, strict=True
        )
        conflicting = [row for row in rows if row[1] != row[2]]
        shapes = sum(answer == category for answer, category, _ in conflicting)
        textures = sum(answer == category for answer, _, category in conflicting)
        assert bias == pytest.approx(shapes / (shapes + textures))
        assert shape == pytest.approx(shapes / len(conflicting))
        assert texture == pytest.approx(textures / len(conflicting))


def test_accuracy_is_the_share_of_right_answers() -> None:
    expected = [np.mean(right(state, NATURAL)) for state in STATES]

    assert measured("natural_accuracy") == pytest.approx(expected)


@pytest.mark.parametrize("dataset", SEEN_BY_PEOPLE)
def test_likeness_is_the_mean_of_kappa_over_people_before_the_same_pictures(dataset: str) -> None:
    people = range(len(WORLD.people[dataset].makers))
    expected = [
        np.nanmean([naive_kappa(right(state, dataset), people_right(p, dataset)) for p in people])
        for state in STATES
    ]

    assert measured(f"likeness_{dataset}") == pytest.approx(expected)


def test_likeness_is_the_mean_over_the_sets() -> None:
    each = [measured(f"likeness_{dataset}") for dataset in SEEN_BY_PEOPLE]

    assert measured("likeness") == pytest.approx(np.mean(each, axis=0))


def test_likeness_of_many_states_is_that_of_each() -> None:
    many = seed_answers(DEALT, STATES * 7, 10, WORLD.people)

    assert measured("likeness", many).tolist() == measured("likeness").tolist() * 7


def test_steadiness_is_kappa_with_the_first_state() -> None:
    expected = [
        np.nanmean([naive_kappa(right(s, name), right(STATES[0], name)) for name in SEEN_BY_PEOPLE])
        for s in STATES
    ]

    assert measured("steadiness") == pytest.approx(expected)
    assert measured("steadiness")[0] == 1


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_weights_are_pictures_repeated(outcome: str) -> None:
    """Whole weights are as good as leaving pictures out and repeating others."""
    rng = np.random.default_rng(1)
    weights = {
        name: rng.integers(0, 3, (4, len(t))).astype(float) for name, t in DEALT.tests.items()
    }
    chosen = {
        name: np.repeat(np.arange(each.shape[1]), each[2].astype(int))
        for name, each in weights.items()
    }
    repeated = SeedAnswers(
        {name: panel_at(SITTING.states[name], chosen[name]) for name in SITTING.states},
        {name: panel_at(SITTING.people[name], chosen[name]) for name in SITTING.people},
    )
    once = {name: np.ones((1, len(each))) for name, each in chosen.items()}

    found = OUTCOMES[outcome].measure(SITTING, weights)[:, 2]

    assert found == pytest.approx(OUTCOMES[outcome].measure(repeated, once)[:, 0], nan_ok=True)


def test_a_test_that_people_did_not_see_is_refused() -> None:
    people = dict(WORLD.people)
    people[EDGE] = people[EDGE].at(people[EDGE].images != DEALT.tests[EDGE].images[0])

    with pytest.raises(UnmatchedImages, match=str(DEALT.tests[EDGE].images[0])):
        seed_answers(DEALT, STATES, 10, people)
