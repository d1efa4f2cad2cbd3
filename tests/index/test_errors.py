"""Refusals name as many ids as one can read."""

from __future__ import annotations

import pytest

from visual_memory_index import UnknownEntries


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (["a"], "a"),
        ([f"{n}" for n in range(10)], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ([f"{n}" for n in range(12)], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"),
        (["漢" * 85] * 10, f"{'漢' * 85}, {'漢' * 85} and 8 more"),
        (["a" * 600] * 2, f"{'a' * 600} and 1 more"),
    ],
)
def test_the_first_ids_are_named_within_half_a_kibibyte(ids: list[str], shown: str) -> None:
    assert str(UnknownEntries(ids)) == f"No entry has these ids, and nothing was changed: {shown}."
