"""The distance threshold beyond which a query is unlike everything stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import BadCoverage, TooFewItems
from visual_memory_index.votes.open_set import threshold

SCORES = st.lists(
    st.integers(0, 20).map(lambda tenth: tenth / 10) | st.floats(0, 2), min_size=1, max_size=30
)
NONE = np.array([], float)


@given(SCORES, st.integers(1, 99))
def test_the_threshold_is_the_least_score_that_keeps_enough(
    known: list[float], hundredths: int
) -> None:
    limit = threshold(np.array(known), hundredths / 100)

    keeps = [
        score
        for score in known
        if 100 * sum(each <= score for each in known) >= hundredths * len(known)
    ]
    assert limit == min(keeps)


def test_a_threshold_needs_a_known_query() -> None:
    with pytest.raises(TooFewItems):
        threshold(NONE)


def test_a_threshold_keeps_neither_all_nor_none() -> None:
    with pytest.raises(BadCoverage, match=r"1\.0"):
        threshold(np.ones(5), kept=1.0)
