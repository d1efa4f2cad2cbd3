"""The pruning of Geirhos et al., 2024, and the prototypes of Sorscher et al., 2022, recomputed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import unit_rows
from visual_memory_index.curation.pruning import (
    misleading_counts,
    nearest_prototypes,
    prune_by_difficulty,
    prune_misleading,
)
from visual_memory_index.votes.voting import reliability

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "spec"


def golden(name: str) -> Any:
    if not (SPEC / name).exists():
        pytest.skip(f"the golden numbers are not at {SPEC / name}")
    return json.loads((SPEC / name).read_text())


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    found: list[Any] = golden("golden_pruning.json")["cases"]
    return found


@pytest.fixture(scope="module")
def prototypes() -> Any:
    return golden("golden_uncertainty.json")["prototypes"]


def counts(case: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return misleading_counts(np.array(case["neighbours"]), np.array(case["labels"]))


def units(points: Any) -> NDArray[np.float32]:
    return unit_rows(np.array(points, np.float32))


def test_there_are_cases(cases: list[Any]) -> None:
    assert [len(case["labels"]) for case in cases] == [12, 12, 12, 13]


def test_an_entry_misleads_as_often_as_in_the_specification(cases: list[Any]) -> None:
    for case in cases:
        v, _ = counts(case)

        assert v.tolist() == case["v"], case["name"]
        assert v.sum() == case["total_wrong"], case["name"]


def test_a_reliability_is_the_weight_of_the_specification(cases: list[Any]) -> None:
    for case in cases:
        weights = reliability(np.array(case["v"]))

        assert weights == pytest.approx(case["soft_weights"], abs=1e-12), case["name"]


def test_hard_pruning_takes_the_entries_of_the_specification(cases: list[Any]) -> None:
    for case in cases:
        pruned = prune_misleading(*counts(case), threshold=case["threshold"])

        assert pruned.tolist() == case["hard_pruned"], case["name"]


def test_the_nearest_prototype_is_that_of_the_specification(prototypes: Any) -> None:
    nearest, distances = nearest_prototypes(
        units(prototypes["points"]), units(prototypes["prototypes"])
    )

    assert nearest.tolist() == prototypes["nearest"]
    assert distances == pytest.approx(prototypes["distance"], abs=2e-7)


@pytest.mark.parametrize("keep", ["easy", "hard"])
def test_prototype_pruning_keeps_the_four_of_the_specification(keep: str, prototypes: Any) -> None:
    ids = np.array([str(row) for row in range(7)], object)

    pruned = prune_by_difficulty(
        np.array(prototypes["distance"]), ids, np.zeros(7, int), kept=4, keep=keep
    )

    kept = prototypes["keep_4_easiest" if keep == "easy" else "keep_4_hardest"]
    assert sorted([*pruned.tolist(), *kept]) == list(range(7))
