from __future__ import annotations

import numpy as np
import pytest
from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.dichotomy import shares


def test_what_all_get_right_is_trivial_and_what_none_does_impossible() -> None:
    correct = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 1, 0]], bool)
    found = shares(correct)
    assert found["trivial"].value == pytest.approx(1 / 5)
    assert found["impossible"].value == pytest.approx(1 / 5)
    assert found["rest"].value == pytest.approx(3 / 5)
    assert found["error_consistency_of_rest"].value < found["error_consistency"].value


def test_pictures_that_lie_apart_are_trivial_and_leave_nothing_to_agree_on(run: Run) -> None:
    rows = run("dichotomy", votings=(("rank", 1), ("softmax", 5))).tables["difficulty"]
    natural = rows[0]
    assert (natural["set"], natural["configurations"]) == ("natural16", 6)
    assert natural["trivial"].value == 1
    assert natural["error_consistency"].value is None
    cues = rows[1]
    assert cues["impossible"].value > 0.5  # texture weighs more
