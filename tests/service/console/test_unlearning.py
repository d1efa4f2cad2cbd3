"""Sentences on an unlearning claim no more than its certificate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.client.proofs.test_certificate import about

from visual_memory.proofs.certificate import Searched
from visual_memory_service.console.unlearning import outcome, remaining

FILES, RAM = Searched("the files", 2000), Searched("the RAM", 3000)


@pytest.mark.parametrize(
    ("searched", "erasure", "also_in", "said"),
    [
        (
            (FILES, RAM),
            "files+memory",
            (),
            "nothing was found in the files (2,000 bytes), the RAM (3,000 bytes)",
        ),
        (
            (FILES, RAM),
            "files+memory",
            ("copy", "pets"),
            "nothing was found in the files (2,000 bytes), the RAM (3,000 bytes) but what was also "
            "in copy, other entries of pets",
        ),
        (
            (FILES,),
            "files",
            (),
            "nothing was found in the files (2,000 bytes); RAM is not vouched for, and the "
            "certificate says why",
        ),
        (
            (FILES,),
            "files+memory",
            (),
            "nothing was found in the files (2,000 bytes); the server's RAM still holds traces, "
            "until the server ends",
        ),
        ((), "", ("copy",), "nothing was looked for, and the certificate says why"),
    ],
)
def test_where_nothing_was_found_is_told_with_what_was_and_what_is_not_vouched_for(
    searched: tuple[Searched, ...], erasure: str, also_in: tuple[str, ...], said: str
) -> None:
    statement = replace(about("pets"), searched=searched, erasure=erasure, also_in=also_in)

    assert outcome(statement) == said


def test_what_stays_is_named() -> None:
    times = [datetime(2026, 1, day, tzinfo=UTC) for day in (31, 30)]

    assert list(remaining("pets", ["copy", "pets"], times, ["old", "lost"])) == [
        "The same is also in copy, other entries of pets, where it stays: unlearn it there.",
        "Memories that could not be asked may hold the same: old, lost.",
        "2 backups of pets may hold it, the last of 2026-01-31 00:00:00 UTC.",
    ]
    assert list(remaining("pets", [], [], [])) == []
