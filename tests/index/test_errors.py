"""Refusals name as many ids as one can read, and give whole paths to operators only."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory_index.errors import (
    CorruptStore,
    DiskFull,
    FileRefusal,
    LostSecret,
    NewerStore,
    UnknownEntries,
    in_full,
)

PETS = Path("/srv/data/memories/pets.1.sqlite")


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (["a"], "a"),
        ([f"{n}" for n in range(10)], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ([f"{n}" for n in range(12)], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"),
        (["漢" * 85] * 10, f"{'漢' * 85}, {'漢' * 85} and 8 more"),
        (["a" * 600] * 2, f"{'a' * 600} and 1 more"),
    ],
)
def test_the_first_ids_are_named_within_half_a_kibibyte(ids: list[str], shown: str) -> None:
    assert str(UnknownEntries(ids)) == f"No entry has these ids, and nothing was changed: {shown}."


@pytest.mark.parametrize(
    "refusal",
    [
        CorruptStore(PETS, "malformed"),
        DiskFull(PETS, "no space left on device"),
        LostSecret(PETS),
        NewerStore(PETS, 2, 1),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_where_a_file_is_only_who_runs_the_server_is_told(refusal: FileRefusal) -> None:
    assert str(refusal).startswith("pets.1.sqlite ")
    assert "/srv" not in str(refusal)
    assert in_full(refusal) == f"/srv/data/memories/{refusal}"
