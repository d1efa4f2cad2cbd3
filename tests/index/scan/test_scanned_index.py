"""Few candidates remain, and score bounds are as the errors say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.conformance.implementations import (
    SMALL_BLOCK,
    scanned_index,
)
from tests.index.crowds import crowds

from visual_memory_index import unit_rows
from visual_memory_index.codes import plane_scan
from visual_memory_index.codes.bound import float32_error
from visual_memory_index.scan.scanned_index import ScannedIndex


def filled(index: ScannedIndex, vectors: NDArray[np.float32]) -> ScannedIndex:
    index.append(vectors)
    return index


@settings(max_examples=50)
@given(crowds(), st.booleans())
def test_every_row_is_affected_that_a_vector_scores_the_bound_of(
    vectors: NDArray[np.float32], small: bool
) -> None:
    index = filled(scanned_index(vectors.shape[1], SMALL_BLOCK if small else None), vectors)
    asked = vectors[::3]
    best = (vectors.astype(np.float64) @ asked.astype(np.float64).T).max(axis=1)
    error = float32_error(vectors.shape[1])

    for shift, expected in ((-3 * error, np.True_), (3 * error, np.False_)):
        score_bounds = (best + shift).astype(np.float32)
        affected = index.affected_rows(asked, score_bounds)
        beyond = (score_bounds >= 1) | ((score_bounds <= -1) & ~expected)  # all as near, or as far
        assert (affected == expected)[~beyond].all()


def test_a_crowd_that_many_vectors_reach_is_affected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane_scan, "ROOM_MIN", 16)
    monkeypatch.setattr(plane_scan, "KEPT_MAX", 64)
    crowd = np.repeat(unit_rows(np.ones((1, 5), np.float32)), 300, axis=0)
    index = filled(scanned_index(5), np.concatenate([crowd, -crowd[:40]]))

    affected = index.affected_rows(crowd, np.zeros(340, np.float32))

    assert affected.tolist() == [True] * 300 + [False] * 40


def test_few_candidates_are_left_where_vectors_are_apart() -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32))

    (found,) = filled(scanned_index(64), vectors).candidates(vectors[:1], [50], [np.arange(0)])

    assert 50 <= len(found) <= 90


def test_a_vector_without_length_as_in_a_damaged_file_is_a_candidate_of_every_query() -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32))
    vectors[[3, 77]] = [[0.0], [np.nan]]

    (found,) = filled(scanned_index(64), vectors).candidates(vectors[:1], [5], [np.arange(0)])

    assert {3, 77} <= set(found)
    assert len(found) < 100
