from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.benchmarks.edits.made import CATEGORIES, to_kinds, to_material

from visual_memory_benchmarks.edits import analysis
from visual_memory_benchmarks.edits.analysis import analyse
from visual_memory_benchmarks.edits.edit import ADDITION, NOTHING, REMOVAL, Edit
from visual_memory_benchmarks.edits.material import CUE_CONFLICT
from visual_memory_benchmarks.edits.outcome import OUTCOMES
from visual_memory_benchmarks.edits.protocol import Protocol
from visual_memory_benchmarks.edits.resampling import holm, population, seed_weights
from visual_memory_benchmarks.edits.split import split
from visual_memory_benchmarks.edits.states import State

WORLD = to_material()
SPLITS = [split(WORLD, seed, 2) for seed in range(3)]
SIZE = 7
PROTOCOL = Protocol(
    seeds=3, ks=(10, 50), resamples=50, kinds=to_kinds(edges=[1, 2], value_pruning=[0.1])
)
EDITS = [
    NOTHING,
    Edit("edges", 1),
    Edit("edges", 2),
    Edit("value-pruning", 0.1),
    Edit(ADDITION, 1),
    Edit(ADDITION, 2),
    Edit(REMOVAL, SIZE),
]


def answers(seed: int, edit: Edit, k: int) -> dict[str, list[int]]:
    """Return random answers; the control of the first dose answers as the edit does."""
    same = 1 if edit == Edit(ADDITION, 1) else EDITS.index(edit)
    rng = np.random.default_rng([seed, same, k])
    return {
        name: rng.integers(len(CATEGORIES), size=len(tests)).tolist()
        for name, tests in SPLITS[seed].tests.items()
    }


STATES = {
    (seed, edit): State(
        seed, edit, SIZE, 20, f"{seed} {edit.name}", {k: answers(seed, edit, k) for k in (10, 50)}
    )
    for seed in range(3)
    for edit in EDITS
}
RESULT = analyse(WORLD.people, SPLITS, STATES, PROTOCOL)


def contrast(edit: Edit, outcome: str, k: int = 10) -> dict[str, Any]:
    wanted = {"kind": edit.kind, "dose": edit.dose, "outcome": outcome, "k": k}
    found: dict[str, Any]
    [found] = [row for row in RESULT["contrasts"] if wanted.items() <= row.items()]
    return found


def naive_bias(seed: int, edit: Edit, counts: dict[str, int]) -> float:
    """Return the bias over pictures, repeated as often as their shape item was drawn."""
    tests = SPLITS[seed].tests[CUE_CONFLICT]
    shape = texture = 0
    for at, answer in enumerate(STATES[seed, edit].answers[10][CUE_CONFLICT]):
        times = counts[str(tests.items[at])]
        if tests.categories[at] != tests.texture_categories[at]:
            shape += times * (CATEGORIES[answer] == tests.categories[at])
            texture += times * (CATEGORIES[answer] == tests.texture_categories[at])
    return shape / (shape + texture)


def test_a_difference_is_what_drawing_items_and_seeds_one_by_one_gives() -> None:
    edit, control = Edit("edges", 2), Edit(ADDITION, 2)
    items = np.concatenate([each.tests[name].items for each in SPLITS for name in WORLD.people])
    shapes = population(items, PROTOCOL.resamples, seed=1)
    seeds = seed_weights(3, PROTOCOL.resamples, seed=0)
    draws = []
    for row in range(1 + PROTOCOL.resamples):
        counts = dict(zip(shapes.items.tolist(), shapes.counts[row].astype(int), strict=True))
        differences = [
            naive_bias(seed, edit, counts) - naive_bias(seed, control, counts) for seed in range(3)
        ]
        draws.append(sum(w * d for w, d in zip(seeds[row], differences, strict=True)))

    found = contrast(edit, "shape_bias")

    assert found["difference"]["value"] == pytest.approx(draws[0])
    assert found["difference"]["low"] == pytest.approx(np.quantile(draws[1:], 0.025))
    assert found["difference"]["high"] == pytest.approx(np.quantile(draws[1:], 0.975))
    assert found["edited"] - found["control"] == pytest.approx(draws[0])
    assert np.mean(found["by_seed"]) == pytest.approx(draws[0])


def test_draws_at_once_are_a_matter_of_room_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "DRAWS_AT_ONCE", 7)

    assert analyse(WORLD.people, SPLITS, STATES, PROTOCOL) == RESULT


@pytest.mark.parametrize("outcome", [name for name, each in OUTCOMES.items() if each.tested])
def test_the_same_answers_are_no_difference(outcome: str) -> None:
    found = contrast(Edit("edges", 1), outcome)

    assert found["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["p"] == 1


def test_every_tested_outcome_of_every_edit_is_in_the_family_of_its_k() -> None:
    rows = [row for row in RESULT["contrasts"] if row["k"] == 10 and row["p"] is not None]

    assert RESULT["statistics"]["families"] == {"10": 12, "50": 12}
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])


def test_what_only_describes_has_no_p_value_and_is_told_for_the_first_k() -> None:
    described = [row for row in RESULT["contrasts"] if not OUTCOMES[row["outcome"]].tested]

    assert {row["k"] for row in described} == {10}
    assert all(row["p"] is None and row["p_holm"] is None for row in described)


def test_an_edit_is_held_against_the_control_of_its_size() -> None:
    assert [edit["sizes"] for edit in RESULT["edits"]] == [[SIZE] * 3] * 3
    found = contrast(Edit("value-pruning", 0.1), "shape_bias")
    counts = dict.fromkeys(WORLD.sets[CUE_CONFLICT].items.tolist(), 1)
    expected = [naive_bias(seed, Edit(REMOVAL, SIZE), counts) for seed in range(3)]

    assert found["control"] == pytest.approx(np.mean(expected))


def test_every_state_is_named_by_its_digest() -> None:
    assert len(RESULT["states"]) == len(STATES)
    for state in RESULT["states"]:
        edit = Edit(state["kind"], state["dose"])
        assert state["digest"] == STATES[state["seed"], edit].digest


def test_before_any_edit_a_memory_is_like_itself() -> None:
    found: dict[str, Any]
    [found] = [row for row in RESULT["before"] if row["outcome"] == "steadiness" and row["k"] == 10]

    assert (found["value"], found["low"], found["high"]) == pytest.approx((1, 1, 1))
