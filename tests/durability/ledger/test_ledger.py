"""The oracle names every planted fault, and finds none if none is planted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from tests.conftest import Server
from tests.durability.ledger.contents import Contents, Found, MemoryContents, of_server
from tests.durability.ledger.ledger import KEY, Ledger, judge
from tests.durability.ledger.workload import SHARED, Writer, create_shared

Plant: TypeAlias = Callable[[MemoryContents], MemoryContents]
STEPS = 60


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, Ledger]:
    """The contents of a server after random writes, and the ledger of its only writer."""
    server = Server(tmp_path_factory.mktemp("lived") / "data")
    create_shared(server.stub)
    writer = Writer("w", random.Random(5))
    writer.connect(server.address)
    for _ in range(STEPS):
        writer.step()
    writer.do("insert")
    writer.do("prune")
    contents = of_server(server.stub)
    writer.close()
    assert server.end() == 0
    return contents, writer.ledger


def with_first(contents: MemoryContents, **changes: Any) -> MemoryContents:
    """Return the contents with the first entry changed."""
    first, *others = contents.entries
    return replace(contents, entries=[replace(first, **changes), *others])


def torn(contents: MemoryContents) -> MemoryContents:
    vector = bytearray(contents.entries[0].vector)
    vector[-1] ^= 1
    return with_first(contents, vector=bytes(vector))


def pruned_again(contents: MemoryContents) -> MemoryContents:
    """Return the contents with all votes restored."""
    entries = [replace(entry, pruned_by="") for entry in contents.entries]
    return replace(contents, entries=entries)


def more(contents: MemoryContents, entry: Found) -> MemoryContents:
    return replace(contents, entries=[*contents.entries, entry])


def strange(contents: MemoryContents) -> MemoryContents:
    metadata = {"writer": "nobody", KEY: "x"}
    return more(contents, replace(contents.entries[0], id="x", metadata=metadata))


PLANTS: dict[str, tuple[Plant, str]] = {
    "an entry is lost": (lambda c: replace(c, entries=c.entries[1:]), "is lost"),
    "a vector is torn": (torn, "has another vector"),
    "a label is another": (lambda c: with_first(c, label="cow"), "has another label"),
    "metadata are lost": (
        lambda c: with_first(
            c, metadata={"writer": "w", KEY: c.entries[0].metadata[KEY], "note": "?"}
        ),
        "has another metadata",
    ),
    "a picture is another": (lambda c: with_first(c, image=b"?"), "has another image"),
    "a thumbnail is lost": (lambda c: with_first(c, thumbnail=b"", image=b"?"), "not both"),
    "an id is another": (lambda c: with_first(c, id="?"), "has another id"),
    "a pruned entry votes": (pruned_again, "has another pruned_by"),
    "an entry is there twice": (lambda c: more(c, c.entries[0]), "is there twice"),
    "an entry is nobody's": (strange, "nobody made"),
    "a search misses one": (lambda c: replace(c, searched=c.searched[1:]), "a search does not"),
    "a count is off": (
        lambda c: replace(c, counts={id: v + 1 for id, v in c.counts.items()}),
        "misleading counts",
    ),
    "an operation runs": (
        lambda c: replace(c, operations={**c.operations, "?": ("running", False)}),
        "runs, after a restart",
    ),
    "operations are lost": (lambda c: replace(c, operations={}), "is None, not"),
}


def test_what_the_server_holds_is_right(lived: tuple[Contents, Ledger]) -> None:
    contents, ledger = lived

    assert judge(contents, [ledger]) == []


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_named(lived: tuple[Contents, Ledger], plant: str) -> None:
    contents, ledger = lived
    change, problem = PLANTS[plant]

    problems = judge({**contents, SHARED: change(contents[SHARED])}, [ledger])

    assert any(problem in each for each in problems), problems


def test_an_entry_that_was_deleted_and_comes_back_is_named(lived: tuple[Contents, Ledger]) -> None:
    contents, ledger = lived
    earlier = [state[SHARED].entries for state in ledger.history()]
    gone = [each for entries in earlier for each in entries.values() if each.id]
    back = next(each for each in gone if each.metadata[KEY] not in earlier[-1])
    found = Found(back.id, back.label, back.metadata, back.vector, b"", b"", "")

    problems = judge({**contents, SHARED: more(contents[SHARED], found)}, [ledger])

    assert f"w: {back.metadata[KEY]} in {SHARED} should not be there" in problems


def test_a_memory_that_is_lost_or_comes_back_is_named(lived: tuple[Contents, Ledger]) -> None:
    contents, ledger = lived

    lost = judge({}, [ledger])
    back = judge({**contents, "w-back": contents[SHARED]}, [ledger])

    assert f"w: memory {SHARED} is lost" in lost
    assert "w: memory w-back should not be there" in back


def test_half_of_what_was_under_way_is_named(lived: tuple[Contents, Ledger]) -> None:
    contents, ledger = lived
    (insert,) = [each for each in ledger.writes if len(each.keys) > 1 and not each.batch][-1:]
    before = ledger.earlier(ledger.writes.index(insert))
    half: Sequence[Found] = [
        entry for entry in contents[SHARED].entries if entry.metadata[KEY] != insert.keys[0]
    ]

    assert before.under_way[0].keys == insert.keys
    assert before.settle({**contents, SHARED: replace(contents[SHARED], entries=half)})
