"""Few candidates remain, and score bounds are as the errors say."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.conformance.implementations import (
    SMALL_BLOCK,
    coded_index,
    faiss_index,
)
from tests.index.crowds import crowds

from visual_memory_index import unit_rows
from visual_memory_index.scan.bound import float32_error
from visual_memory_index.scan.scanned_index import ScannedIndex


def coarse(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round rows whose first number is positive to one decimal; leave other rows."""
    return np.where(vectors[:, :1] > 0, np.round(vectors, 1), vectors)


def filled(index: ScannedIndex, vectors: NDArray[np.float32]) -> ScannedIndex:
    index.append(vectors)
    return index


@settings(max_examples=50)
@given(crowds(), st.booleans())
def test_every_row_is_affected_that_a_vector_scores_the_bound_of(
    vectors: NDArray[np.float32], small: bool
) -> None:
    index = filled(faiss_index(vectors.shape[1], SMALL_BLOCK if small else None), vectors)
    asked = vectors[::3]
    best = (vectors.astype(np.float64) @ asked.astype(np.float64).T).max(axis=1)
    error = float32_error(vectors.shape[1])

    for shift, expected in ((-2 * error, True), (2 * error, False)):
        score_bounds = (best + shift).astype(np.float32)
        assert (index.affected_rows(asked, score_bounds) == expected).all()


def test_few_candidates_are_left_where_vectors_are_apart() -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32))

    (found,) = filled(faiss_index(64), vectors).candidates(vectors[:1], [50], [np.arange(0)])

    assert 50 <= len(found) <= 55


def test_rows_with_small_errors_leave_few_candidates_beside_one_with_a_large_error() -> None:
    """A single bound for all would have to be the largest, and keep almost every row."""
    vectors = unit_rows(np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32))
    vectors[:, 0] = -abs(vectors[:, 0])  # these are scored as they are
    vectors[7, 0] *= -1
    index = filled(coded_index("coarse", coarse, 64), vectors)

    found = index.candidates_among(vectors[:1], 20, np.arange(500))[0]

    assert 20 <= len(found) <= 22
