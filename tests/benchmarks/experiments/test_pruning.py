from __future__ import annotations

from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.pruning import FRACTIONED


def test_every_method_keeps_what_it_is_told_and_stands_beside_as_large_a_random_one(
    run: Run,
) -> None:
    found = run("pruning", fractions=(0.5,), thresholds=(99,), k=3, seeds=2).tables
    rows = {row["method"]: row for row in found["prunes"]}
    assert list(rows) == [*FRACTIONED, "hard"]
    for name in FRACTIONED:
        assert rows[name]["kept"].value == 0.5
        assert rows[name]["fraction"] == 0.5
    assert rows["label means, keep easy"]["accuracy"].value == 1
    assert rows["label means, keep easy"]["labels_left"].value == 4
    assert rows["value"]["labels_left"].value == 2  # all are worth as much: the first by id go
    assert rows["hard"]["threshold"] == 99
    assert rows["hard"]["kept"].value == 1
    assert rows["hard"]["gain_over_random"].value == rows["hard"]["gain_over_all"].value == 0
    (unpruned,) = found["unpruned"]
    assert unpruned["all"].value == unpruned["soft"].value == 1


def test_every_prune_is_a_state_and_is_undone(run: Run) -> None:
    states = run("pruning", fractions=(0.25, 0.5), thresholds=(), k=3, seeds=1).states
    assert states["seed 0, random 0.25"] != states["seed 0, random 0.5"] != states["seed 0"]
    assert len(states) == 1 + 2 * len(FRACTIONED)
