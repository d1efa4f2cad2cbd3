"""Searching files finds every piece that remaining entries do not explain."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import ResiduePatterns, unexplained
from visual_memory_index.erasure.masks import masked
from visual_memory_index.erasure.search import OVERLAP, READ_AT_ONCE, search_files

if TYPE_CHECKING:
    pass

TEXT = b"a text that was erased"
PIECES = st.frozensets(st.binary(min_size=1, max_size=4))
FIRST_READ = READ_AT_ONCE + OVERLAP


@pytest.mark.parametrize(
    "at",
    [
        0,
        READ_AT_ONCE - 5,
        READ_AT_ONCE,
        FIRST_READ - len(TEXT),
        FIRST_READ - 5,
        FIRST_READ,
        FIRST_READ + READ_AT_ONCE - 9,
    ],
)
def test_a_trace_is_found_wherever_it_lies_in_a_file(at: int, tmp_path: Path) -> None:
    patterns = ResiduePatterns([TEXT.decode()])
    with (tmp_path / "empty").open("w+b") as empty, (tmp_path / "file").open("w+b") as file:
        os.pwrite(file.fileno(), TEXT, at)

        searched = search_files([empty.fileno(), file.fileno()], patterns)

    assert (searched.size, searched.found) == (at + len(TEXT), frozenset({masked(TEXT)}))


def test_what_is_found_in_one_file_is_told_though_nothing_or_more_is_in_the_next(
    tmp_path: Path,
) -> None:
    patterns = ResiduePatterns(["a text in the first", "a text in the second"])
    contents = [b"a text in the first", b"a text in the second", bytes(9)]
    for name, content in zip("abc", contents, strict=True):
        (tmp_path / name).write_bytes(content)
    with ExitStack() as stack:
        files = [stack.enter_context((tmp_path / name).open("rb")).fileno() for name in "abc"]

        searched = search_files(files, patterns)

    assert searched.size == sum(map(len, contents))
    assert searched.found == {masked(content) for content in contents[:2]}


def test_the_end_of_one_file_and_the_start_of_the_next_are_no_trace(tmp_path: Path) -> None:
    patterns = ResiduePatterns([TEXT.decode()])
    with (tmp_path / "a").open("w+b") as first, (tmp_path / "b").open("w+b") as second:
        os.pwrite(first.fileno(), TEXT[:9], 0)
        os.pwrite(second.fileno(), TEXT[9:], 0)

        searched = search_files([first.fileno(), second.fileno()], patterns)

    assert (searched.size, searched.found) == (len(TEXT), frozenset())


@given(found=PIECES, there=PIECES)
def test_a_piece_is_explained_by_one_that_has_it_in_it(
    found: frozenset[bytes], there: frozenset[bytes]
) -> None:
    expected = {piece for piece in found if not any(piece in each for each in there)}

    assert unexplained(found, there) == expected


def test_two_pieces_beside_each_other_explain_nothing() -> None:
    there = frozenset({b"a" + bytes(3), bytes(3) + b"b"})

    assert unexplained(frozenset({bytes(32)}), there) == {bytes(32)}


def test_of_thousands_of_pieces_each_is_told_from_others() -> None:
    rng = np.random.default_rng(5)
    there = frozenset(rng.bytes(56) for _ in range(20_000))
    found = {each[9:45] for each in there} | {rng.bytes(40) for _ in range(20_000)}

    assert len(unexplained(frozenset(found), there)) == 20_000
