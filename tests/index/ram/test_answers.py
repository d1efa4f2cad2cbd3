"""Answers of filters are kept within bounds, and nothing of them is left once they are dropped."""

from __future__ import annotations

import pytest

from visual_memory_index.ram import answers
from visual_memory_index.ram.answers import KEPT_MAX, Answers
from visual_memory_index.records.filter import Comparison
from visual_memory_index.rows.rows import RowBits


def named(number: int) -> Comparison:
    return Comparison("id", "=", f"{number}")


def test_an_answer_is_kept_by_its_filter() -> None:
    kept, rows = Answers(), RowBits.every(9)

    kept.keep(named(1), rows)
    kept.keep(named(1), RowBits.every(3))

    assert kept.get(named(1)) is rows
    assert kept.get(named(2)) is None


def test_those_that_nobody_asked_for_longest_go_first() -> None:
    kept = Answers()

    for number in range(KEPT_MAX):
        kept.keep(named(number), RowBits.every(9))
    kept.get(named(0))
    kept.keep(named(KEPT_MAX), RowBits.every(9))

    assert len(kept) == KEPT_MAX
    assert kept.get(named(0)) is not None
    assert kept.get(named(1)) is None


def test_answers_of_many_rows_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BYTES_MAX", 40)
    kept = Answers()

    for number in range(9):
        kept.keep(named(number), RowBits.every(128))  # 16 bytes
    assert [number for number in range(9) if kept.get(named(number))] == [7, 8]

    kept.keep(named(9), RowBits.every(1000))
    assert len(kept) == 0


def test_dropped_answers_make_room() -> None:
    kept = Answers()
    for _ in range(3):
        for number in range(KEPT_MAX):
            kept.keep(named(number), RowBits.every(9))
        kept.clear()

    assert len(kept) == 0
    assert kept._bytes == 0
