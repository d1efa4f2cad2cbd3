"""Errors while reading a file are reported as damage, except refusals and cancellations."""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import Entry, Memory, Request, damage_of
from visual_memory_index.catalog.inspection import look_through, name_in
from visual_memory_index.errors import CorruptStore, MemoryRefusal, NewerStore, UnknownEntries
from visual_memory_index.files.database import PAGE_BYTES
from visual_memory_index.records.entry import Parts
from visual_memory_index.records.filter import Comparison
from visual_memory_index.store.store import new_identity

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


REQUEST = Request("r", b"its content")
FILTER = Comparison("label", "=", "other")


class Stopped(Exception):
    """The reader was cancelled."""


@pytest.mark.parametrize("read", SENSELESS)
def test_bytes_without_sense_are_damage(read: Callable[[], object]) -> None:
    with (
        pytest.raises(CorruptStore, match=r"a\.sqlite is damaged \(.+\)"),
        damage_of(Path("a.sqlite")),
    ):
        read()


@pytest.mark.parametrize(
    "error", [NewerStore(Path("a"), 2, 1), Stopped(), OSError(), KeyboardInterrupt()]
)
def test_everything_else_is_what_it_was(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, damage_of(Path("a.sqlite")):
        raise error

    assert caught.value is error


NOBODY = "a person who is remembered here"
FILES = int(os.environ.get("DAMAGED_TEXTS", "120"))
SEED = int(os.environ.get("DAMAGE_SEED", random.randrange(1 << 30)))


def of_a_person(folder: Path) -> Path:
    """Make the file of a memory that names a person in all its texts."""
    with closing(Memory.create(folder / "a.sqlite", new_identity("a", 4, NOBODY))) as memory:
        entries = [
            Entry(f"{NOBODY} {n}", f"{NOBODY} {n % 3}", metadata={NOBODY: f"ü {NOBODY}"})
            for n in range(40)
        ]
        memory.insert(entries, np.eye(4, dtype=np.float32)[np.arange(40) % 4], request=REQUEST)
        memory.operations.relabel({f"{NOBODY} 1": "other"}, result=json.dumps)
        memory.keep_setting(NOBODY, NOBODY, call=NOBODY)
        path = memory.path
    return path


def damage(data: bytes, chance: random.Random) -> bytes:
    """Change a byte, mostly in or before a text of the person, or overwrite a page by another."""
    pages = range(0, len(data), PAGE_BYTES)
    if chance.random() < 0.2:
        to, other = chance.sample(pages[1:], 2)
        return data[:to] + data[other : other + PAGE_BYTES] + data[to + PAGE_BYTES :]
    texts = [found.start() for found in re.finditer(NOBODY.encode(), data)]
    at = max(100, chance.choice(texts) + chance.randrange(-12, 24))
    return data[:at] + chance.choice([b"\xff", b"\0", chance.randbytes(1)]) + data[at + 1 :]


def asked(path: Path) -> Iterator[str]:
    """Yield every message about a file, and its traceback, from each way to read it."""
    questions: list[Callable[[Memory], object]] = [
        lambda memory: memory.entries(limit=99, parts=Parts.VECTOR),
        lambda memory: memory.entry("nobody"),
        lambda memory: memory.recall(REQUEST),
        lambda memory: memory.operations.page(limit=9),
        lambda memory: memory.audit_events(limit=9),
        lambda memory: memory.would_purge(FILTER),
        lambda memory: memory.check(),
    ]
    for look_at in (look_through, name_in, lambda path: Memory.open(path).close()):
        yield on_progress(partial(look_at, path))
    with suppress(MemoryRefusal), closing(Memory.open(path)) as memory:
        for question in questions:
            yield on_progress(partial(question, memory))


def on_progress(question: Callable[[], object]) -> str:
    try:
        question()
    except UnknownEntries:
        pass
    except MemoryRefusal as refusal:
        return "".join(traceback.format_exception(refusal))
    return ""


def test_what_is_said_of_a_damaged_file_quotes_nobody(tmp_path: Path) -> None:
    path = of_a_person(tmp_path)
    data = path.read_bytes()
    words = list[str]()

    for seed in range(SEED, SEED + FILES):
        path.write_bytes(damage(data, random.Random(seed)))
        words += asked(path)

    quoted = [each for each in words if "person" in each or "remembered" in each]
    assert sum(map(bool, words)) > FILES
    assert not quoted, quoted[0]
