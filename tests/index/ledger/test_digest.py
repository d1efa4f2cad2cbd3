"""Equal sets of entries have equal digests after any history, and different sets differ."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import Entry
from visual_memory_index.ledger import digest

TEXTS = st.text(max_size=4)
FIELDS = st.tuples(
    TEXTS,
    TEXTS,
    TEXTS,
    st.binary(min_size=4, max_size=8),
    st.sampled_from([b"", bytes(32), bytes(range(32))]),
    st.booleans(),
)


@given(st.lists(FIELDS, max_size=8, unique=True), st.lists(FIELDS, max_size=8), st.randoms())
def test_the_order_and_the_past_do_not_count(
    kept: list[tuple[str, str, str, bytes, bytes, bool]],
    gone: list[tuple[str, str, str, bytes, bytes, bool]],
    chance: random.Random,
) -> None:
    elements = [digest.element(*fields) for fields in kept]
    once = digest.total(elements)
    steps = [(1, each) for each in elements]
    state = digest.empty()
    for fields in gone:
        state = digest.moved(state, came=[digest.element(*fields)])
    chance.shuffle(steps)
    for _, each in steps:
        state = digest.moved(state, came=[each])
    state = digest.moved(state, went=[digest.element(*fields) for fields in gone])

    assert (state == once).all()
    assert digest.shown(state, "8") == digest.shown(once, "8")


@given(st.lists(FIELDS, min_size=2, max_size=2, unique=True))
def test_entries_that_differ_anywhere_are_other_elements(
    fields: list[tuple[str, str, str, bytes, bytes, bool]],
) -> None:
    first, second = (digest.element(*each) for each in fields)

    assert first != second
    assert digest.shown(digest.total([first]), "8") != digest.shown(digest.total([second]), "8")


def test_whether_an_entry_votes_is_seen() -> None:
    votes, pruned = (digest.element("a", "b", "{}", b"", b"", each) for each in (True, False))

    assert votes != pruned


def test_what_moves_from_one_field_to_the_next_is_seen() -> None:
    assert digest.element("ab", "c", "{}", b"", b"", True) != digest.element(
        "a", "bc", "{}", b"", b"", True
    )


def test_entries_of_many_rows_are_the_elements_of_each_that_votes() -> None:
    entries = [
        Entry("", "cat", None, {"b": "2", "a": "1"}, 0, bytes(32), image=b"a picture"),
        Entry("", "dog", None, {}, 0, bytes(32)),
    ]
    vectors = np.arange(12, dtype=np.float32).reshape(2, 6)

    found = digest.elements(["x", "y"], entries, vectors[:, ::2])

    rows = [np.array(row, "<f4").tobytes() for row in ([0, 2, 4], [6, 8, 10])]
    assert found == [
        digest.element("x", "cat", '{"a": "1", "b": "2"}', rows[0], bytes(32), True),
        digest.element("y", "dog", "{}", rows[1], b"", True),
    ]


def test_the_kind_of_the_memory_is_in_what_is_shown() -> None:
    assert digest.shown(digest.empty(), "8") != digest.shown(digest.empty(), "9")


def test_a_state_is_kept_and_read_again() -> None:
    state = digest.total([digest.element("a", "b", "{}", b"1234", b"", True)])

    read = digest.from_bytes(digest.to_bytes(state))

    assert (read == state).all()
    assert read.dtype == np.uint16
    assert len(digest.to_bytes(state)) == 2048
    assert state.dtype == np.uint16


@pytest.mark.parametrize(
    ("votes", "shown"),
    [
        (True, "f361ede026d1eceb6f00b23c11372da3cbaacaf249f716e69a4aed444da9adf3"),
        (False, "e2b7d07270d3a56869763183b1f55a68f141d29bd307e40fe40ec8f4f93da0ce"),
    ],
)
def test_digests_stay_what_they_are_from_release_to_release(votes: bool, shown: str) -> None:
    element = digest.element("a", "cat", '{"k": "v"}', bytes(8), bytes(32), votes)

    assert digest.shown(digest.total([element]), "2") == shown
