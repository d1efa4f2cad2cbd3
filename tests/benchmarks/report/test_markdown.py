"""Formatting of numbers and tables."""

from __future__ import annotations

import pytest

from visual_memory_benchmarks.report.markdown import change, interval, listed, paragraph, table


def test_an_interval_stands_in_brackets_with_a_true_minus() -> None:
    assert interval({"value": 0.5, "low": -0.25, "high": 0.75}) == "0.500 [−0.250, 0.750]"


def test_a_change_bears_its_sign() -> None:
    assert change({"value": 0.5, "low": -0.25, "high": 0.75}) == "+0.500 [−0.250, +0.750]"


def test_a_value_without_an_interval_stands_alone() -> None:
    assert interval({"value": 0.5, "low": None, "high": None}) == "0.500"


@pytest.mark.parametrize("estimate", [None, {"value": None, "low": None, "high": None}])
def test_what_is_undefined_is_a_dash(estimate: dict[str, float | None] | None) -> None:
    assert interval(estimate) == "–"


def test_a_table_has_a_line_a_row() -> None:
    assert table(("a", "b"), [(1, "x")]) == "| a | b |\n| --- | --- |\n| 1 | x |"


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")],
)
def test_words_are_listed_as_a_sentence_has_them(words: list[str], text: str) -> None:
    assert listed(words) == text


def test_a_paragraph_is_no_wider_than_the_page() -> None:
    assert max(map(len, paragraph("word " * 100).splitlines())) <= 128


def test_a_line_does_not_break_inside_of_code() -> None:
    text = f"{'word ' * 24}`visual-memory-bench run edge`"

    assert "`visual-memory-bench run edge`" in paragraph(text)
