"""The votes of Geirhos et al., 2024 (arXiv 2408.08172), recomputed in golden_voting.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_memory_index import VOTINGS, Neighbors, decide

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "golden_voting.json"
RULES = ["plurality", "distance", "softmax", "rank"]


@pytest.fixture(scope="module")
def golden() -> Any:
    if not GOLDEN.exists():
        pytest.skip(f"the golden votes are not at {GOLDEN}")
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def cases(golden: Any) -> list[Any]:
    """The cases without reliabilities, and without an exclusion that is not refilled."""
    return [case for case in golden["cases"] if not {"v", "excluded_ids"} & set(case)]


def neighbors(case: Any, k: int) -> Neighbors:
    columns = ([str(value) for value in case[name][:k]] for name in ("ids", "labels"))
    ids, labels = (np.array([column], object) for column in columns)
    return Neighbors(ids, labels, np.array([case["distances"][:k]], float))


def test_the_rules_of_the_paper_are_there() -> None:
    assert VOTINGS.keys() >= set(RULES)


def test_there_are_cases(cases: list[Any]) -> None:
    assert len(cases) == 11


@pytest.mark.parametrize("rule", RULES)
def test_every_prefix_of_every_case_is_decided_as_in_the_paper(rule: str, cases: list[Any]) -> None:
    for case in cases:
        decided = [
            decide(neighbors(case, k), VOTINGS[rule])[0].label
            for k in range(1, len(case["labels"]) + 1)
        ]

        assert decided == [str(label) for label in case["expected"][rule]], case["name"]


@pytest.mark.parametrize("rule", RULES)
def test_the_scores_are_the_totals_of_the_paper(rule: str, cases: list[Any]) -> None:
    for case in cases:
        (decision,) = decide(neighbors(case, len(case["labels"])), VOTINGS[rule])

        assert decision.scores == pytest.approx(case["final_totals"][rule], rel=1e-9), case["name"]


@pytest.mark.parametrize("rule", ["distance", "softmax"])
def test_a_distance_has_the_weight_of_the_paper(rule: str, golden: Any) -> None:
    for distance, weight in golden["weights"][rule]:
        assert VOTINGS[rule](np.array([[distance]]))[0, 0] == pytest.approx(weight, rel=1e-14)


def test_a_rank_has_the_weight_of_the_paper(golden: Any) -> None:
    ranks, weights = zip(*golden["weights"]["rank"], strict=True)

    assert ranks == tuple(range(10))
    assert VOTINGS["rank"](np.zeros((1, 10)))[0].tolist() == list(weights)
