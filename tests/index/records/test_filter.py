"""Filters parse, match in SQLite by their meaning, and point at their errors."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from tests.index.filters import admits, comparisons, texts

from visual_memory_index.errors import BadFilter
from visual_memory_index.records.filter import (
    NESTING_MAX,
    TEXT_MAX,
    And,
    Comparison,
    Not,
    Or,
    Pattern,
    parse,
)

A, B, C = (Comparison("id", "=", id) for id in "abc")

SENTENCES = {
    f"a filter has at most {TEXT_MAX} characters.",
    "NUL and lone surrogates are not allowed.",
    "this parenthesis closes nothing.",
    f"parentheses nest at most {NESTING_MAX} deep.",
    "this parenthesis is never closed.",
    'a comparison such as label = "cat" is missing here.',
    "AND is written in capitals.",
    *(
        f'no field "{name}"; there are id, label, create_time, pruned_by and metadata.KEY.'
        for name in ("cat", "color", "Label", "has")
    ),
    "metadata goes on as metadata.KEY or metadata:KEY.",
    'a key with dots is quoted: metadata."a.b".',
    'a metadata key is missing here; an odd one is quoted: "a*b".',
    r'< takes no wildcard; an asterisk itself is written "\*".',
    "create_time is compared by = != < <= > >=.",
    *(
        f'"{text}" is not a time such as 2026-01-31T12:00:00Z, at most microseconds.'
        for text in (
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-02-30T12:00:00Z",
            "2026-01-31T12:00:00.1234567Z",
            "2026-*",
        )
    ),
    "an operator is missing here: = != < <= > >= or :.",
    "a value is missing here; one with odd characters is quoted.",
    'a value is missing here; equality is one =, as in label = "cat".',
    "this quote is never closed.",
    r"a backslash stands only before \ and * and quotes.",
}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("id=a AND id=b OR id=c", And((A, Or((B, C))))),
        ("id=a id=b OR id=c", And((A, Or((B, C))))),
        ("id=a OR id=b AND id=c", And((Or((A, B)), C))),
        ("NOT id=a OR id=b", Or((Not(A), B))),
        ("-id=a id=b", And((Not(A), B))),
        ("id=a\n\tAND ( id = b ) ", And((A, B))),
        ("((id=a))", A),
        ("metadata.k = 1*2", Comparison("metadata", "=", Pattern(("1", "2")), "k")),
        ("metadata.k = -30", Comparison("metadata", "=", "-30", "k")),
        ("metadata:k", Comparison("metadata", "=", Pattern(("", "")), "k")),
        ('metadata."a*b" = c', Comparison("metadata", "=", "c", "a*b")),
        (
            "create_time = 9999-12-31T23:59:59.999999Z",
            Comparison("create_time", "=", 253_402_300_799_999_999),
        ),
        (r'label = "\"\'\\\*"', Comparison("label", "=", "\"'\\*")),
        ("id = x:y.z", Comparison("id", "=", "x:y.z")),
    ],
)
def test_or_binds_tighter_than_and_and_juxtaposition_is_and(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_blank_text_restricts_nothing(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("cat", 0, 'no field "cat"'),
        ('"cat"', 0, "a comparison"),
        ("label", 5, "an operator"),
        ("label cat", 6, "an operator"),
        ("label =", 7, "a value"),
        ("label = AND id = a", 8, "a value"),
        ("label == cat", 7, 'a value is missing here; equality is one =, as in label = "cat".'),
        ("label = black cat", 14, 'no field "cat"'),
        ('label = "cat', 8, "this quote"),
        ("label = 'cat\"", 8, "this quote"),
        (r'label = "c\nt"', 10, "a backslash"),
        (r"label = ca\*", 10, "a comparison"),
        ("label < ca*", 8, "< takes no wildcard"),
        ("color = red", 0, 'no field "color"'),
        ("Label = cat", 0, 'no field "Label"'),
        ("label.x = cat", 5, "an operator"),
        ("has(label)", 0, 'no field "has"'),
        ("label(cat)", 5, "an operator"),
        ("id = a and id = b", 7, "AND is written in capitals"),
        ("id = a AND", 10, "a comparison"),
        ("AND id = a", 0, "a comparison"),
        ("id = a OR OR id = b", 10, "a comparison"),
        ("NOT NOT id = a", 4, "a comparison"),
        ("()", 1, "a comparison"),
        ("(id = a", 0, "this parenthesis is never closed"),
        ("id = a)", 6, "this parenthesis closes nothing"),
        ("id = a, id = b", 6, "a comparison"),
        ("metadata = a", 9, "metadata goes on"),
        ("metadata. = a", 10, "a metadata key"),
        ("metadata:*", 9, "a metadata key"),
        ("metadata.a.b = c", 10, "a key with dots"),
        ("create_time:*", 11, "create_time is compared by"),
        ("create_time > 2026-01-31", 14, '"2026-01-31" is not a time'),
        ("create_time > 2026-01-31T12:00:00", 14, "is not a time"),
        ("create_time > 2026-02-30T12:00:00Z", 14, "is not a time"),
        ("create_time > 2026-01-31T12:00:00.1234567Z", 14, "is not a time"),
        ("create_time = 2026-*", 14, "is not a time"),
        ("id = a\0", 6, "NUL"),
        ("id = \ud800", 5, "NUL and lone surrogates"),
        ("id = a" + " " * TEXT_MAX, TEXT_MAX, "at most 4096 characters"),
        ("(" * (NESTING_MAX + 1), NESTING_MAX, "parentheses nest at most"),
    ],
)
def test_a_wrong_filter_is_refused_where_it_is_wrong(
    text: str, position: int, problem: str
) -> None:
    with pytest.raises(BadFilter) as refused:
        parse(text)

    assert refused.value.position == position
    assert problem in refused.value.problem
    assert refused.value.problem in SENTENCES


@pytest.mark.parametrize("character", sorted({*string.printable} - {*"\\*\"'"}))
def test_a_backslash_before_any_other_character_is_refused(character: str) -> None:
    with pytest.raises(BadFilter, match="a backslash stands only before") as refused:
        parse(f'label = "c\\{character}t"')

    assert refused.value.position == len('label = "c')


@pytest.mark.parametrize("before", [1, 2 * NESTING_MAX])
def test_parentheses_that_were_closed_count_no_more(before: int) -> None:
    deep = "(" * NESTING_MAX + "id = a" + ")" * NESTING_MAX
    closed = " ".join(["((id = a) (id = b))"] * before)

    assert isinstance(parse(f"{closed} {deep}"), And)
    with pytest.raises(BadFilter, match="parentheses nest at most"):
        parse(f"{closed} ({deep})")


def test_a_filter_may_have_as_many_characters_as_are_allowed() -> None:
    assert parse("id = a".ljust(TEXT_MAX)) == parse("id = a")


@given(comparisons.filter(lambda each: isinstance(each.value, str | Pattern)), texts)
def test_a_comparison_matches_the_texts_that_a_regular_expression_would(
    comparison: Comparison, text: str
) -> None:
    field = Comparison("label", comparison.operator, comparison.value)

    assert field.matches(text) == admits(field, ("", text, {}, 0))


def test_a_pattern_of_very_many_pieces_takes_no_time() -> None:
    assert not Pattern(("", *["a"] * 1000, "b")).matches("a" * 4000)
    assert Pattern(("", *["a"] * 1000, "")).matches("a" * 4000)
