"""KNN-Shapley values (Jia et al., 2019), over all permutations in golden_shapley.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.index.in_rows import in_rows

from visual_memory_index import unit_rows
from visual_memory_index.curation.valuation import Valuation, shapley
from visual_memory_index.scan.ranking import rank_all

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "spec" / "golden_shapley.json"


@pytest.fixture(scope="module")
def golden() -> Any:
    if not GOLDEN.exists():
        pytest.skip(f"the golden values are not at {GOLDEN}")
    return json.loads(GOLDEN.read_text())


def test_there_are_cases(golden: Any) -> None:
    assert len(golden["cases"]) == 7


def test_each_entry_has_the_value_of_all_permutations(golden: Any) -> None:
    for case in golden["cases"]:
        matches = np.array(case["labels_nearest_first"]) == case["query_label"]

        values = shapley(matches, case["K"])

        assert values == pytest.approx(case["shapley"], abs=1e-11), case["name"]
        assert values.sum() == pytest.approx(case["utility_full"], abs=1e-12), case["name"]


def test_two_queries_rank_and_value_a_memory(golden: Any) -> None:
    case = golden["multi_query"]
    rows = unit_rows(np.array(case["points"], np.float32))
    queries = unit_rows(np.array([query["query"] for query in case["queries"]], np.float32))
    valuation = Valuation(np.array(case["labels"], object), case["K"])

    order = rank_all(queries, in_rows(rows), np.array([*"01234"], object).__getitem__)
    valuation.add(order, [query["label"] for query in case["queries"]])

    assert order.tolist() == [query["order"] for query in case["queries"]]
    assert valuation.means() == pytest.approx(case["mean_shapley"], abs=1e-11)
