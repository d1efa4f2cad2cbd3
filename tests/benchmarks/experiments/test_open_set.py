from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks.experiments.conftest import Run
from tests.benchmarks.experiments.made import NEW

from visual_memory_benchmarks.experiments.open_set import separation


def test_the_golden_distances_give_the_golden_separation(shared: Path) -> None:
    golden = json.loads((shared / "spec/golden_uncertainty.json").read_text())["ood"]
    found = separation(np.array(golden["id"]), np.array(golden["ood"]))
    assert found["auroc"].value == pytest.approx(golden["auroc"], abs=1e-12)
    assert found["fpr95"].value == golden["fpr95"]
    assert found["limit"] == golden["threshold_at_95tpr"]


def test_unknown_classes_that_lie_apart_are_told_by_every_score(run: Run) -> None:
    found = run("open_set", neighbors=(1, 5), k=5).tables
    assert [(row["score"], row["neighbors"]) for row in found["scores"]] == [
        (score, count) for count in (1, 5) for score in ("mean", "median")
    ]
    for row in (*found["scores"], *found["classes"]):
        assert row["auroc"].value == 1
        assert row["fpr95"].value == 0
    assert [row["unknown"] for row in found["classes"]] == sorted(NEW)


def test_the_service_rejects_the_unknown_and_few_of_the_known(run: Run) -> None:
    found = run("open_set", neighbors=(1, 5), k=5).tables
    (service,) = found["service"]
    assert 0 < service["rejection_distance"] < found["scores"][0]["limit"]
    assert service["rejected_of_known"].value <= 2 / 48
    assert service["rejected_of_unknown"].value == 1
