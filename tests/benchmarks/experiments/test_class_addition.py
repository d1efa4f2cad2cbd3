from __future__ import annotations

from tests.benchmarks.experiments.conftest import Run


def test_new_classes_that_lie_apart_are_known_at_once_and_cost_the_old_ones_nothing(
    run: Run,
) -> None:
    result = run("class_addition", exemplars=(1, 4), ks=(1,), seeds=2)
    before, first, last = result.tables["doses"]
    assert before["new_accuracy"].value == 0
    assert first["new_accuracy"].value == last["new_accuracy"].value == 1
    assert before["old_accuracy"].value == last["old_accuracy"].value == 1
    assert last["old_change"].value == last["old_called_new"].value == 0
    assert result.tables["confusions"] == []


def test_more_neighbours_than_exemplars_outvote_a_new_class(run: Run) -> None:
    found = run("class_addition", exemplars=(1, 6), ks=(24,), seeds=2).tables["doses"]
    assert found[1]["new_accuracy"].value < 1
    assert found[2]["new_accuracy"].value == 1


def test_every_dose_is_a_state_of_its_own(run: Run) -> None:
    states = run("class_addition", exemplars=(1, 4), ks=(1,), seeds=2).states
    assert list(states) == [
        f"seed {seed}, {dose} exemplars" for seed in range(2) for dose in (0, 1, 4)
    ]
    assert len(set(states.values())) == len(states)
