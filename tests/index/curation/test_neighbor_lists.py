"""Neighbour lists move with their rows, and lists affected by an edit are recomputed."""

from __future__ import annotations

import numpy as np
import pytest

from visual_memory_index.curation.neighbor_lists import COMPARED_MAX, NeighborLists

KEYS = np.array([3, 5, 6, 9], dtype=np.int64)


def lists() -> NeighborLists:
    """Four rows on a line, each with its two nearest."""
    found = NeighborLists.unknown(2, KEYS)
    found.lists[:] = [[1, 2], [0, 2], [1, 3], [2, 1]]
    found.score_bounds[:] = 0.5
    found.stale[:] = False
    return found


def followed(known: NeighborLists, keys: list[int]) -> NeighborLists:
    known.follow(np.array(keys, dtype=np.int64))
    return known


def test_rows_in_another_order_keep_their_lists() -> None:
    known = followed(lists(), [6, 3, 9, 5])

    assert known.left == (0, 0)
    assert known.lists.tolist() == [[3, 2], [3, 0], [0, 3], [1, 0]]


def test_lists_that_held_what_left_are_stale_and_no_others() -> None:
    bigger = NeighborLists.unknown(1, np.arange(5, dtype=np.int64))
    bigger.lists[:] = [[1], [0], [3], [2], [3]]
    bigger.stale[:] = False

    followed(bigger, [0, 1, 3, 4])

    assert not bigger.new.any()
    assert bigger.stale.tolist() == [False, False, True, False]
    assert bigger.lists[[0, 1, 3]].tolist() == [[1], [0], [2]]
    assert bigger.known().tolist() == [0, 1, 4]


def test_what_came_is_stale_and_new_until_it_was_held_against_the_others() -> None:
    known = followed(lists(), [3, 5, 6, 9, 12])
    assert known.new.tolist() == known.stale.tolist() == [False] * 4 + [True]

    followed(known, [12, 3, 5, 6, 9])
    assert known.new.tolist() == known.stale.tolist() == [True] + [False] * 4


@pytest.mark.parametrize("most", [1, 2 * COMPARED_MAX])
def test_after_many_moves_each_list_holds_whom_it_held(most: int) -> None:
    rng = np.random.default_rng(most)
    keys = list(range(300))
    known = NeighborLists.unknown(3, np.array(keys))
    known.lists[:] = [rng.choice(np.delete(np.arange(300), row), 3, False) for row in range(300)]
    known.stale[:] = False
    held = {key: {keys[other] for other in known.lists[key]} for key in keys}

    for _ in range(15):
        for _ in range(rng.integers(1, most + 1)):
            keys[rng.integers(len(keys))] = keys[-1]
            keys.pop()
        keys += [max(held) + 1] * bool(rng.integers(2))
        held.setdefault(keys[-1], set())
        followed(known, keys)
        there = set(keys)
        for row, key in enumerate(keys):
            assert known.stale[row] == (not held[key] or not held[key] <= there)
            assert known.stale[row] or {keys[other] for other in known.lists[row]} == held[key]
        held = {key: held[key] if held[key] <= there else set() for key in keys}


@pytest.mark.parametrize("keys", [[3, 5], [3, 5, 6, 9, 20, 21, 22], [30, 31, 32, 33]])
def test_where_most_is_new_or_lists_are_shorter_all_is_stale(keys: list[int]) -> None:
    known = followed(lists(), keys)

    assert known.left == (0, len(keys))
    assert known.lists.shape == (len(keys), min(2, len(keys) - 1))


def test_what_is_kept_is_what_was_found() -> None:
    data = lists().to_bytes()
    kept = NeighborLists.from_bytes(data)

    for name in ("k", "keys", "lists", "score_bounds", "stale", "new"):
        assert np.array_equal(getattr(kept, name), getattr(lists(), name)), name
    assert len(data) >= lists().nbytes


@pytest.mark.parametrize("cut", [0, 1, 100, 700])
def test_what_is_cut_off_is_no_list(cut: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        NeighborLists.from_bytes(lists().to_bytes()[:cut])
