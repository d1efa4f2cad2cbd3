from __future__ import annotations

import numpy as np
import pytest
from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.scaling import LAWS, fit

SIZES = np.array([20.0, 100.0, 500.0, 2500.0])


@pytest.mark.parametrize("law", LAWS)
def test_an_error_that_follows_a_law_gives_its_exponent_back(law: str) -> None:
    errors = 10 ** (1.5 - 0.7 * LAWS[law](SIZES))
    row = fit(law, 10, SIZES, np.stack([errors, errors]))
    assert row["a"].value == pytest.approx(-0.7)
    assert row["b"].value == pytest.approx(1.5)
    assert row["residual_log10"].value == pytest.approx(0, abs=1e-9)
    others = [fit(other, 10, SIZES, errors[None]) for other in LAWS if other != law]
    assert all(other["residual_log10"].value > 0.01 for other in others)


def test_sizes_without_an_error_are_left_out_and_one_size_has_no_law() -> None:
    law = next(iter(LAWS))
    errors = 10 ** (1.5 - 0.7 * LAWS[law](SIZES))
    errors[-1] = 0
    assert fit(law, 1, SIZES, errors[None])["a"].value == pytest.approx(-0.7)
    assert fit(law, 1, SIZES, np.zeros((2, 4)))["a"].value is None


def test_a_memory_of_four_knows_less_than_one_of_all(run: Run) -> None:
    result = run("scaling", sizes=(4, 36), ks=(1,), seeds=3)
    small, large = result.tables["sizes"]
    assert small["error_percent"].value > large["error_percent"].value == 0
    assert "seed 2, 36 entries" in result.states
