"""Fields are refused by their path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visual_memory import InvalidArgument
from visual_memory._messages.fields import (
    check_metadata,
    check_text,
    mappings,
    message,
    or_new_id,
    strings,
    whole,
)
from visual_memory.v1 import service_pb2 as pb


def violation(caught: pytest.ExceptionInfo[InvalidArgument]) -> str:
    return caught.value.field_violations[0][0]


def test_a_request_id_is_kept_or_made() -> None:
    assert or_new_id("r1") == "r1"
    assert or_new_id(None) != or_new_id(None)


@pytest.mark.parametrize(
    ("k", "sentence"), [(0, "k must be at least 1, but is 0"), (1.5, "k must be a whole number")]
)
def test_a_wrong_number_is_refused(k: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        whole(k, "k", least=1)


def test_only_no_request_id_is_made_up_for() -> None:
    given: Any = 0

    assert or_new_id("") != or_new_id("")
    assert or_new_id(given) is given


def test_a_number_beyond_the_wire_means_all() -> None:
    assert whole(10**12, "k", least=1) == 2**31 - 1


@pytest.mark.parametrize(
    ("values", "path", "sentence"),
    [
        ("cat", "labels", "must be a list of strings"),
        (7, "labels", "must be a list of strings"),
        (["a", 1], "labels[1]", r"must be a string, but is 1; use str\(1\)\.$"),
        ([np.int64(7)], "labels[0]", r"must be a string, but is np.int64\(7\); use str\(7\)\.$"),
        ([b"cat"], "labels[0]", "must be a string, but is b'cat'.$"),
        (["\ud800"], "labels[0]", "must be UTF-8"),
    ],
)
def test_what_is_no_list_of_strings_is_refused(values: Any, path: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence) as caught:
        strings(values, "labels")

    assert violation(caught) == path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (5, r"label must be a string, but is 5; use str\(5\)\.$"),
        ("", "1 to 256 UTF-8 bytes"),
        ("ä" * 129, "but has 258"),
        ("a\0", "without NUL"),
    ],
)
def test_a_wrong_text_is_refused(text: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        check_text(text, "label")


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [({"source": "a"}, "one mapping for each"), (7, "must be a list of mappings, but is 7")],
)
def test_what_is_no_list_of_mappings_is_refused(metadata: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        mappings(metadata)


@pytest.mark.parametrize(
    ("metadata", "path", "sentence"),
    [
        (7, "entry.metadata", "must map strings to strings, but is 7"),
        ({"source": 1}, "entry.metadata", "but has 'source': 1"),
        ({"": "x"}, "entry.metadata key", "1 to 256 UTF-8 bytes"),
        ({"a": "x" * 20_000}, "entry.metadata", "at most 16384 bytes"),
    ],
)
def test_wrong_metadata_are_refused(metadata: Any, path: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence) as caught:
        check_metadata(metadata, "entry")

    assert violation(caught) == path


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("filter", 5, "filter must be a string, but is 5."),
        ("filter", "\ud800", r"filter must be UTF-8, but is '\ud800'."),
        ("coverage", "0.5", "coverage must be a number, but is '0.5'."),
        ("coverage", 10**400, "coverage must be a number, but is 1000"),
        ("allow_empty", "yes", "allow_empty must be True or False, but is 'yes'."),
        ("k", 2.5, "k must be a whole number, but is 2.5."),
        ("k", 2**40, "k must be a whole number, but is 1099511627776."),
    ],
)
def test_what_a_message_cannot_hold_is_refused_by_its_field(
    field: str, value: Any, sentence: str
) -> None:
    right: Any = {"memory": "pets", "exclude_ids": ["a"], "level": None}

    with pytest.raises(InvalidArgument) as caught:
        message(pb.ClassifyRequest, **right, **{field: value})

    assert str(caught.value).startswith(sentence)
    assert violation(caught) == field


def test_a_message_has_the_fields_that_were_given() -> None:
    written = message(pb.SearchRequest, memory="pets", k=3)

    assert written == pb.SearchRequest(memory="pets", k=3)
