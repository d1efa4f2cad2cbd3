"""Columns hold by row what dicts and lists would hold, and nothing of what was removed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from visual_memory_index.ram import columns as module
from visual_memory_index.ram.columns import Columns, size_of
from visual_memory_index.ram.labels import factorized
from visual_memory_index.rows import row_kernels
from visual_memory_index.rows.rows import moves

HASHES: list[Callable[[str], int]] = [hash, lambda id: 7, lambda id: -len(id) % 3 - 1]
PREFIXES = ["", "img/2026-11-29/", "é" * 90, "0" * 200]


class Row(NamedTuple):
    key: int
    id: str
    label: str


def fits(id: str) -> bool:
    return 1 <= len(id.encode()) <= 256


ids = st.builds(
    str.__add__, st.sampled_from(PREFIXES), st.text(st.characters(codec="utf-8"), max_size=256)
).filter(fits)
labels = st.sampled_from(["cat", "dog", "owl", "Käuzchen", "😀"])


class ColumnsMachine(RuleBasedStateMachine):
    """Columns beside a list of rows: the oracle is found by looking through the list."""

    @initialize(hash=st.sampled_from(HASHES))
    def begin(self, hash: Callable[[str], int]) -> None:
        self.columns = Columns(hash)
        self.rows: list[Row] = []
        self.past: list[str] = []
        self.next_key = 1

    def add(self, new: list[tuple[str, str]]) -> None:
        present = {row.id for row in self.rows}
        come = {id: label for id, label in new if id not in present}
        keys = range(self.next_key, self.next_key + len(come))
        self.columns.reserve(len(come), size_of([*come]))
        self.columns.append(keys, [*come], [*come.values()])
        self.rows += map(Row, keys, come.keys(), come.values())
        self.next_key = keys.stop

    @rule(new=st.lists(st.tuples(ids, labels), max_size=20))
    def add_some(self, new: list[tuple[str, str]]) -> None:
        self.add(new)

    @rule(count=st.sampled_from([30, 200]), length=st.integers(5, 60))
    def add_many(self, count: int, length: int) -> None:
        self.add([(f"{self.next_key + at:0{length}}", f"{at % 30}") for at in range(count)])

    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        if self.past:
            again = data.draw(st.lists(st.sampled_from(self.past), max_size=5))
            self.add([(id, "again") for id in again])

    @rule(part=st.sampled_from([0, 1, 5, 0.1, 0.5, 1.0]), seed=st.integers(0, 1 << 32))
    def remove(self, part: float, seed: int) -> None:
        count = len(self.rows)
        size = int(part * count) if isinstance(part, float) else min(count, part)
        gone = np.sort(np.random.default_rng(seed).permutation(count)[:size])
        self.past += [self.rows[row].id for row in gone[:5]]

        self.columns.remove(gone)

        for start, end in zip(*moves(count, gone), strict=True):
            self.rows[end] = self.rows[start]
        del self.rows[count - size :]

    @rule(data=st.data())
    def relabel(self, data: st.DataObject) -> None:
        if self.rows:
            some = st.lists(st.integers(0, len(self.rows) - 1), unique=True, max_size=5)
            rows = data.draw(some)
            new = [data.draw(labels) for _ in rows]
            self.columns.relabel(np.array(rows, np.intp), factorized(new))
            for row, label in zip(rows, new, strict=True):
                self.rows[row] = self.rows[row]._replace(label=label)

    @rule()
    def compact(self) -> None:
        self.columns.compact()

    @invariant()
    def columns_hold_the_rows(self) -> None:
        everyone = np.arange(len(self.rows))
        columns = self.columns
        held = zip(columns.keys, columns.ids(everyone), columns.labels(everyone), strict=True)

        assert len(columns) == len(self.rows)
        assert [Row(*row) for row in held] == self.rows
        assert columns.label_counts == Counter(row.label for row in self.rows)
        some = everyone[::3]
        assert columns.count_labels(some) == Counter(self.rows[row].label for row in some)

    @invariant()
    def rows_are_found(self) -> None:
        row_of = {row.id: at for at, row in enumerate(self.rows)}
        wanted = [*self.past[-9:], *(row.id for row in self.rows[::-1]), "nobody", *self.past[:1]]
        assert self.columns.rows_of_ids(wanted).tolist() == [row_of.get(id, -1) for id in wanted]
        keys = np.array([*(row.key for row in self.rows[::-1]), self.next_key], np.int64)
        assert self.columns.rows_of_keys(keys).tolist() == [*range(len(self.rows))[::-1], -1]

    @invariant()
    def nothing_else_is_held(self) -> None:
        arrays, count = self.columns._arrays, len(self.rows)
        held = np.zeros(len(arrays.texts), bool)
        for start, length in zip(arrays.starts[:count], arrays.lengths[:count], strict=True):
            assert not held[start : start + length].any()
            held[start : start + length] = True
        assert not arrays.texts[~held].any()
        for column in arrays.by_row:
            assert not column[count:].any()
        for cells in (arrays.by_id, arrays.by_key):
            assert sorted(~cells[cells < 0]) == [*range(count)]
            assert not cells[cells > 0].any()
        texts = filter(None, self.columns._labels._texts)
        assert sorted(texts) == sorted({row.label for row in self.rows})


def test_columns_hold_what_dicts_and_lists_would_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_ROWS", 4)  # so that a few rows are many
    monkeypatch.setattr(module, "FIRST_BYTES", 64)
    run_state_machine_as_test(
        ColumnsMachine,
        settings=settings(max_examples=50, stateful_step_count=30, deadline=None),
    )


def filled(count: int, hash: Callable[[str], int] = hash) -> tuple[Columns, list[str]]:
    columns, ids = Columns(hash), [f"{number:026}" for number in range(count)]
    columns.reserve(len(ids), size_of(ids))
    columns.append(range(count), ids, ["cat"] * count)
    return columns, ids


@pytest.mark.parametrize("length", [26, 36, 39])
def test_rows_that_were_expected_are_not_copied_as_they_come(length: int) -> None:
    columns, ids = Columns(), [f"{number}".zfill(length) for number in range(5000)]
    columns.expect(5000)
    keys = columns._arrays.keys

    for start in range(0, 5000, 100):
        columns.reserve(len(ids[start : start + 100]), size_of(ids[start : start + 100]))
        columns.append(range(start, start + 100), ids[start : start + 100], ["cat"] * 100)

    assert columns._arrays.keys is keys
    assert columns.rows_of_ids(ids).tolist() == list(range(5000))


def test_rows_that_were_expected_keep_their_room_whatever_ids_they_have() -> None:
    columns, ids = Columns(), [f"{number:0100}" for number in range(5000)]
    columns.expect(5000)

    for start in range(0, 5000, 100):
        columns.reserve(len(ids[start : start + 100]), size_of(ids[start : start + 100]))
        columns.append(range(start, start + 100), ids[start : start + 100], ["cat"] * 100)
        assert len(columns._arrays.keys) == 5000

    assert columns.rows_of_ids(ids).tolist() == list(range(5000))


@pytest.mark.parametrize("expected", [0, 3, 5000])
def test_rows_that_are_there_stay_when_others_are_expected(expected: int) -> None:
    columns, ids = Columns(), [f"{number:090}" for number in range(4000)]
    columns.reserve(len(ids), size_of(ids))
    columns.append(range(4000), ids, ["cat"] * 4000)
    columns.remove(np.arange(2000))

    columns.expect(expected)

    assert sorted(columns.ids(np.arange(2000))) == ids[2000:]
    assert sorted(columns.rows_of_ids(ids[2000:])) == list(range(2000))


def test_room_for_rows_that_are_gone_is_not_kept_when_longer_ids_come() -> None:
    columns, short = Columns(), [f"{number:05}" for number in range(30_000)]
    columns.expect(30_000)
    columns.reserve(len(short), size_of(short))
    columns.append(range(30_000), short, ["cat"] * 30_000)
    columns.remove(np.arange(3000, 30_000))

    long = [f"{number:0900}" for number in range(3000)]
    for start in range(0, 3000, 100):
        columns.reserve(len(long[start : start + 100]), size_of(long[start : start + 100]))
        keys = range(40_000 + start, 40_100 + start)
        columns.append(keys, long[start : start + 100], ["cat"] * 100)

    assert len(columns._arrays.keys) <= 2 * len(columns)


def size(columns: Columns) -> int:
    return sum(array.nbytes for array in columns._arrays)


def test_what_removed_rows_took_is_given_back() -> None:
    columns, _ = filled(100_000)
    before = size(columns)

    columns.remove(np.arange(0, 100_000, 2))

    assert size(columns) <= 0.67 * before  # with room for 50,000 further rows, as before


def test_few_removed_rows_leave_the_arrays_where_they_are() -> None:
    columns, _ = filled(100_000)
    arrays = columns._arrays

    columns.remove(np.arange(1000))
    columns.compact()

    assert columns._arrays is arrays


def test_rows_that_come_and_go_take_no_more_and_more() -> None:
    columns, _ = filled(10_000)
    before = size(columns)

    for turn in range(1, 31):
        columns.remove(np.arange(5000))
        new = [f"{turn:06}{number:020}" for number in range(5000)]
        columns.compact()
        columns.reserve(len(new), size_of(new))
        columns.append(range(10_000 * turn, 10_000 * turn + 5000), new, ["cat"] * 5000)

    assert size(columns) <= 1.5 * before


@pytest.mark.parametrize("count", [1, 1000, 50_000])
def test_rows_for_which_room_was_made_need_no_other_arrays(count: int) -> None:
    columns, _ = filled(3000)
    columns.remove(np.arange(500))
    new = [f"é{number}" for number in range(count)]

    columns.reserve(len(new), size_of(new))
    arrays = columns._arrays
    for start in range(0, count, 700):
        part = new[start : start + 700]
        columns.append(range(5000 + start, 5000 + start + len(part)), part, ["cat"] * len(part))

    assert columns._arrays is arrays
    assert columns.rows_of_ids(new).tolist() == [*range(2500, 2500 + count)]


def test_a_large_removal_leaves_the_room_that_was_made() -> None:
    columns, _ = filled(20_000)
    new = [f"é{number}" for number in range(9000)]

    columns.reserve(len(new), size_of(new))
    before = columns._arrays
    columns.remove(np.arange(19_000))
    after = columns._arrays
    columns.append(range(20_000, 29_000), new, ["cat"] * 9000)

    assert before is not after
    assert after is columns._arrays
    assert np.sort(columns.rows_of_ids(new)).tolist() == [*range(1000, 10_000)]


def test_many_small_removals_give_back_at_the_next_write() -> None:
    columns, _ = filled(20_000)
    before = size(columns)

    for _ in range(100):
        columns.remove(np.arange(100))
    held = size(columns)
    columns.compact()

    assert held == before
    assert size(columns) <= 0.51 * before


def test_readers_go_on_while_room_is_made() -> None:
    columns, ids = filled(5000)
    columns.remove(np.arange(1000))
    wanted, everyone = ids[1000:4000], np.arange(1000, 4000)
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if columns.rows_of_ids(wanted).tolist() != everyone.tolist():
                wrong.append("rows")
            if columns.ids(everyone).tolist() != wanted:
                wrong.append("ids")
            if columns.rows_of_keys(everyone[:9]).tolist() != everyone[:9].tolist():
                wrong.append("keys")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(100):
        arrays = columns._arrays
        columns._pack(len(columns), columns._end)  # as ``reserve`` and ``compact`` do
        assert columns._arrays is not arrays
    done.set()
    for reader in readers:
        reader.join()

    assert wrong == []


def test_ids_with_equal_hashes_are_told_apart() -> None:
    columns, ids = filled(500, hash=lambda id: -1)

    columns.remove(np.arange(0, 500, 2))

    found = columns.rows_of_ids(ids)
    assert np.flatnonzero(found < 0).tolist() == [*range(0, 500, 2)]
    assert columns.ids(found[1::2]).tolist() == ids[1::2]


@pytest.mark.parametrize("others", [["b", "longer id"], ["ü", "語", "b"], ["\N{GRINNING FACE}"]])
def test_ids_come_back_whatever_letters_they_have(others: list[str]) -> None:
    columns, ids = Columns(), ["a", *others, "z"]
    columns.reserve(len(ids), size_of(ids))
    columns.append([*range(len(ids))], ids, ["x"] * len(ids))

    rows = np.array([len(ids) - 1, 0, *range(len(ids))])

    assert columns.ids(rows).tolist() == ["z", "a", *ids]
    assert columns.ids(rows[:0]).tolist() == []


def test_ids_and_labels_come_in_the_shape_of_the_rows() -> None:
    columns, ids = filled(6)

    rows = np.array([[5, 0, 1], [2, 2, 4]])

    assert columns.ids(rows).tolist() == [[ids[row] for row in line] for line in rows]
    assert columns.labels(rows).tolist() == [["cat"] * 3] * 2
    assert columns.ids(rows[:0]).shape == columns.labels(rows[:0]).shape == (0, 3)


def test_no_loop_is_compiled_after_the_start() -> None:
    row_kernels.compile_loops()
    loops = [each for each in vars(row_kernels).values() if hasattr(each, "signatures")]
    compiled = [[*each.signatures] for each in loops]

    columns, ids = filled(3000)
    columns.rows_of_keys(columns.keys[:9])
    columns.rows_of_ids(ids)
    columns.remove(np.array([1, 5, 2999]))
    columns.remove(np.arange(2000))
    columns.compact()

    assert len(loops) > 7
    assert [each.signatures for each in loops] == compiled
