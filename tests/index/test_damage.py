"""What reading a file raises is damage of it, unless it was a refusal or somebody stopped it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from visual_memory_index import CorruptStore, NewerStore, damage_of

SENSELESS: list[Callable[[], object]] = [
    lambda: b"\xff".decode(),
    lambda: json.loads("{"),
    lambda: json.loads("[" * 100_000),
    lambda: dict[str, str]()["name"],
    lambda: [][0],
    lambda: None + 1,  # type: ignore[operator]
    lambda: None.name,  # type: ignore[attr-defined]
    lambda: (-1).to_bytes(1, "little"),
    lambda: sqlite3.connect(":memory:").execute("SELECT 1 FROM nothing"),
]


class Stopped(Exception):
    """Who reads was told to stop."""


@pytest.mark.parametrize("read", SENSELESS)
def test_bytes_without_sense_are_damage(read: Callable[[], object]) -> None:
    with (
        pytest.raises(CorruptStore, match=r"a\.sqlite is damaged \(.+\)"),
        damage_of(Path("a.sqlite")),
    ):
        read()


@pytest.mark.parametrize(
    "error", [NewerStore("a", 2, 1), Stopped(), OSError(), KeyboardInterrupt()]
)
def test_everything_else_is_what_it_was(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, damage_of(Path("a.sqlite")):
        raise error

    assert caught.value is error
