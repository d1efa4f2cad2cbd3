"""What is kept fits its bound, and what was not asked for longest goes first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_service.rerankers.vector_cache import VectorCache

VECTOR_BYTES = 16


def vectors(*numbers: int) -> Mapping[bytes, NDArray[np.float32]]:
    rows = np.array([[number] * 4 for number in numbers], dtype=np.float32)
    return {b"%d" % number: row for number, row in zip(numbers, rows, strict=True)}


@given(
    st.integers(0, 5 * VECTOR_BYTES),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40),
)
def test_the_last_used_are_kept_as_many_as_fit(
    bytes_max: int, steps: list[tuple[bool, int]]
) -> None:
    cache, used = VectorCache(bytes_max), list[int]()
    for puts, number in steps:
        if puts:
            cache.put(vectors(number))
            used = [*(each for each in used if each != number), number]
            used = used[len(used) - min(len(used), bytes_max // VECTOR_BYTES) :]
        elif cache.get([b"%d" % number]):
            used = [*(each for each in used if each != number), number]

        kept = cache.get(b"%d" % each for each in used)
        assert [kept[b"%d" % each].tolist() for each in used] == [[each] * 4 for each in used]
        assert not cache.get(b"%d" % each for each in range(10) if each not in used)


def test_a_row_does_not_hold_on_to_the_batch_it_came_in() -> None:
    cache, given = VectorCache(1000), vectors(1, 2)

    cache.put(given)

    assert given[b"1"].base is not None
    assert cache.get([b"1"])[b"1"].base is None
