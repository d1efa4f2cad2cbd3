"""Minimal flips, by brute force over all subsets in golden_voting.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_memory_index import VOTINGS
from visual_memory_index.curation.explanation import Flip, smallest_flip

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "golden_voting.json"
RULES = ["plurality", "distance", "softmax", "rank"]


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    if not GOLDEN.exists():
        pytest.skip(f"the golden flips are not at {GOLDEN}")
    cases: list[Any] = json.loads(GOLDEN.read_text())["counterfactuals"]
    return cases


def test_there_are_cases(cases: list[Any]) -> None:
    assert len(cases) == 6


@pytest.mark.parametrize("rule", RULES)
def test_the_smallest_flip_is_that_of_all_subsets(rule: str, cases: list[Any]) -> None:
    for case in cases:
        labels = np.array([str(label) for label in case["labels"]], object)

        flip = smallest_flip(
            labels, np.array(case["distances"]), case["k"], VOTINGS[rule], seconds=60
        )

        minimal = case["minimal"][rule]
        expected = minimal and Flip(
            tuple(minimal["lexmin_set"]), str(minimal["new_prediction"]), True
        )
        assert flip == expected, case["name"]
        assert expected is None or len(expected.ranks) == minimal["size"]
