from __future__ import annotations

import numpy as np
import pytest
from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.votings import reliability


def test_pictures_that_lie_apart_are_all_decided_rightly_until_k_swallows_the_label(
    run: Run,
) -> None:
    found = run("votings", ks=(1, 6, 24), fixed_ks=(6,), seeds=2, left_out_ks=(1, 11)).tables
    accuracy = {(row["voting"], row["k"]): row["accuracy"].value for row in found["curves"]}
    for rule in ("plurality", "distance", "softmax", "rank"):
        assert accuracy[rule, 1] == accuracy[rule, 6] == 1
    assert [row["accuracy"].value for row in found["leave_one_out"]] == [1, 1]
    assert [row["rank"] for row in found["ranks"]] == list(range(1, 12))
    assert {row["accuracy"].value for row in found["ranks"]} == {1}


def test_k_is_chosen_on_other_pictures_the_smallest_of_equals(run: Run) -> None:
    found = run("votings", ks=(3, 6), fixed_ks=(6, 100), seeds=3, left_out_ks=()).tables
    for row in found["chosen"]:
        assert row["chosen_ks"] == [3, 3, 3]
        assert row["accuracy"].value == row["hindsight"].value == row["accuracy_at_6"].value == 1
        assert row["optimism"].value == 0
        assert "accuracy_at_100" not in row


def test_accuracy_that_follows_the_law_gives_it_back() -> None:
    wanted = 0.9 - 0.1 * np.log(np.arange(1, 11))
    n = 1000
    correct = (np.arange(n)[:, None] < np.round(wanted * n)).astype(float)
    (row,) = reliability(correct)
    assert row["a"].value == pytest.approx(-0.1, abs=0.001)
    assert row["b"].value == pytest.approx(0.9, abs=0.001)
    assert row["a"].low < -0.1 < row["a"].high
    assert row["explained"] == pytest.approx(1, abs=0.001)
