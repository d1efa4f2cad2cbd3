"""Bits of rows are sets of rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.rows.rows import RowBits, distinct


def bits(rows: set[int], size: int) -> RowBits:
    return RowBits.of_rows(np.array(sorted(rows), dtype=np.intp), size)


@given(st.integers(0, 300), st.data())
def test_bits_are_the_sets_that_python_makes(size: int, data: st.DataObject) -> None:
    some = st.sets(st.integers(0, size - 1)) if size else st.just(set[int]())
    one, other, gone = (data.draw(some) for _ in range(3))
    everyone = set(range(size))
    ours, theirs = bits(one, size), bits(other, size)

    for found, expected in (
        (ours, one),
        (RowBits.of_mask(ours.mask()), one),
        (RowBits.every(size), everyone),
        (ours & theirs, one & other),
        (ours | theirs, one | other),
        (~ours, everyone - one),
        (ours.without(np.array(sorted(gone), dtype=np.intp)), one - gone),
    ):
        assert found.rows().tolist() == sorted(expected)
        assert (found.count, found.size) == (len(expected), size)
        assert found.mask().shape == (size,)
    assert ours.rows().tolist() == sorted(one)  # unchanged
    least = max(one, default=-1) + 1
    fewer = ours.of_first(data.draw(st.integers(least, size)))
    assert fewer.rows().tolist() == sorted(one)
    assert (~fewer).count == fewer.size - len(one)


@given(st.lists(st.integers(-5, 5)))
def test_distinct_numbers_are_ascending(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))
