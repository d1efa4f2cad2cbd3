from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from visual_memory_benchmarks.metrics.difficulty import difficulty


def test_pictures_are_trivial_impossible_or_neither() -> None:
    found = difficulty(np.array([[1, 0, 1, 0], [1, 0, 0, 1]], bool))

    assert {name: mask.tolist() for name, mask in found.items()} == {
        "trivial": [True, False, False, False],
        "impossible": [False, True, False, False],
        "rest": [False, False, True, True],
    }


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 20))))
def test_it_is_the_number_of_right_answers_that_decides(correct: np.ndarray) -> None:
    found = difficulty(correct)

    for picture in range(correct.shape[1]):
        right = sum(bool(each[picture]) for each in correct)
        assert found["trivial"][picture] == (right == len(correct))
        assert found["impossible"][picture] == (right == 0)
        assert found["rest"][picture] == (0 < right < len(correct))
