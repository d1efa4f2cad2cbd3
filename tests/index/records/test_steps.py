"""Work in steps gives what it gives at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.records.steps import ascending, equal, steps, to_json


@given(st.integers(0, 40), st.integers(1, 9))
def test_steps_are_all_things_once_in_order(count: int, size: int) -> None:
    parts = [[*range(count)][step] for step in steps(count, size)]

    assert [each for part in parts for each in part] == [*range(count)]
    assert all(len(part) == size for part in parts[:-1])
    assert all(0 < len(part) <= size for part in parts)


@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 2049, 9000])
def test_many_texts_are_sorted_written_and_compared_as_at_once(count: int) -> None:
    rng = np.random.default_rng(count)
    values = [f"é{number}" for number in rng.integers(0, 5000, count).tolist()]
    others = np.array([*values], object)
    others[::7] = "other"

    assert ascending(values) == ascending(np.array(values, object)) == sorted(values)
    assert to_json(values) == json.dumps(values)
    assert equal(np.array(values, object), others).tolist() == [
        value == other for value, other in zip(values, others, strict=True)
    ]
