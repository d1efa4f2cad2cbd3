from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.calibration import calibration_error


def test_the_golden_decisions_have_the_golden_error(shared: Path) -> None:
    golden = json.loads((shared / "spec/golden_uncertainty.json").read_text())["ece"]
    found = calibration_error(golden["confidence"], golden["correct"])
    assert found == pytest.approx(golden["ece"], abs=1e-12)


def test_no_confidence_falls_into_the_first_bin() -> None:
    assert calibration_error([0.0, 1.0], [0, 1]) == 0
    assert calibration_error([0.0], [1]) == 1


def test_unanimous_votes_that_are_right_are_calibrated_and_covered(run: Run) -> None:
    found = run("calibration", coverages=(0.8,), k=3, seeds=2).tables
    (errors,) = found["errors"]
    assert errors["before"].value == errors["after"].value == errors["change"].value == 0
    for row in found["coverage"]:
        if row["conformal"] == "lac":
            assert row["covered"].value == row["set_size"].value == 1
