"""Calibration error, conformal sets and open-set scores, recomputed in golden_uncertainty.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_memory_index.votes.confidence import by_confidence, calibration_error
from visual_memory_index.votes.conformal import (
    Limits,
    lac,
    own_score,
    prediction_set,
    q_hat,
    randomized_aps,
)
from visual_memory_index.votes.coverage import threshold

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "golden_uncertainty.json"
LABELS = ("0", "1", "2")
EXACT = 1e-9
RULES = {"lac": lac, "aps": randomized_aps}  # aps is without a draw
ALPHAS = ["0.1", "0.2", "0.3"]


@pytest.fixture(scope="module")
def golden() -> Any:
    if not GOLDEN.exists():
        pytest.skip(f"the golden uncertainties are not at {GOLDEN}")
    return json.loads(GOLDEN.read_text())


def to_votes(probabilities: list[float]) -> dict[str, float]:
    return dict(zip(LABELS, probabilities, strict=True))


def scored(rule: str, rows: list[list[float]]) -> list[dict[str, float]]:
    return [RULES[rule](to_votes(row), 0.0) for row in rows]


def test_the_calibration_error_is_the_golden_one(golden: Any) -> None:
    case = golden["ece"]
    confidences, correct = np.array(case["confidence"]), np.array(case["correct"], bool)

    error = calibration_error(confidences, correct, case["n_bins"])

    assert error == pytest.approx(case["ece"], abs=EXACT)
    assert error == calibration_error(confidences, correct)


def test_the_bins_are_the_golden_ones(golden: Any) -> None:
    case = golden["ece"]

    bins = by_confidence(np.array(case["confidence"]), np.array(case["correct"], bool))

    found = [[round(each.low * 15), each.count, each.accuracy, each.value] for each in bins]
    assert np.array(found) == pytest.approx(
        np.array(case["bins_nonempty_index_count_acc_conf"]), abs=EXACT
    )


@pytest.mark.parametrize("rule", RULES)
def test_each_calibration_item_has_the_golden_score(rule: str, golden: Any) -> None:
    case = golden["conformal"]

    scores = scored(rule, case["calibration_probs"])

    own = [row[str(label)] for row, label in zip(scores, case["calibration_labels"], strict=True)]
    assert own == pytest.approx(case[f"{rule}_scores"], abs=EXACT)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_each_coverage_has_the_golden_limit_and_sets(rule: str, alpha: str, golden: Any) -> None:
    case = golden["conformal"]
    rows, labels = scored(rule, case["calibration_probs"]), map(str, case["calibration_labels"])
    calibration = np.array(
        [own_score(row, label, 0.0) for row, label in zip(rows, labels, strict=True)]
    )

    limit = q_hat(calibration, 1 - float(alpha))
    limits = Limits({}, limit)
    sets = [
        sorted(map(int, prediction_set(row, limits, winner="?", unvoted={}, allow_empty=True)))
        for row in scored(rule, case["test_probs"])
    ]

    assert limit == pytest.approx(case["alpha"][alpha][f"{rule}_q"], abs=EXACT)
    assert sets == case["alpha"][alpha][f"{rule}_sets"]


def test_all_coverages_are_there(golden: Any) -> None:
    assert sorted(golden["conformal"]["alpha"]) == ALPHAS


def test_the_threshold_is_the_golden_one_and_keeps_and_lets_in_as_many(golden: Any) -> None:
    case = golden["ood"]
    known, unknown = np.array(case["id"]), np.array(case["ood"])

    limit = threshold(known)

    assert limit == pytest.approx(case["threshold_at_95tpr"], abs=EXACT)
    assert (known <= limit).mean() == pytest.approx(case["achieved_tpr"], abs=EXACT)
    assert (unknown <= limit).mean() == pytest.approx(case["fpr95"], abs=EXACT)
