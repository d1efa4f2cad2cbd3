from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.calibration import calibration_error, least_covered


def test_the_golden_decisions_have_the_golden_error(shared: Path) -> None:
    golden = json.loads((shared / "spec/golden_uncertainty.json").read_text())["ece"]
    found = calibration_error(golden["confidence"], golden["correct"])
    assert found == pytest.approx(golden["ece"], abs=1e-12)


def test_no_confidence_falls_into_the_first_bin() -> None:
    assert calibration_error([0.0, 1.0], [0, 1]) == 0
    assert calibration_error([0.0], [1]) == 1


def test_the_least_covered_label_has_the_smallest_share() -> None:
    counts = Counter({("cat", True): 9, ("cat", False): 1, ("dog", True): 4, ("dog", False): 1})

    assert least_covered(counts) == {"label": "dog", "covered": 0.8}


def test_unanimous_votes_that_are_right_are_calibrated_and_covered(run: Run) -> None:
    found = run("calibration", coverages=(0.8,), k=3, seeds=2).tables
    (errors,) = found["errors"]
    assert errors["before"].value == errors["after"].value == errors["change"].value == 0
    for row in found["coverage"]:
        if row["conformal"] == "lac":
            assert row["covered"].value == row["set_size"].value == 1
