"""Neighbour lists follow their rows, and what an edit touched is found anew."""

from __future__ import annotations

import numpy as np
import pytest

from visual_memory_index.lists import NeighborLists, list_bytes

KEYS = np.array([3, 5, 6, 9], dtype=np.int64)


def lists() -> NeighborLists:
    """Four rows on a line, each with its two nearest."""
    found = NeighborLists.unknown(2, KEYS)
    found.lists[:] = [[1, 2], [0, 2], [1, 3], [2, 1]]
    found.floors[:] = 0.5
    found.stale[:] = False
    return found


def test_rows_in_another_order_keep_their_lists() -> None:
    adapted = lists().adapted(KEYS[[2, 0, 3, 1]])

    assert not (adapted.stale | adapted.new).any()
    assert adapted.lists.tolist() == [[3, 2], [3, 0], [0, 3], [1, 0]]


def test_lists_that_held_what_left_are_stale_and_no_others() -> None:
    bigger = NeighborLists.unknown(1, np.arange(5, dtype=np.int64))
    bigger.lists[:] = [[1], [0], [3], [2], [3]]
    bigger.stale[:] = False

    adapted = bigger.adapted(np.array([0, 1, 3, 4]))

    assert not adapted.new.any()
    assert adapted.stale.tolist() == [False, False, True, False]
    assert adapted.lists[[0, 1, 3]].tolist() == [[1], [0], [2]]


def test_what_came_is_stale_and_new_until_it_was_held_against_the_others() -> None:
    adapted = lists().adapted(np.append(KEYS, 12))
    again = adapted.adapted(np.append(12, KEYS))

    assert adapted.new.tolist() == adapted.stale.tolist() == [False] * 4 + [True]
    assert again.new.tolist() == again.stale.tolist() == [True] + [False] * 4


@pytest.mark.parametrize("keys", [[3, 5], [3, 5, 6, 9, 20, 21, 22], [30, 31, 32, 33]])
def test_where_most_is_new_or_lists_are_shorter_all_is_stale(keys: list[int]) -> None:
    adapted = lists().adapted(np.array(keys))

    assert adapted.stale.all()
    assert not adapted.new.any()
    assert adapted.lists.shape == (len(keys), min(2, len(keys) - 1))


def test_what_is_kept_is_what_was_found() -> None:
    data = lists().to_bytes()
    kept = NeighborLists.from_bytes(data)

    for name in ("k", "keys", "lists", "floors", "stale", "new"):
        assert np.array_equal(getattr(kept, name), getattr(lists(), name)), name
    assert len(data) >= 4 * list_bytes(2)


@pytest.mark.parametrize("cut", [0, 1, 100, 700])
def test_what_is_cut_off_is_no_list(cut: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        NeighborLists.from_bytes(lists().to_bytes()[:cut])
