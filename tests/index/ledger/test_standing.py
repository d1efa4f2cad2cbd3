"""A file agrees with the noted position, or the refusal says how it differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import MemoryRefusal, OlderCatalog, OlderMemory, OtherMemory
from visual_memory_index.ledger.standing import Found, Noted, Standing, refusal

FOUND = Found("birds", "b1", Standing(3, "ccc"), {2: "ccc"}, unlearnings=0, knows_unlearning=True)
NOTED = Noted("b1", Standing(3, "ccc"))


def log(writes: Sequence[int]) -> list[str]:
    """Return the hash of each event of a chain."""
    return [f"{hash(tuple(writes[: number + 1])):x}" for number in range(len(writes))]


def standing(hashes: Sequence[str]) -> Standing:
    return Standing(len(hashes), hashes[-1])


def found(hashes: Sequence[str]) -> Found:
    return replace(FOUND, standing=standing(hashes), hashes=dict(enumerate(hashes)))


WRITES = st.lists(st.integers(0, 1), min_size=1, max_size=5)


@given(WRITES, WRITES, WRITES)
def test_a_file_is_admitted_where_its_log_goes_on_from_all_that_was_noted(
    there: list[int], kept: list[int], latest: list[int]
) -> None:
    noted = Noted("b1", standing(log(kept)), latest=standing(log(latest)))

    refused = refusal(Path("x"), "birds", found(log(there)), noted)

    follows = all(there[: len(each)] == each for each in (kept, latest))
    assert (refused is None) == follows
    assert refused is None or isinstance(refused, OlderMemory)


@pytest.mark.parametrize(
    ("file", "noted", "error", "said"),
    [
        (FOUND, None, None, ""),
        (FOUND, NOTED, None, ""),
        (replace(FOUND, name="fish"), None, OtherMemory, 'holds the memory "fish", not "birds"'),
        (replace(FOUND, uid="b2"), NOTED, OtherMemory, "holds another memory of that name"),
        (replace(FOUND, standing=Standing(2, "bb")), NOTED, OlderMemory, "so 1 acknowledged write"),
        (
            Found("", "", Standing(0, "")),
            NOTED,
            OlderMemory,
            "so 3 acknowledged writes are",
        ),
        (Found("", "", Standing(0, "")), None, None, ""),
        (
            replace(FOUND, hashes={2: "xxx"}),
            NOTED,
            OlderMemory,
            "event 2 of its audit log is",
        ),
        (
            FOUND,
            replace(NOTED, kept=Standing(4, "d"), latest=Standing(9, "z")),
            OlderMemory,
            "so 6 ",
        ),
        (
            FOUND,
            replace(NOTED, kept=Standing(9, "z"), latest=Standing(4, "d")),
            OlderMemory,
            "so 6 ",
        ),
        (replace(FOUND, hashes={}), NOTED, None, ""),  # a gap, which the check of the log names
        (FOUND, replace(NOTED, unlearning="birds/1"), None, ""),
        (
            replace(FOUND, knows_unlearning=False),
            replace(NOTED, unlearning="birds/1"),
            OlderMemory,
            "it has not the operation birds/1",
        ),
        (
            replace(FOUND, unlearnings=1),
            NOTED,
            OlderCatalog,
            'memory "birds" with an unlearning',
        ),
        (replace(FOUND, unlearnings=1), replace(NOTED, unlearning="birds/1"), None, ""),
        (replace(FOUND, unlearnings=2), replace(NOTED, unlearning="birds/1"), OlderCatalog, ""),
    ],
)
def test_a_refusal_says_what_is_there(
    file: Found, noted: Noted | None, error: type[MemoryRefusal] | None, said: str
) -> None:
    refused = refusal(Path("x"), "birds", file, noted)

    assert type(refused) is (error or type(None))
    assert said in str(refused)
