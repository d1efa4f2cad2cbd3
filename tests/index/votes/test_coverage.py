"""A rank is exact for a coverage as it is written, and there is one only between 0 and 1."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import BadCoverage
from visual_memory_index.votes.coverage import rank_at


@given(st.integers(1, 999), st.integers(0, 10_000))
def test_a_rank_is_that_of_whole_numbers(thousandths: int, count: int) -> None:
    rank = rank_at(thousandths / 1000, count)

    assert rank == -(-thousandths * count // 1000)


def test_a_rank_is_not_one_too_high_where_float64_would_make_it_so() -> None:
    assert math.ceil(0.55 * 100) == 56
    assert rank_at(0.55, 100) == 55


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, math.inf, math.nan])
def test_a_coverage_outside_of_0_to_1_is_refused_with_its_value(coverage: float) -> None:
    with pytest.raises(BadCoverage, match=f"but {coverage} was") as refusal:
        rank_at(coverage, 10)

    assert refusal.value.coverage is coverage
