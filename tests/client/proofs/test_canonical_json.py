"""JSON of certificates has one canonical form, and one meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory.proofs.canonical_json import WHOLE_MAX, canonical, parse

NAMES = st.text(st.characters(max_codepoint=127), max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.text() | st.integers(0, WHOLE_MAX),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)


def test_strings_are_written_as_in_section_3_2_2_of_rfc_8785() -> None:
    given = json.loads(r'"\u20ac$\u000F\u000aA' + r"'\u0042\u0022\u005c\\\"\/" + '"')

    assert canonical(given) == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'


@pytest.mark.parametrize(
    ("character", "written"),
    [
        *((chr(code), f"\\u{code:04x}") for code in range(32) if chr(code) not in "\b\t\n\f\r"),
        ("\b", r"\b"),
        ("\t", r"\t"),
        ("\n", r"\n"),
        ("\f", r"\f"),
        ("\r", r"\r"),
        ('"', r"\""),
        ("\\", r"\\"),
        *((each, each) for each in "/\x7f\x80ö€\u2028\u2029\ufb33\ufeff\uffff😀"),
    ],
)
def test_what_must_be_escaped_is_and_nothing_else(character: str, written: str) -> None:
    assert canonical(character) == f'"{written}"'


def test_text_is_not_normalized() -> None:
    assert canonical(["\u00e5", "a\u030a"]) == '["\u00e5","a\u030a"]'


def test_names_are_sorted_as_in_section_3_2_3_as_far_as_they_are_ascii() -> None:
    given = {"1": "One", "\r": "Carriage Return", "a": "", "\x7f": "", "A": "", "10": ""}

    assert list(json.loads(canonical(given))) == ["\r", "1", "10", "A", "a", "\x7f"]


def test_there_are_no_blanks_and_objects_are_sorted_at_every_depth() -> None:
    assert canonical([{"b": 2, "a": [{"d": 4, "c": 3}]}]) == '[{"a":[{"c":3,"d":4}],"b":2}]'


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 3, "\t"]))
def test_however_it_is_written_it_means_the_same(
    value: Any, escaped: bool, indent: int | str | None
) -> None:
    written = json.dumps(value, ensure_ascii=escaped, indent=indent)

    assert parse(written) == parse(written.encode()) == value
    assert canonical(parse(written)) == canonical(value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is no whole JSON (Expecting value: line 1 column 1 (char 0))"),
        (b'{"a":1', "is no whole JSON"),
        (b"{'a':1}", "is no whole JSON"),
        (b'{"a":1}}', "is no whole JSON (Extra data"),
        (b'\xef\xbb\xbf{"a":1}', "is no whole JSON (Unexpected UTF-8 BOM"),
        (b'["\x01"]', "is no whole JSON (Invalid control character"),
        (b'["\xff"]', "is not UTF-8"),
        (b'["\xed\xa0\x80"]', "is not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a":1,"a":1}', "has the same name twice in one object"),
        (b'{"a":1,"\\u0061":1}', "has the same name twice in one object"),
        (b'[{"b":[{"a":1,"a":2}]}]', "has the same name twice in one object"),
        (b"[1.0]", "has 1.0 where only a whole number from 0 can be"),
        (b"[1e3]", "has 1e3 where only a whole number from 0 can be"),
        (b"[-0]", "has -0 where only a whole number from 0 can be"),
        (b"[NaN]", "has NaN where only a whole number from 0 can be"),
        (b"[-Infinity]", "has -Infinity where only a whole number from 0 can be"),
        (b"[" + b"9" * 17 + b"]", "has 99999999999999999 where only"),
        (b"[" + b"9" * 1_000_000 + b"]", "has 9999999999999999999999999999999999999999 where only"),
        (b"[01]", "is no whole JSON"),
        (b"[" * 1_000_000, "is nested too deep"),
        (b'{"a":' * 1_000_000, "is nested too deep"),
    ],
    ids=lambda value: value[:20],
)
def test_what_could_mean_two_things_or_nothing_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its sentence is compared
        parse(data)

    assert str(caught.value).startswith(problem)
