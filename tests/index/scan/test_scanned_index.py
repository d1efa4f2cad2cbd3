"""Few candidates are left, and a floor is where the bound says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.conformance.implementations import SmallBlocks
from tests.index.crowds import crowds

from visual_memory_index import unit_rows
from visual_memory_index.scan.scanned_index import ScannedIndex


def filled(index: ScannedIndex, vectors: NDArray[np.float32]) -> ScannedIndex:
    index.append(vectors)
    return index


@settings(max_examples=50)
@given(crowds(), st.booleans())
def test_every_row_is_reached_that_a_vector_scores_the_floor_of(
    vectors: NDArray[np.float32], small: bool
) -> None:
    new_index = SmallBlocks if small else ScannedIndex
    index = filled(new_index(vectors.shape[1]), vectors)
    asked = vectors[::3]
    best = (vectors.astype(np.float64) @ asked.astype(np.float64).T).max(axis=1)
    error = index.bound.error

    for shift, expected in ((-2 * error, True), (2 * error, False)):
        floors = (best + shift).astype(np.float32)
        assert (index.reached(asked, floors) == expected).all()


def test_few_candidates_are_left_where_vectors_are_apart() -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32))

    (found,) = filled(ScannedIndex(64), vectors).candidates(vectors[:1], [50], [np.arange(0)])

    assert 50 <= len(found) <= 55
