"""The exclusions in a certificate follow from what was erased and found."""

from __future__ import annotations

import pytest

from visual_memory_index import ResiduePatterns
from visual_memory_service.config import Erasure
from visual_memory_service.erasure.statement import (
    DECODED,
    INTERRUPTED,
    NOT_ASKED,
    ONLY_FILES,
    STILL_HELD,
    not_covered,
)


@pytest.mark.parametrize(
    ("erasure", "restarted", "left", "said"),
    [
        ("files+memory", False, 0, {DECODED}),
        ("files+memory", False, 3, {DECODED, STILL_HELD.format(3)}),
        ("files", False, 0, {ONLY_FILES}),
        ("files", True, 0, {INTERRUPTED}),
    ],
)
def test_the_erasure_the_search_and_a_restart_decide_what_is_not_covered(
    erasure: Erasure, restarted: bool, left: int, said: set[str]
) -> None:
    patterns = None if restarted else ResiduePatterns(["a person to erase"])

    sentences = not_covered(patterns, left, [], erasure)

    assert {*sentences} & {DECODED, ONLY_FILES, INTERRUPTED, STILL_HELD.format(3)} == said


def test_memories_that_could_not_be_asked_are_named() -> None:
    assert NOT_ASKED.format("cats, dogs") in not_covered(None, 0, ["cats", "dogs"], "files")
