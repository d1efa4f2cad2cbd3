"""Writes that wait together become one transaction, and each is still all or nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.databases import database_of

from visual_memory_index import Entry, Memory
from visual_memory_index.errors import (
    CorruptStore,
    DiskFull,
    EntriesExist,
    MemoryClosed,
    TooLittleRam,
    UnknownEntries,
)
from visual_memory_index.ram import named_rows, ram_copy, room
from visual_memory_index.ram.change import Change
from visual_memory_index.ram.columns import Columns
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.request import LOCAL
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.store.store import Transaction, new_identity

DELETING = """
import os, resource, sys
from pathlib import Path
import numpy as np
from visual_memory_index import Entry, Memory, parse
from visual_memory_index.store.store import new_identity

memory = Memory.create(Path(sys.argv[1]), new_identity("m", 4, None, store_images=True))
for number in range(100):
    entry = Entry(f"{number}", "x", image=os.urandom(2**20), thumbnail=b"x")
    memory.insert([entry], np.full((1, 4), 0.5, np.float32))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
memory.purge(parse('label = "x"'))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 4, None))) as memory:
        yield memory


def insert(memory: Memory, ids: Sequence[str]) -> list[str]:
    return memory.insert([Entry(id, "x") for id in ids], np.full((len(ids), 4), 0.5, np.float32))


def together(memory: Memory, writes: Sequence[Callable[[], object]]) -> list[object]:
    """Make all writes wait before the first is done; return the result or error of each."""
    came: list[object] = [None] * len(writes)

    def run(number: int) -> None:
        try:
            came[number] = writes[number]()
        except Exception as error:
            came[number] = error

    threads = [
        threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(writes))
    ]
    with memory._engine.writer.turn:
        for number, thread in enumerate(threads):
            thread.start()
            while len(memory._engine.writer._waiting) <= number and thread.is_alive():
                time.sleep(0.001)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return came


def commits(memory: Memory, writes: Sequence[Callable[[], object]]) -> tuple[list[object], int]:
    """Make writes together; return their results, and the number of transactions."""
    statements: list[str] = []
    database_of(memory)._writer.set_trace_callback(statements.append)
    came = together(memory, writes)
    database_of(memory)._writer.set_trace_callback(None)
    return came, statements.count("COMMIT")


def test_those_that_wait_are_written_in_one_transaction(memory: Memory) -> None:
    came, transactions = commits(memory, [partial(insert, memory, [id]) for id in "abcdefgh"])

    assert came == [[id] for id in "abcdefgh"]
    assert transactions == 1
    assert [entry.id for entry in memory.entries(limit=9).entries] == list("abcdefgh")
    assert memory.count == 8


def test_one_that_is_refused_leaves_the_others(memory: Memory) -> None:
    insert(memory, ["a"])

    came, transactions = commits(
        memory,
        [
            lambda: insert(memory, ["b"]),
            lambda: insert(memory, ["c", "a"]),
            lambda: memory.delete(["b", "nobody"]),
            lambda: insert(memory, ["d"]),
        ],
    )

    assert came[0] == ["b"]
    assert isinstance(came[1], EntriesExist)
    assert came[1].ids == ("a",)
    assert isinstance(came[2], UnknownEntries)
    assert came[3] == ["d"]
    assert transactions == 1
    assert [entry.id for entry in memory.entries(limit=9).entries] == ["a", "b", "d"]


@pytest.mark.parametrize("error", [UnknownEntries(["x"]), KeyError("x")])
def test_one_that_fails_halfway_leaves_the_others(memory: Memory, error: Exception) -> None:
    insert(memory, ["a"])

    def fail(transaction: Transaction) -> tuple[None, None]:
        transaction.delete(transaction.look_up(["a"])[0].keys)
        transaction.log("DeleteEntries", 1, LOCAL)
        raise error

    came, transactions = commits(
        memory,
        [
            lambda: insert(memory, ["b"]),
            lambda: memory._engine.writer.do(fail),
            lambda: insert(memory, ["c"]),
            lambda: insert(memory, ["a"]),
            lambda: memory.delete(["b"]),
        ],
    )

    assert came[:3] == [["b"], error, ["c"]]
    assert isinstance(came[3], EntriesExist)
    assert came[4] == ["b"]
    assert transactions == 2
    assert [entry.id for entry in memory.entries(limit=9).entries] == ["a", "c"]
    assert [event.call for event in memory.audit_events(limit=9).events] == [
        "CreateMemory",
        *["InsertEntries"] * 3,
        "DeleteEntries",
    ]


def test_what_is_deleted_is_not_held_in_ram_meanwhile(tmp_path: Path) -> None:
    grown = subprocess.run(
        [sys.executable, "-c", DELETING, str(tmp_path / "m.sqlite")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(grown.stdout) < 30 * 2**20  # of 100 MB


def test_each_sees_what_those_before_it_did(memory: Memory) -> None:
    came, transactions = commits(
        memory,
        [
            lambda: insert(memory, ["a", "b"]),
            lambda: memory.delete(["a"]),
            lambda: insert(memory, ["a"]),
            lambda: memory.update("b", label="y").label,
            lambda: insert(memory, ["b"]),
        ],
    )

    assert came[:4] == [["a", "b"], ["a"], ["a"], "y"]
    assert isinstance(came[4], EntriesExist)
    assert transactions == 1
    assert memory.info().label_counts == {"x": 1, "y": 1}
    assert memory.revision == 4


def test_the_audit_log_has_an_event_for_each(memory: Memory) -> None:
    together(memory, [partial(insert, memory, [id]) for id in "abc"])
    digest = memory.info().digest

    with closing(Memory.open(reopened(memory))) as again:
        assert again.info().digest == digest


def reopened(memory: Memory) -> Path:
    memory.close()
    return memory.path


def test_a_removal_that_ram_has_no_room_for_is_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, indexes = tmp_path / "disk.sqlite", ScannedIndexes(1, "disk")
    many = [f"many {number}" for number in range(200)]
    (tmp_path / "meminfo").write_text("MemAvailable: 1 kB")
    with closing(Memory.create(path, new_identity("m", 4, None), indexes=indexes)) as memory:
        insert(memory, many)
        monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")

        came = together(
            memory,
            [
                lambda: insert(memory, ["a"]),
                lambda: memory.delete(many),
                lambda: insert(memory, ["b"]),
            ],
        )

        assert isinstance(came[1], TooLittleRam)
        assert [came[0], came[2]] == [["a"], ["b"]]
        assert memory.check().entry_count == 202


def test_one_that_ram_fails_for_leaves_the_others(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Columns.reserve

    def short(columns: Columns, count: int, size: int) -> None:
        if size > len("large"):
            raise MemoryError
        reserve(columns, count, size)

    monkeypatch.setattr(Columns, "reserve", short)
    came = together(memory, [partial(insert, memory, [id]) for id in ("a", "large", "b")])

    assert isinstance(came[1], MemoryError)
    assert [came[0], came[2]] == [["a"], ["b"]]
    assert memory.check().entry_count == 2


def test_rows_are_looked_up_before_the_commit_where_an_insert_comes_with_a_removal(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(memory, ["a", "b"])
    prepared, looked_up = [False], list[bool]()
    rows_of, prepare = named_rows.rows_of, RamCopy.prepare

    def watched(change: Change, voting: Columns, silent: Columns) -> object:
        looked_up.append(prepared[0])
        return rows_of(change, voting, silent)

    def preparing(ram: RamCopy, changes: Sequence[Change]) -> None:
        prepared[0] = False
        prepare(ram, changes)
        prepared[0] = True

    for module in (named_rows, ram_copy):
        monkeypatch.setattr(module, "rows_of", watched)
    monkeypatch.setattr(RamCopy, "prepare", preparing)
    together(memory, [lambda: insert(memory, ["c"]), lambda: memory.delete(["a"])])

    assert looked_up == [False, False]
    assert sorted(memory.ids()) == ["b", "c"]


def test_entries_that_come_together_with_their_change_are_changed(memory: Memory) -> None:
    operations = memory.operations
    insert(memory, ["a"])
    pruned = operations.begin("prune").operation.name

    together(
        memory,
        [
            lambda: insert(memory, ["b", "c", "d"]),
            lambda: operations.relabel({"b": "y", "a": "y"}, result=str),
            lambda: memory.delete(["c"]),
            lambda: operations.prune(["d"], operation=pruned, result=str),
        ],
    )

    info = memory.info()
    assert (info.label_counts, info.pruned_counts) == ({"x": 1, "y": 2}, {"x": 1})
    memory.check()


def test_where_there_is_no_memory_to_note_a_write_that_is_on_disk_it_is_done(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr(memory._engine.store, "_committed", no_memory)
        assert insert(memory, ["a"]) == ["a"]

    assert memory.check().entry_count == 1


@pytest.fixture
def damage(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> CorruptStore:
    """The error of every write that is published; the memory has the entry "a"."""
    insert(memory, ["a"])
    damage = CorruptStore(memory.path, "a page is gone")

    def fail(*_: object) -> None:
        raise damage

    monkeypatch.setattr(memory._engine.writer, "_publish", fail)
    return damage


def test_where_publishing_fails_a_refusal_stays_what_it_is(
    memory: Memory, damage: CorruptStore
) -> None:
    came = together(memory, [lambda: insert(memory, ["a"]), lambda: insert(memory, ["b"])])

    assert isinstance(came[0], EntriesExist)
    assert came[1] is damage


def test_where_a_change_is_committed_but_not_published_nothing_is_done_again(
    memory: Memory, damage: CorruptStore
) -> None:
    came, transactions = commits(
        memory, [lambda: insert(memory, ["b"]), lambda: insert(memory, ["c"])]
    )

    assert came == [damage, damage]
    assert transactions == 1


def test_an_insert_on_a_full_disk_does_not_give_up_the_reserve(tmp_path: Path) -> None:
    gave_up = list[str]()

    def give_up() -> bool:
        gave_up.append("reserve")
        return False

    made = Memory.create(tmp_path / "m.sqlite", new_identity("m", 4, None), give_up=give_up)
    with closing(made) as memory:
        insert(memory, ["a"])
        pages = database_of(memory)._writer.execute("PRAGMA page_count").fetchone()[0]
        database_of(memory)._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(DiskFull):
            insert(memory, [f"many {number}" for number in range(2000)])

    assert gave_up == []


def test_while_writes_are_refused_only_the_first_thread_waits(memory: Memory) -> None:
    with ThreadPoolExecutor(4) as threads:
        with memory.holding_writes():
            waiting = []
            for number in range(3):
                waiting.append(threads.submit(insert, memory, [f"waits {number}"]))
                while len(memory._engine.writer._waiting) <= number:
                    time.sleep(0.001)
            with memory.holding_writes(refuse=True):
                for each in (*waiting[1:], threads.submit(insert, memory, ["comes"])):
                    with pytest.raises(MemoryClosed, match="gets other vectors; try again"):
                        each.result(timeout=60)
        with pytest.raises(MemoryClosed):
            waiting[0].result(timeout=60)

    assert insert(memory, ["later"]) == ["later"]
    assert memory.ids() == ["later"]


def test_each_write_ends_though_room_on_a_full_disk_cannot_be_made(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = memory._engine.writer

    def full(_: Sequence[object]) -> list[Change]:
        raise DiskFull(Path("m.sqlite"), "the disk is full")

    def give_up() -> bool:
        raise OSError("the disk fails")

    insert(memory, ["a"])
    with monkeypatch.context() as failing:
        failing.setattr(writer, "_commit", full)
        failing.setattr(writer, "_give_up", give_up)
        came = together(memory, [lambda: memory.delete(["a"]), lambda: insert(memory, ["b"])])

    assert [type(each) for each in came] == [OSError, OSError]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate lock")])
def test_where_memory_runs_out_for_one_that_waits_for_others_it_goes_on_without(
    memory: Memory, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    together(memory, [partial(insert, memory, [id]) for id in "ab"])

    def no_memory(*_: object) -> bool:
        raise error

    monkeypatch.setattr(memory._engine.writer._queue, "wait", no_memory)

    assert insert(memory, ["c"]) == ["c"]


def test_room_for_what_is_pruned_is_made_before_searches_wait(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"{number}" for number in range(3000)]
    insert(memory, ids)
    pack, apply, applying = Columns._pack, RamCopy.apply, list[bool]()

    def watched(columns: Columns, rows: int, size: int) -> None:
        assert not applying
        pack(columns, rows, size)

    def apply_watched(ram: RamCopy, change: Change) -> Iterator[None]:
        applying.append(True)
        yield from apply(ram, change)
        applying.clear()

    monkeypatch.setattr(Columns, "_pack", watched)
    monkeypatch.setattr(RamCopy, "apply", apply_watched)
    name = memory.operations.begin("prune").operation.name
    memory.operations.prune(ids[:1500], operation=name, result=str)
    assert memory.info().pruned_count == 1500

    new = [f"{number:021}" for number in range(1400)]
    second = memory.operations.begin("prune").operation.name
    prune_new = partial(memory.operations.prune, new, operation=second, result=str)
    came, transactions = commits(memory, [partial(insert, memory, new), prune_new])
    assert (came[0], transactions) == (new, 1)
    assert memory.info().pruned_count == 2900


def test_where_the_disk_fails_each_is_tried_alone(memory: Memory) -> None:
    insert(memory, ["a"])
    pages = database_of(memory)._writer.execute("PRAGMA page_count").fetchone()[0]
    database_of(memory)._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
    many = [f"many {number}" for number in range(2000)]

    came = together(
        memory,
        [lambda: insert(memory, many), lambda: insert(memory, ["b"]), lambda: memory.delete(["a"])],
    )

    assert isinstance(came[0], DiskFull)
    assert came[1:] == [["b"], ["a"]]
    assert [entry.id for entry in memory.entries(limit=9).entries] == ["b"]
