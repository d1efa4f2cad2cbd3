"""Sentences of commands name a few of many, and nothing that moves the cursor."""

from __future__ import annotations

from visual_memory.terminal.refused import Refused, listed


def test_few_names_are_listed_and_many_are_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(at) for at in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


def test_a_name_whose_ends_would_not_be_seen_is_quoted() -> None:
    names = [" cat", "cat ", "a, b", 'say "cat"', "", "golden retriever", "it's"]

    assert listed(names) == ('" cat", "cat ", "a, b", "say \\"cat\\"", "", golden retriever, it\'s')


def test_a_name_cannot_move_the_cursor() -> None:
    assert listed(["a\x1b[2J"]) == "a\\x1b[2J"


def test_each_line_of_a_refusal_stays_one() -> None:
    assert str(Refused("a\nb is damaged.", "Nothing was stored.")) == (
        "a\\nb is damaged.\nNothing was stored."
    )
