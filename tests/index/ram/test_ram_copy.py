"""The copy in RAM applies changes row by row, and keeps no trace of removed entries."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.ram.changes import add, change

from visual_memory_index import unit_rows
from visual_memory_index.ram import ram_copy
from visual_memory_index.ram.ram_copy import Asked, RamCopy
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.distances import Distances, exact_distances
from visual_memory_index.rows.rows import Rows
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import ScannedIndex

QUERY = np.array([[1, 0]], np.float32)


def vectors(m: int) -> NDArray[np.float32]:
    angles = np.arange(m) * 0.01
    return unit_rows(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))


def ram(*ids: str, label: str = "cat") -> RamCopy:
    copy = RamCopy(2, ScannedIndexes())
    copy.add(np.arange(1, 1 + len(ids)), ids, [label] * len(ids), vectors(len(ids)))
    return copy


def found(copy: RamCopy, k: int = 9) -> list[str]:
    rows = copy.vectors.candidates(QUERY, [k], [np.arange(0)])
    (near,) = copy.find([Asked(QUERY, k)], rows)
    ids: list[str] = near.neighbors.ids[0].tolist()
    return ids


def keys(copy: RamCopy, ids: Iterable[str]) -> list[int]:
    pruned = copy.pruned
    rows = dict(zip(copy.columns()[0], copy.keys_of_rows().tolist(), strict=True))
    rows |= dict(zip(pruned.ids(np.arange(len(pruned))), pruned.keys.tolist(), strict=True))
    return [rows[id] for id in ids]


def test_added_entries_are_found_with_those_before() -> None:
    copy = ram("a")

    copy.add(np.array([2, 3]), ["b", "c"], ["dog", "dog"], vectors(2))

    assert (found(copy), len(copy)) == (["a", "b", "c"], 3)
    assert copy.labels_of(["b", "d"]).tolist() == ["dog", None]
    assert copy.label_counts == {"cat": 1, "dog": 2}


def test_a_pruned_entry_that_is_added_again_votes_with_its_new_label() -> None:
    copy = ram("a", "b")
    change(copy, pruned=["a"])

    add(copy, [3], ["a"], ["dog"], vectors(1))

    assert found(copy) == ["a", "b"]
    assert (len(copy.pruned), copy.label_counts) == (0, {"cat": 1, "dog": 1})


@pytest.mark.parametrize(("dimension", "rows"), [(8, 4096), (768, 2730), (16_384, 128)])
def test_of_long_vectors_few_are_changed_at_once(dimension: int, rows: int) -> None:
    assert RamCopy(dimension, ScannedIndexes(1))._part_size() == rows


def test_the_pruned_are_counted_by_label() -> None:
    copy = ram("a", "b", "c", "d")

    change(copy, pruned=["a", "b", "d"])
    change(copy, relabelled={"b": "dog"})
    assert (copy.pruned_counts, copy.label_counts) == ({"cat": 2, "dog": 1}, {"cat": 1})

    change(copy, removed=["b"])
    add(copy, [9], ["a"], ["owl"], vectors(1))
    assert (copy.pruned_counts, copy.label_counts) == ({"cat": 1}, {"cat": 1, "owl": 1})
    assert (keys(copy, ["a", "c", "d"]), found(copy)) == ([9, 3, 4], ["a", "c"])


def test_voting_and_pruned_entries_get_the_labels_that_are_theirs() -> None:
    copy = ram("a", "b", "c", "d")
    change(copy, pruned=["b", "d"])

    change(copy, relabelled={"a": "ant", "b": "bee", "c": "cow", "d": "doe"})

    assert copy.labels_of(["a", "b", "c", "d"]).tolist() == ["ant", "bee", "cow", "doe"]


def test_removing_leaves_the_others_with_their_keys() -> None:
    copy = ram("a", "b", "c", "d")

    change(copy, removed=["a", "c"])

    assert found(copy) == ["b", "d"]
    assert keys(copy, ["b", "d"]) == [2, 4]
    assert copy.label_counts == {"cat": 2}


def test_a_replaced_entry_moves_to_its_new_row_and_the_old_one_is_gone() -> None:
    copy = ram("a", "b", "c")

    add(copy, [4, 5], ["c", "a"], ["dog", "cat"], vectors(2)[::-1])

    assert len(copy) == 3
    assert found(copy) == ["a", "b", "c"]
    assert keys(copy, ["a", "b", "c"]) == [5, 2, 4]
    assert copy.label_counts == {"cat": 2, "dog": 1}
    assert isinstance(copy.vectors, ScannedIndex)
    assert isinstance(copy.vectors._rows, Blocks)
    assert not copy.vectors._rows._blocks[0][3:5].any()


def test_the_last_entry_of_a_label_takes_the_label_along() -> None:
    copy = ram("a", "b")

    change(copy, relabelled={"a": "dog"})
    change(copy, relabelled={"a": "dog"})
    change(copy, removed=["b"])

    assert copy.label_counts == {"dog": 1}
    assert [*filter(None, copy._columns._labels._texts)] == ["dog"]


def test_rows_are_found_by_key_and_by_id() -> None:
    copy = ram("a", "b", "c")
    change(copy, removed=["a"])

    assert copy.rows_of_keys(np.array([2, 77, 3])).tolist() == [1, 0]
    assert copy.rows_of_ids(["c", "nobody", "c"]).tolist() == [0]


def test_equal_distances_go_by_id_in_byte_order() -> None:
    ids = ["b", "a", "é", "z", "\uffff", "😀", "B", "aa"]
    copy = RamCopy(2, ScannedIndexes())
    copy.add(np.arange(8), ids, ["x"] * 8, np.repeat(QUERY, 8, axis=0))

    assert found(copy) == sorted(ids, key=str.encode)
    assert found(copy, k=3) == ["B", "a", "aa"]


def test_labels_that_are_equal_are_kept_once() -> None:
    copy = ram("a", "b", label="".join(["c", "at"]))
    copy.add(np.array([3]), ["c"], ["".join(["ca", "t"])], vectors(1))

    assert len({id(label) for label in copy.columns()[1]}) == 1


@pytest.mark.parametrize("m", [1023, 1024, 1025, 5000])
def test_columns_grow_with_the_entries(m: int) -> None:
    copy = ram(*(f"{number:04}" for number in range(m)))

    assert keys(copy, ["0000", f"{m - 1:04}"]) == [1, m]
    assert copy.label_counts == {"cat": m}


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["cat", "dog", ""]))))
def test_a_dict_would_hold_the_same(steps: list[tuple[str, str]]) -> None:
    copy, model = RamCopy(2, ScannedIndexes()), dict[str, tuple[int, str]]()

    for key, (id, label) in enumerate(steps):
        if not label:
            change(copy, removed=[id] if id in model else [])
            model.pop(id, None)
            continue
        add(copy, [key], [id], [label], vectors(1))
        model[id] = (key, label)

    assert sorted(found(copy)) == sorted(model)
    assert keys(copy, model) == [key for key, _ in model.values()]
    labels = [label for _, label in model.values()]
    assert copy.label_counts == {label: labels.count(label) for label in labels}


def crowd(m: int, d: int, *, spread: float) -> RamCopy:
    """Return a copy of ``m`` nearly equal rows, whose ids are in random order."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=d) + spread * rng.normal(size=(m, d))
    copy = RamCopy(d, ScannedIndexes())
    ids = [f"{at:04}" for at in rng.permutation(m)]
    copy.add(np.arange(m), ids, ["cat"] * m, unit_rows(rows.astype(np.float32)))
    return copy


def nearest_others(copy: RamCopy, row: int, k: int) -> set[int]:
    """Return the k rows nearest to a row, by exact distance and id."""
    everyone = np.arange(len(copy))
    distances = exact_distances(copy.vectors.gather(everyone)[row], copy.vectors.gather(everyone))
    distances[row] = np.inf
    return set(np.lexsort((copy.columns()[0], distances))[:k].tolist())


@pytest.mark.parametrize("spread", [0, 1e-8, 1e-7, 1e-6, 1e-3, 1])
@pytest.mark.parametrize("k", [1, 3, 40, 58, 59])
def test_the_nearest_others_are_those_by_exact_distance_and_id(k: int, spread: float) -> None:
    copy = crowd(60, 16, spread=spread)

    lists, _, resolved = copy.nearest_others(np.arange(60), k)

    assert resolved.all()
    assert [set(near) for near in lists.tolist()] == [
        nearest_others(copy, row, k) for row in range(60)
    ]


def test_of_rows_that_are_all_but_equal_some_are_resolved_at_a_time() -> None:
    copy, left, times = crowd(2000, 64, spread=1e-7), np.arange(200), 0

    while len(left):
        lists, _, resolved = copy.nearest_others(left, 3)
        assert resolved.any()
        for at in np.flatnonzero(resolved)[::20]:
            assert set(lists[at].tolist()) == nearest_others(copy, left[at], 3)
        left, times = left[~resolved], times + 1

    assert times > 1


def test_rows_that_are_equal_are_resolved_together() -> None:
    copy = crowd(2000, 64, spread=0)

    lists, _, resolved = copy.nearest_others(np.arange(1000), 3)

    assert resolved.all()
    for row in range(0, 1000, 100):
        assert set(lists[row].tolist()) == nearest_others(copy, row, 3)


def test_distances_of_very_many_candidates_are_measured_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = ram(*map(str, range(40)))
    queries, k = vectors(9), 7
    candidates = copy.vectors.candidates(queries, [k] * 9, [np.arange(0)] * 9)
    asked = [Asked(queries[:2], k), Asked(queries[2:], k)]
    expected, counts = copy.find(asked, candidates), list[int]()
    distances = copy.vectors.distances

    def counted(queries: NDArray[np.float32], numbers: Rows, rows: Rows) -> Distances:
        counts.append(len(rows))
        return distances(queries, numbers, rows)

    monkeypatch.setattr(ram_copy, "MEASURED_AT_ONCE", 20)
    monkeypatch.setattr(copy.vectors, "distances", counted)
    found = copy.find(asked, candidates)

    assert len(counts) > 3
    assert max(counts) < 20 + max(map(len, candidates))
    for here, there in zip(found, expected, strict=True):
        assert here.rows.tolist() == there.rows.tolist()
        assert here.neighbors.distances.tobytes() == there.neighbors.distances.tobytes()
